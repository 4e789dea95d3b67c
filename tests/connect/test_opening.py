"""Opening: what the server may answer, and what is known of it then."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
import trio
import wire
from scripted_server import Peer, echo_script, loopback_server, memory_server, tls_for
from situations import end, reset, scene
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    open_websocket_client,
)

BOUND = 10  # seconds for what takes a fraction of one


# An answer that is right


INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
)


async def test_interim_answers_before_the_101_are_skipped():
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(INTERIM + wire.answer(peer.request, "X-A: 1"))
        await peer.echo()

    async with loopback_server(script) as url, open_websocket_client(url) as ws:
        assert ws.response_headers["x-a"] == "1"
        assert "link" not in ws.response_headers
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def test_answer_may_come_byte_by_byte():
    """Frames may come after it in the last segment."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        answer = INTERIM + wire.answer(peer.request)
        for n in range(len(answer) - 1):
            await peer.send(answer[n : n + 1])
            await wait_all_tasks_blocked()  # So that the client has read it.
        await peer.send(answer[-1:] + wire.text("one") + wire.text("two") + wire.close(1000))
        await peer.close_politely()

    async with loopback_server(script) as url, open_websocket_client(url) as ws:
        assert [message async for message in ws] == ["one", "two"]


async def test_half_frame_after_the_answer_is_not_lost():
    async def script(peer: Peer) -> None:
        message = wire.text("hello")
        await peer.accept(behind=message[:3])
        await wait_all_tasks_blocked()
        await peer.send(message[3:])
        await peer.echo()

    async with (
        memory_server(script) as stream,
        open_websocket_client("ws://server/", stream=stream) as ws,
    ):
        assert await ws.receive() == "hello"


async def test_long_input_after_the_answer_is_not_lost(autojump_clock):
    message = bytes(range(250)) * 200

    async def script(peer: Peer) -> None:
        await peer.accept(behind=wire.binary(message) + wire.text("one"))
        await peer.echo()

    async with (
        memory_server(script) as stream,
        open_websocket_client("ws://server/", stream=stream) as ws,
    ):
        with trio.fail_after(1):
            assert [await ws.receive(), await ws.receive()] == [message, "one"]


async def test_answers_subprotocol_and_headers_are_known():
    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Protocol: b", "Set-Cookie: a", "Set-Cookie: b")
        await peer.echo()

    async with (
        loopback_server(script) as url,
        open_websocket_client(url, subprotocols=["a", "b"]) as ws,
    ):
        assert ws.subprotocol == "b"
        assert ws.response_headers.get_all("set-cookie") == ["a", "b"]


# Whom one is talking to


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
async def test_addresses_are_those_of_tcp(server_ssl_context, client_ssl_context, tls):
    async def script(peer: Peer) -> None:
        await peer.accept()
        stream = peer.stream.transport_stream if tls else peer.stream
        addresses.append((stream.socket.getpeername(), stream.socket.getsockname()))
        await peer.echo()

    addresses = []
    context = server_ssl_context if tls else None
    async with (
        loopback_server(script, ssl_context=context) as url,
        open_websocket_client(url, **tls_for(url, client_ssl_context)) as ws,
    ):
        ours, theirs = ws.local_address, ws.remote_address
        await wait_all_tasks_blocked()
    assert addresses == [(ours, theirs)]


async def test_stream_in_memory_has_no_addresses():
    async with (
        memory_server(echo_script) as stream,
        open_websocket_client("ws://server/", stream=stream) as ws,
    ):
        assert (ws.local_address, ws.remote_address) == (None, None)


async def connected(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2].rstrip("/")))


async def test_addresses_of_a_users_tls_stream_are_those_of_tcp(
    server_ssl_context, client_ssl_context
):
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        tcp = await connected(url)
        addresses = tcp.socket.getsockname(), tcp.socket.getpeername()
        stream = trio.SSLStream(tcp, client_ssl_context, server_hostname="localhost")
        async with open_websocket_client("ws://server/", stream=stream) as ws:
            assert (ws.local_address, ws.remote_address) == addresses


async def test_socket_without_a_peer_has_no_addresses(monkeypatch):
    def getpeername() -> object:
        raise OSError("not connected")

    async with loopback_server(echo_script) as url:
        stream = await connected(url)
        monkeypatch.setattr(stream.socket, "getpeername", getpeername)
        async with open_websocket_client(url, stream=stream) as ws:
            assert (ws.local_address, ws.remote_address) == (None, None)


async def test_server_that_has_left_already_is_a_handshake_error():
    async with scene(reset) as server:
        stream = await connected(server.url)
        with suppress(trio.BrokenResourceError), trio.fail_after(BOUND):
            await stream.receive_some()
        with pytest.raises(HandshakeError):
            async with open_websocket_client(server.url, stream=stream):
                pytest.fail("it is not open")
        assert stream.socket.fileno() == -1


# TCP that ends too early

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("how", [end, reset])
@pytest.mark.parametrize(
    "start",
    [None, b"", b"H", ANSWER, INTERIM, INTERIM + ANSWER],
    ids=["no request read", "no answer", "1 byte", "half", "interim", "half after interim"],
)
async def test_tcp_that_ends_within_the_handshake_is_an_error_at_once(how, start):
    async def script(peer: Peer) -> None:
        if start is not None:
            await peer.read_request()
            await peer.send(start)
            await wait_all_tasks_blocked()
        await how(peer)

    async with scene(script) as server:
        with trio.fail_after(BOUND), pytest.raises(HandshakeError) as caught:
            async with open_websocket_client(server.url, open_timeout=None):
                pytest.fail("it is not open")
        await server.seen()
    assert not isinstance(caught.value, (OpenTimeout, ConnectionRejected))
    assert re.search(
        "TCP ended (before the response was complete|without a response)|"
        "the connection broke in the handshake: .+",
        str(caught.value),
    )


@pytest.mark.parametrize("how", [end, reset])
@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_rejection_is_one_though_tcp_ends_within_its_body(how, framing):
    body = b"5\r\nsorry\r\n" if b"chunked" in framing else b"sorry"

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 503 Service Unavailable\r\n" + framing + b"\r\n" + body)
        await wait_all_tasks_blocked()
        await how(peer)

    async with scene(script) as server:
        with trio.fail_after(BOUND), pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(server.url, open_timeout=None):
                pytest.fail("it is not open")
        await server.seen()
    assert caught.value.status_code == 503
    assert caught.value.body == b"sorry"
    assert caught.value.__context__ is None
