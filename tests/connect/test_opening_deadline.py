"""The open deadline: it covers every phase and the body of a rejection, and names the phase."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from scripted_server import Peer, memory_server
from trio.testing import lockstep_stream_pair

from trio_wsclient import (
    ConnectionRejected,
    OpenTimeout,
    open_websocket_client,
)
from trio_wsclient._net import trust

BOUND = 10  # seconds for what takes a fraction of one


async def timeout(
    url: str, *, seconds: float = 7, stream: trio.abc.Stream | None = None, **options: object
) -> OpenTimeout:
    """Try to open what stays silent; the error has to come in time, and the stream be closed."""
    start = trio.current_time()
    with pytest.raises(OpenTimeout) as caught:
        async with open_websocket_client(url, open_timeout=seconds, stream=stream, **options):
            pytest.fail("it is not open")
    assert trio.current_time() - start == pytest.approx(seconds)
    assert caught.value.seconds == seconds
    text = f"not open after {seconds} s, in phase {caught.value.phase} ("
    assert str(caught.value).startswith(text)
    assert isinstance(caught.value, trio.TooSlowError)
    if stream is not None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
    return caught.value


# Connect


class SilentResolver(trio.abc.HostnameResolver):
    """A name server that does not answer."""

    async def getaddrinfo(self, *args):
        await trio.sleep_forever()

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_look_up_of_the_name_is_covered(autojump_clock):
    trio.socket.set_custom_hostname_resolver(SilentResolver())
    assert (await timeout("ws://server.example/")).phase == "connect"


class Unreachable(trio.socket.SocketType):
    """A socket whose connection request is never answered."""

    def __init__(self) -> None:
        self.closed = False

    async def connect(self, address):
        await trio.sleep_forever()

    def close(self):
        self.closed = True


class Nowhere(trio.abc.SocketFactory):
    """Makes such sockets."""

    def __init__(self) -> None:
        self.made = []

    def socket(self, *_: object) -> Unreachable:
        self.made.append(Unreachable())
        return self.made[-1]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_tcp_is_covered_and_its_socket_closed(autojump_clock, scheme):
    nowhere = Nowhere()
    trio.socket.set_custom_socket_factory(nowhere)
    assert (await timeout(f"{scheme}://127.0.0.1/")).phase == "connect"
    assert [sock.closed for sock in nowhere.made] == [True]


async def test_group_of_cancellations_within_tcp_is_an_open_timeout_too(
    autojump_clock, monkeypatch
):
    """`trio.open_tcp_stream` can raise such a group."""

    async def open_tcp_stream(*_: object, **__: object) -> None:
        cancellations = []
        for _ in range(2):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                cancellations.append(exc)
        raise BaseExceptionGroup("", cancellations)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert (await timeout("ws://server/")).phase == "connect"


# TLS


async def test_tls_is_covered(autojump_clock, client_ssl_context):
    async with memory_server(Peer.wait_eof) as stream:
        error = await timeout("wss://server/", stream=stream, ssl_context=client_ssl_context)
    assert error.phase == "tls"


async def test_making_of_the_default_context_is_covered(monkeypatch):
    def slow(platform: str) -> ssl.SSLContext:
        assert released.wait(BOUND)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    released = threading.Event()
    monkeypatch.setattr(trust, "_default_context", None)
    monkeypatch.setattr(trust, "_new_default_context", slow)
    async with memory_server(Peer.wait_eof) as stream:
        with pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client("wss://server/", stream=stream, open_timeout=0.1):
                pytest.fail("it is not open")
    assert caught.value.phase == "tls"
    released.set()
    await trust.default_ssl_context()  # So that the thread does not outlive this test.


# Handshake


def drips(head: bytes, part: bytes) -> Callable[[Peer], object]:
    """Answer with a head, then with one part a second until the client ends the stream."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        with suppress(trio.BrokenResourceError):
            await peer.send(head)
            while True:
                await trio.sleep(1)
                await peer.send(part)

    return script


STATUS = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(
    "script",
    [
        Peer.wait_eof,
        drips(STATUS + b"X: ", b"y"),
        drips(STATUS, b"X: y\r\n"),
        drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        drips(b"HTTP/1.1 403 Forbidden\r\nX: ", b"y"),
    ],
    ids=["silent", "bytes", "headers", "interim answers", "head of a rejection"],
)
async def test_e15_slow_handshake_is_covered(autojump_clock, script):
    async with memory_server(script) as stream:
        assert (await timeout("ws://server/", stream=stream)).phase == "handshake"


async def test_request_that_cannot_be_written_is_covered(autojump_clock):
    client, server = lockstep_stream_pair()
    assert (await timeout("ws://server/", stream=client)).phase == "handshake"
    await server.aclose()


async def test_without_open_timeout_there_is_no_hurry(autojump_clock):
    async def server(peer: Peer) -> None:
        await trio.sleep(80_000)
        await peer.accept()
        await peer.echo()

    async with (
        memory_server(server) as stream,
        open_websocket_client("ws://server/", stream=stream, open_timeout=None) as ws,
    ):
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def test_deadline_ends_when_the_connection_is_open(autojump_clock):
    async def server(peer: Peer) -> None:
        await trio.sleep(2)
        await peer.accept()
        await peer.echo()

    async with (
        memory_server(server) as stream,
        open_websocket_client("ws://server/", stream=stream, open_timeout=3) as ws,
    ):
        await trio.sleep(10)
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def test_deadline_of_the_users_own_is_no_open_timeout(autojump_clock):
    async with memory_server(Peer.wait_eof) as stream:
        with trio.move_on_after(1) as scope:
            async with open_websocket_client("ws://server/", stream=stream):
                pytest.fail("it is not open")
    assert scope.cancelled_caught


# The body of a rejection

REJECTION = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("open_timeout", "bound", "body"),
    [(10, 1, b"sor"), (None, 1, b"sor"), (0.7, 0.7, b"so")],
    ids=["long", "none", "short"],
)
async def test_e15_slow_rejection_body_is_cut_after_a_second(
    autojump_clock, open_timeout, bound, body
):
    async def server(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(REJECTION)
        with suppress(trio.BrokenResourceError):
            for byte in itertools.cycle(b"sorry, "):
                await trio.sleep(0.3)
                await peer.send(bytes([byte]))

    async with memory_server(server) as stream:
        start = trio.current_time()
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(
                "ws://server/", stream=stream, open_timeout=open_timeout
            ):
                pytest.fail("it is not open")
        assert trio.current_time() - start == pytest.approx(bound)
    assert caught.value.status_code == 403
    assert caught.value.body == body


async def test_e15_endless_body_is_cut_at_64_kib_at_once(autojump_clock):
    async def server(peer: Peer) -> None:
        await peer.read_request()
        with suppress(trio.BrokenResourceError):
            await peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            while True:
                await peer.send(bytes(1000))

    async with memory_server(server) as stream:
        start = trio.current_time()
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                pytest.fail("it is not open")
        assert trio.current_time() == start
    assert caught.value.body == bytes(65_536)


async def test_cancel_within_a_rejection_body_leaves_alone(autojump_clock):
    async with memory_server(drips(REJECTION, b"x")) as stream:
        with trio.move_on_after(0.5) as scope:
            async with open_websocket_client("ws://server/", stream=stream):
                pytest.fail("it is not open")
    assert scope.cancelled_caught
