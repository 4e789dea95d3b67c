"""What opening asks of the server, and what is refused before it asks for anything."""

from __future__ import annotations

import base64
import re

import pytest
from scripted_server import Peer, echo_script, memory_server
from trio.testing import memory_stream_pair

from trio_wsclient import InvalidURL, __version__, open_websocket_client


async def request(url: str, **options: object) -> list[str]:
    """Open a WebSocket and return the lines of the request, as the server got them."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        requests.append(peer.request)
        await peer.close_politely()

    requests: list[bytes] = []
    async with (
        memory_server(script) as stream,
        open_websocket_client(url, stream=stream, **options),
    ):
        pass
    *lines, empty, rest = requests[0].decode("ascii").split("\r\n")
    assert (empty, rest) == ("", "")
    return lines


async def test_request_has_what_rfc_6455_asks_for():
    lines = await request("ws://server.example:8080/chat?room=1")
    key = re.fullmatch(r"Sec-WebSocket-Key: (.*)", lines.pop(4))
    assert key is not None
    assert len(base64.b64decode(key[1], validate=True)) == 16
    assert lines == [
        "GET /chat?room=1 HTTP/1.1",
        "Host: server.example:8080",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"User-Agent: trio-wsclient/{__version__}",
    ]


async def test_each_request_has_a_key_of_its_own():
    keys = {(await request("ws://server/"))[4] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("url", "options", "added"),
    [
        ("ws://server/", {"origin": "https://x.example"}, ["Origin: https://x.example"]),
        ("ws://server/", {"user_agent": "mine/1"}, ["User-Agent: mine/1"]),
        ("ws://server/", {"user_agent": None}, []),
        (
            "ws://server/",
            {"extra_headers": [("X-A", "1"), ("Cookie", "c=d"), ("X-A", "2")]},
            ["X-A: 1", "Cookie: c=d", "X-A: 2"],
        ),
        ("ws://server/", {"extra_headers": {"X-A": "1"}}, ["X-A: 1"]),
        ("ws://server/", {"subprotocols": ["b", "a"]}, ["Sec-WebSocket-Protocol: b, a"]),
        ("ws://me:secret@server/", {}, ["Authorization: Basic bWU6c2VjcmV0"]),
        (
            "ws://me:secret@server/",
            {"extra_headers": {"authorization": "Bearer x"}},
            ["authorization: Bearer x"],
        ),
    ],
    ids=[
        "origin",
        "user agent",
        "no user agent",
        "pairs",
        "mapping",
        "subprotocols",
        "userinfo",
        "own authorization",
    ],
)
async def test_options_add_these_headers_in_this_order(url, options, added):
    lines = await request(url, **{"user_agent": None, **options})
    assert lines[1] == "Host: server"
    assert lines[6:] == added


# Before any I/O


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("ftp://server/", {}, InvalidURL),
        (b"ws://server/", {}, TypeError),
        ("ws://server/", {"open_timeout": 0}, ValueError),
        ("ws://server/", {"open_timeout": float("nan")}, ValueError),
        ("ws://server/", {"open_timeout": "1"}, TypeError),
        ("ws://server/", {"close_timeout": None}, TypeError),
        ("ws://server/", {"max_message_size": 0}, ValueError),
        ("ws://server/", {"subprotocols": ["a", "a"]}, ValueError),
        ("ws://server/", {"subprotocols": "a"}, TypeError),
        ("ws://server/", {"extra_headers": {"Upgrade": "h2c"}}, ValueError),
        ("ws://server/", {"extra_headers": {"X-A": "1\r\nX-B: 2"}}, ValueError),
        ("ws://server/", {"no_such_option": 1}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments_raise_in_the_call_itself(url, options, error):
    with pytest.raises(error):
        open_websocket_client(url, **options)


async def test_wrong_arguments_leave_the_users_stream_open():
    client, server = memory_stream_pair()
    with pytest.raises(ValueError, match="local_address"):
        open_websocket_client("ws://server/", stream=client, local_address="127.0.0.1")
    await client.send_all(b"still open")
    assert await server.receive_some() == b"still open"


async def test_block_can_be_entered_once_only():
    async with memory_server(echo_script) as stream:
        block = open_websocket_client("ws://server/", stream=stream)
        async with block as ws:
            with pytest.raises(RuntimeError, match="entered already"):
                async with block:
                    pytest.fail("it is open already")
            await ws.send("hello")  # The connection has not noticed.
            assert await ws.receive() == "hello"
        with pytest.raises(RuntimeError, match="entered already"):
            await block.__aenter__()
