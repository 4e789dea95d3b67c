"""A tunnel by CONNECT (RFC 9110 §9.3.6) that opens; refused ones are in a module beside."""

from __future__ import annotations

import base64
from functools import partial

import pytest
import trio
import wire
from canned_stream import CannedStream
from handshake_tables import CONTINUE, EARLY_HINTS, FRAMES, rejection
from trio.testing import assert_checkpoints, memory_stream_pair, wait_all_tasks_blocked

from trio_wsclient import Proxy
from trio_wsclient._net import http_connect
from trio_wsclient._net.http_connect import PrefixedStream

PROXY = Proxy("http://proxy.example")
OK = b"HTTP/1.1 200 OK\r\n\r\n"
BASIC = "Basic " + base64.b64encode(b"na@me:pass:word").decode()

connect = partial(http_connect.connect, rejected=lambda _: None)


async def read_all(stream: trio.abc.Stream, max_bytes: int | None = None) -> bytes:
    data = b""
    while piece := await stream.receive_some(max_bytes):
        data += piece
    return data


# The request

URL, TARGET = "http://proxy.example", ("example.org", 443, None)
CONNECT = ["CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"]
# A proxy, its headers; host, port and user agent; the lines of the request
REQUESTS = {
    "a name": (URL, (), TARGET, CONNECT),
    "the default port of ws": (
        URL,
        (),
        ("example.org", 80, None),
        ["CONNECT example.org:80 HTTP/1.1", "Host: example.org:80"],
    ),
    "IPv4": (
        URL,
        (),
        ("127.0.0.1", 8080, None),
        ["CONNECT 127.0.0.1:8080 HTTP/1.1", "Host: 127.0.0.1:8080"],
    ),
    "IPv6": (
        URL,
        (),
        ("2001:db8::1", 443, None),
        ["CONNECT [2001:db8::1]:443 HTTP/1.1", "Host: [2001:db8::1]:443"],
    ),
    "a user agent": (
        URL,
        (),
        ("example.org", 443, "me/1"),
        [*CONNECT, "User-Agent: me/1"],
    ),
    "userinfo": (
        "https://na%40me:pass:word@proxy.example",
        (),
        TARGET,
        [*CONNECT, f"Proxy-Authorization: {BASIC}"],
    ),
    "headers": (
        URL,
        [("X-A", "1"), ("x-b", ""), ("X-A", "2")],
        TARGET,
        [*CONNECT, "X-A: 1", "x-b: ", "X-A: 2"],
    ),
    "a header before userinfo": (
        "http://name:word@proxy.example",
        {"proxy-authorization": "Bearer token"},
        TARGET,
        [*CONNECT, "proxy-authorization: Bearer token"],
    ),
    "a header before the user agent": (
        URL,
        {"user-agent": "you/1"},
        ("example.org", 443, "me/1"),
        [*CONNECT, "user-agent: you/1"],
    ),
    "all of it": (
        "http://na%40me:pass:word@proxy.example",
        {"X-A": "1"},
        ("::1", 1, "me/1"),
        [
            "CONNECT [::1]:1 HTTP/1.1",
            "Host: [::1]:1",
            "User-Agent: me/1",
            "X-A: 1",
            f"Proxy-Authorization: {BASIC}",
        ],
    ),
}


@pytest.mark.parametrize(("url", "headers", "target", "lines"), REQUESTS.values(), ids=REQUESTS)
async def test_tunnel_is_asked_for_in_one_write_like_this(url, headers, target, lines):
    host, port, user_agent = target
    stream = CannedStream(OK)
    await connect(stream, Proxy(url, headers), host, port, user_agent=user_agent)
    assert stream.sent == ["\r\n".join([*lines, "", ""]).encode()]


# The answer


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        rejection("201 Created"),
        rejection("204 No Content"),
        rejection("299 Why Not"),
        rejection("200 OK", "Content-Length: 1000"),
        rejection("200 OK", "Transfer-Encoding: chunked"),
        rejection("200 OK", "Connection: close", "Proxy-Agent: x"),
        CONTINUE + OK,
        EARLY_HINTS + CONTINUE * 3 + OK,
    ],
    ids=repr,
)
async def test_any_2xx_opens_the_tunnel_however_the_answer_is_cut(answer: bytes):
    """RFC 9110 §9.3.6: what such an answer says of its length means nothing."""
    data = answer + FRAMES
    cuts = [[data], wire.cut(data, range(len(data)))]
    cuts += [wire.cut(data, [position]) for position in range(1, len(data))]
    for pieces in cuts:
        stream = CannedStream(*pieces)
        tunnel = await connect(stream, PROXY, "example.org", 443, user_agent=None)
        assert len(stream.sent) == 1
        assert not stream.closed
        assert await read_all(tunnel) == FRAMES


async def test_nothing_is_read_after_a_response():
    stream = CannedStream(CONTINUE, OK, b"later")
    assert await connect(stream, PROXY, "example.org", 443, user_agent=None) is stream
    assert stream.unread == b"later"


async def test_request_is_written_once_to_a_silent_proxy(nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(lambda: connect(ours, PROXY, "example.org", 80, user_agent=None))
    await wait_all_tasks_blocked()
    assert (await theirs.receive_some()).endswith(b"\r\n\r\n")
    await wait_all_tasks_blocked()
    with trio.move_on_after(0):
        pytest.fail(f"{await theirs.receive_some()!r} came too")
    nursery.cancel_scope.cancel()


# What came after the answer


@pytest.mark.parametrize("max_bytes", [None, 1, 2, 3, 4, 100])
async def test_bytes_after_the_answer_come_first(max_bytes: int | None):
    stream = PrefixedStream(b"abc", CannedStream(b"defg", b"hi"))
    first = await stream.receive_some(max_bytes)
    assert first == b"abc"[:max_bytes]  # It waits for nothing after the prefix.
    assert first + await read_all(stream, max_bytes) == b"abcdefghi"


async def test_limit_of_a_read_is_passed_on():
    stream = PrefixedStream(b"a", CannedStream(b"bcd"))
    assert [bytes(await stream.receive_some(n)) for n in (5, 2, 5)] == [b"a", b"bc", b"d"]


async def test_cancelled_read_takes_nothing():
    stream = PrefixedStream(b"abc", CannedStream())
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert scope.cancelled_caught
    with assert_checkpoints():
        assert await stream.receive_some() == b"abc"


async def test_all_but_reading_is_left_to_the_stream_itself():
    inner = CannedStream(b"later")
    stream = PrefixedStream(b"first", inner)
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"x")
    assert inner.sent == [b"x"]
    assert inner.unread == b"later"
    assert stream.stream is inner
    await stream.aclose()
    assert inner.closed
