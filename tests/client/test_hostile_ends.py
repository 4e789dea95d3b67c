"""Servers that end TCP, stall or half-close, at every byte and in every phase of a connection."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import accumulate

import pytest
import trio
import trio.testing
import wire
from scripted_server import Peer, loopback_server, memory_server
from situations import reset
from streams import Valve

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    WebSocketClient,
    open_websocket_client,
)

# TCP ends at every byte of a short session

FRAMES = [
    wire.text("one"),
    wire.ping(b"p"),
    wire.binary(b"tw", fin=False),
    wire.pong(),
    wire.continuation(b"o"),
    wire.close(1000, b"bye"),
]
MESSAGES = {0: "one", 4: b"two"}  # by the frame that ends them
BORDERS = list(accumulate(map(len, FRAMES)))


class Resets(Valve):
    """A stream in memory on which the end of the peer's looks like a reset."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        if not data:
            raise trio.BrokenResourceError("reset") from ConnectionResetError("reset by peer")
        return data


Session = Callable[[], Awaitable[tuple[list[str | bytes], ConnectionClosed | HandshakeError]]]


class EndsAfter:
    """A server that ends TCP once it has sent `k` bytes of the session.

    Args:
        how: Given what the server has of the connection, ends it.
    """

    def __init__(self, how: Callable[[Peer], Awaitable[object]]) -> None:
        self._how = how
        self.k = 0
        self.head_size = math.inf

    async def __call__(self, peer: Peer) -> None:
        request = await peer.read_request()
        head = wire.answer(request)
        self.head_size = len(head)
        data = (head + b"".join(FRAMES))[: self.k]
        if data:
            await peer.send(data)
        await self._how(peer)

    async def check(self, session: Session) -> None:
        """Check what a client says of an end after each number of bytes."""
        end = BORDERS[-1]
        while self.k <= self.head_size + end:
            try:
                await self._check_once(session)
            except BaseException as exc:
                exc.add_note(f"after {self.k} bytes")
                raise
            self.k += 1
        assert self.k > 100

    async def _check_once(self, session: Session) -> None:
        taken, error = await session()
        assert "\n" not in str(error)
        if self.k < self.head_size:
            assert isinstance(error, HandshakeError)
            return
        whole = sum(border <= self.k - self.head_size for border in BORDERS)
        assert taken == [message for at, message in MESSAGES.items() if at < whole]
        if whole == len(FRAMES):
            assert isinstance(error, ConnectionClosedOK)
            assert error.received.reason == "bye"
        else:
            assert isinstance(error, ConnectionClosedError)
            assert (error.code, error.received) == (1006, None)
            assert error.__cause__ is not None


async def take_all(ws: WebSocketClient) -> tuple[list[str | bytes], ConnectionClosed]:
    taken: list[str | bytes] = []
    while True:
        try:
            taken.append(await ws.receive())
        except ConnectionClosed as exc:
            return taken, exc


async def run_to_its_end(
    url: str, **options: object
) -> tuple[list[str | bytes], ConnectionClosed | HandshakeError]:
    with trio.fail_after(30):
        try:
            async with open_websocket_client(url, close_timeout=20, **options) as ws:
                return await take_all(ws)
        except HandshakeError as exc:
            return [], exc


@pytest.mark.parametrize("wrap", [lambda stream: stream, Resets], ids=["end", "reset"])
async def test_end_at_any_byte_is_reported_at_once(autojump_clock, wrap):
    server = EndsAfter(lambda peer: peer.stream.aclose())

    async def session():
        async with memory_server(server) as stream:
            return await run_to_its_end("ws://x/", stream=wrap(stream))

    await server.check(session)
    assert trio.current_time() == 0


@pytest.mark.parametrize("how", [lambda peer: peer.stream.aclose(), reset], ids=["end", "reset"])
async def test_end_at_any_byte_is_reported_on_tcp(how):
    server = EndsAfter(how)
    async with loopback_server(server) as url:
        if how is not reset:
            await server.check(lambda: run_to_its_end(url))
            return
        # What was sent before a reset may not come.
        while server.k < server.head_size + BORDERS[-1]:
            taken, error = await run_to_its_end(url)
            assert taken == [*MESSAGES.values()][: len(taken)]
            assert isinstance(error, ConnectionClosed | HandshakeError)
            server.k += 1


@pytest.mark.slow
@pytest.mark.parametrize("says_so", [True, False], ids=["close_notify", "truncated"])
async def test_end_at_any_byte_is_reported_on_tls(
    says_so: bool,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
):
    async def end(peer: Peer) -> None:
        assert isinstance(peer.stream, trio.SSLStream)
        stream = peer.stream if says_so else peer.stream.transport_stream
        await stream.aclose()

    server = EndsAfter(end)
    async with loopback_server(server, ssl_context=server_ssl_context) as url:
        await server.check(lambda: run_to_its_end(url, ssl_context=client_ssl_context))


# A reset, a stall, a half-close in each phase

OPEN_TIMEOUT, CLOSE_TIMEOUT, PING_INTERVAL, PING_TIMEOUT = 3, 5, 7, 11  # seconds
LONG = bytes(1_000_000)  # more than a stream in memory takes here

Step = Callable[[Peer], Awaitable[object]]


def after_bytes(data: bytes) -> Step:
    async def step(peer: Peer) -> None:
        await peer.accept(behind=data)

    return step


async def connected(peer: Peer) -> None:
    pass


async def asked(peer: Peer) -> None:
    await peer.read_request()


async def inside_the_head(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(wire.answer(peer.request)[:40])


async def after_an_interim_answer(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def inside_a_rejection(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nno")


async def after_a_message(peer: Peer) -> None:
    await peer.accept()
    await peer.next_frame()


async def inside_a_message(peer: Peer) -> None:
    await peer.accept()
    await peer.stream.receive_some(100)


async def after_our_close(peer: Peer) -> None:
    await peer.accept()
    await peer.send(wire.text("go"))
    await peer.expect_close()


OPENING: dict[str, Step] = {
    "connected": connected,
    "asked": asked,
    "inside the head": inside_the_head,
    "after an interim answer": after_an_interim_answer,
    "inside a rejection": inside_a_rejection,
}
OPEN: dict[str, Step] = {
    "open": after_bytes(b""),
    "inside a header": after_bytes(wire.text("a" * 200)[:1]),
    "inside a length": after_bytes(wire.text("a" * 200)[:3]),
    "inside a payload": after_bytes(wire.text("a" * 200)[:50]),
    "inside a code point": after_bytes(wire.text("a€")[:-1]),
    "between fragments": after_bytes(wire.text("a", fin=False)),
    "after a message of ours": after_a_message,
    "inside a message of ours": inside_a_message,
    "inside a Close": after_bytes(wire.close(1000, b"bye")[:4]),
}
ENDED: dict[str, Step] = {
    "after our Close": after_our_close,
    "after its Close": after_bytes(wire.text("a") + wire.close(1000)),
}


async def half_close(peer: Peer) -> None:
    await peer.stream.send_eof()
    await peer.wait_eof()


async def stall(peer: Peer) -> None:
    await trio.sleep_forever()


async def cut_off(peer: Peer) -> None:
    await peer.stream.aclose()


WAYS = {
    "a reset": (cut_off, Resets),
    "a stall": (stall, Valve),
    "a half-close": (half_close, Valve),
}
in_each_way = pytest.mark.parametrize(("way", "wrap"), WAYS.values(), ids=WAYS)


def opened(stream: trio.abc.Stream):
    return open_websocket_client(
        "ws://x/",
        stream=stream,
        open_timeout=OPEN_TIMEOUT,
        close_timeout=CLOSE_TIMEOUT,
        ping_interval=PING_INTERVAL,
        ping_timeout=PING_TIMEOUT,
    )


def script(step: Step, way: Step):
    async def run(peer: Peer) -> None:
        await step(peer)
        await way(peer)

    return run


@in_each_way
@pytest.mark.parametrize("step", OPENING.values(), ids=OPENING)
async def test_opening_ends_in_each_phase(autojump_clock, step: Step, way: Step, wrap):
    async with memory_server(script(step, way)) as stream:
        with pytest.raises(HandshakeError) as caught:
            async with opened(wrap(stream)):
                raise AssertionError
    if step is inside_a_rejection:
        assert isinstance(caught.value, ConnectionRejected)
        assert caught.value.body == b"no"
    else:
        assert isinstance(caught.value, OpenTimeout) == (way is stall)
    assert trio.current_time() <= (OPEN_TIMEOUT if way is stall else 0)


@in_each_way
@pytest.mark.parametrize("is_sending", [False, True], ids=["receiving", "sending"])
@pytest.mark.parametrize("step", OPEN.values(), ids=OPEN)
async def test_open_connection_ends_in_each_phase(
    autojump_clock, step: Step, is_sending: bool, way: Step, wrap
):
    server = script(step, way)
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server, Peer(theirs))
        async with opened(wrap(ours)) as ws:

            async def send_all() -> None:
                with suppress(ConnectionClosed):
                    while True:
                        await ws.send(LONG)

            async with trio.open_nursery() as senders:
                if is_sending or step in {after_a_message, inside_a_message}:
                    senders.start_soon(send_all)
                taken, error = await take_all(ws)
            told = trio.current_time()
        left = trio.current_time()
        nursery.cancel_scope.cancel()
    assert taken == []
    assert isinstance(error, ConnectionClosedError)
    assert error.received is None
    assert told <= (PING_INTERVAL + PING_TIMEOUT if way is stall else 0)
    assert left - told <= CLOSE_TIMEOUT


@in_each_way
@pytest.mark.parametrize("step", ENDED.values(), ids=ENDED)
async def test_closing_connection_ends_in_each_phase(autojump_clock, step: Step, way: Step, wrap):
    async with memory_server(script(step, way)) as stream:
        valve = wrap(stream)
        async with opened(valve) as ws:
            await ws.receive()
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()
        assert trio.current_time() <= (CLOSE_TIMEOUT if way is stall else 0)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
