"""What a hostile server can make the client hold: the limits, and a constant.

``docs/explanation/security.rst`` states both. A server here is a stream that gives the same bytes
again and again, and holds nothing itself.
"""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
import wire

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionRejected,
    InvalidResponse,
    open_websocket_client,
)

KIB, MIB = 1024, 1024 * 1024
CONSTANT = 512 * KIB  # bytes beside the limits, as the docs state it
FRAGMENTS = 6 * MIB  # and for the fragments of one message that somebody waits for
MUCH = 16 * MIB  # bytes that a server gives before it falls silent


class Gives(trio.abc.Stream):
    """A stream that answers the handshake, and gives pieces, each as long as a read at most.

    Args:
        pieces: What it gives.
        headers: The headers of the answer.
        takes: Whether it takes what is written; otherwise each write waits.
    """

    def __init__(
        self,
        pieces: Iterable[bytes],
        *headers: str,
        takes: bool = True,
    ) -> None:
        self._pieces = iter(pieces)
        self._headers = headers
        self._takes = takes
        self._request = b""
        self._is_answered = False
        self._closed = trio.Event()
        self.given = 0  # bytes after the answer

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if not self._is_answered:
            self._request += data
        elif not self._takes:
            await self._closed.wait()
        if self._closed.is_set():
            raise trio.ClosedResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._is_answered:
            self._is_answered = True
            return wire.answer(self._request, *self._headers)
        for piece in self._pieces:
            self.given += len(piece)
            return piece
        await self._closed.wait()
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()


def again(data: bytes, *, much: int = MUCH) -> Iterator[bytes]:
    """Give the same bytes again and again."""
    piece = data * max(1, 16 * KIB // len(data))
    return itertools.repeat(piece, much // len(piece))


class Held:
    """The most bytes that were held while the block ran, beyond what was held before it."""

    peak = 0


@asynccontextmanager
async def measured() -> AsyncIterator[Held]:
    held = Held()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield held
        _, peak = tracemalloc.get_traced_memory()
        held.peak = peak - before
    finally:
        tracemalloc.stop()


def opened(stream: trio.abc.Stream, **options: object):
    return open_websocket_client("ws://x/", stream=stream, close_timeout=1, **options)


FLOODS = {
    "small messages": wire.text("a" * 10),
    "empty messages": wire.binary(b""),
    "messages of 10 KiB": wire.binary(bytes(10 * KIB)),
    "text of four bytes a character": wire.text("😀" * 100),
    "messages in fragments": wire.text("a", fin=False) + wire.continuation(b"b"),
    "empty fragments": wire.text("a", fin=False)
    + wire.continuation(fin=False) * 50
    + wire.continuation(),
}


@pytest.mark.parametrize("buffered", [100 * KIB, MIB])
@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
async def test_messages_that_nobody_takes_stay_within_max_buffered_bytes(
    autojump_clock, data: bytes, buffered: int
):
    stream = Gives(again(data))
    async with measured() as held:
        with trio.move_on_after(10):
            async with opened(stream, max_buffered_bytes=buffered):
                await trio.sleep_forever()
    assert stream.given < MUCH / 2  # TCP is left to push back.
    assert held.peak < buffered + CONSTANT


async def test_compressed_messages_that_nobody_takes_stay_within_it_too(autojump_clock):
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(bytes(60_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    stream = Gives(
        again(wire.frame(wire.BINARY, payload[:-4], rsv=4)),
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover",
    )
    async with measured() as held:
        with trio.move_on_after(10):
            async with opened(stream, max_buffered_bytes=MIB, compression="deflate"):
                await trio.sleep_forever()
    assert stream.given < MUCH / 2
    # Up to 1 MiB of one read is inflated before the limit is checked.
    assert held.peak < 2 * MIB + CONSTANT


MESSAGES = {
    "in one frame": lambda size: itertools.chain(
        [wire.frame(wire.BINARY, length=size)], again(bytes(16 * KIB), much=size)
    ),
    "in fragments": lambda size: itertools.chain(
        [wire.binary(b"", fin=False)],
        again(wire.continuation(bytes(1000), fin=False), much=size - 100 * KIB),
        [wire.continuation()],
    ),
    "of text that takes four times its bytes": lambda size: itertools.chain(
        [wire.frame(wire.TEXT, "😀".encode(), fin=False)],
        again(wire.continuation(b"x" * 1000, fin=False), much=size - 100 * KIB),
        [wire.continuation()],
    ),
    "in one frame of such text": lambda size: itertools.chain(
        [wire.frame(wire.TEXT, "😀".encode(), length=size)],
        again(b"x" * (16 * KIB), much=size - 16 * KIB),
        [b"x" * (16 * KIB - 4)],
    ),
}


@pytest.mark.parametrize("limit", [512 * KIB, 4 * MIB])
@pytest.mark.parametrize("make", MESSAGES.values(), ids=MESSAGES)
async def test_message_takes_six_times_max_message_size_at_most(autojump_clock, make, limit: int):
    async with measured() as held:
        async with opened(Gives(make(limit)), max_message_size=limit) as ws:
            message = await ws.receive()
            assert len(message) > limit / 2
    assert held.peak < 6 * limit + CONSTANT


def _endless(first: bytes, rest: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([first], again(rest))


ENDLESS = {
    "a frame of 2^62 bytes": _endless(wire.frame(wire.TEXT, length=2**62), b"x"),
    "a binary frame of 2^62 bytes": _endless(wire.frame(wire.BINARY, length=2**62), b"x"),
    "fragments": _endless(wire.text("", fin=False), wire.continuation(b"x" * 99, fin=False)),
    "empty fragments": _endless(wire.text("", fin=False), wire.continuation(fin=False)),
    "fragments of a byte": _endless(wire.text("", fin=False), wire.continuation(b"x", fin=False)),
    "fragments with pings between": _endless(
        wire.text("", fin=False), wire.continuation(b"x", fin=False) * 9 + wire.ping(b"p" * 125)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
async def test_message_without_end_is_refused_within_the_limits(autojump_clock, make):
    async with measured() as held:
        async with opened(Gives(make())) as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
    assert caught.value.sent.code == 1009
    assert held.peak < MIB + FRAGMENTS + CONSTANT


@pytest.mark.parametrize("size", [10**6, 10**8])
async def test_bomb_is_refused_within_max_message_size(autojump_clock, size: int):
    compressor = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(compressor.compress(bytes(10**6)) for _ in range(size // 10**6))
    bomb += compressor.flush(zlib.Z_SYNC_FLUSH)
    data = wire.frame(wire.BINARY, bomb[:-4], rsv=4)
    pieces = [data[start : start + 64 * KIB] for start in range(0, len(data), 64 * KIB)]
    stream = Gives(pieces, "Sec-WebSocket-Extensions: permessage-deflate")
    async with measured() as held:
        async with opened(stream, compression="deflate", max_message_size=500_000) as ws:
            with pytest.raises(ConnectionClosedError, match="once inflated"):
                await ws.receive()
    assert held.peak < 6 * 500_000 + CONSTANT


@pytest.mark.slow
@pytest.mark.parametrize("takes", [True, False], ids=["that are answered", "to one who is deaf"])
@pytest.mark.parametrize("payload", [b"", b"p" * 125])
async def test_pings_without_end_cost_nothing(autojump_clock, payload: bytes, takes: bool):
    pings = [wire.ping(payload) * 100] * 300
    stream = Gives(pings, takes=takes)
    async with measured() as held:
        async with opened(stream):
            await trio.sleep(10)
            assert stream.given == sum(map(len, pings))
    assert held.peak < CONSTANT


@pytest.mark.parametrize("first", [wire.close(1000), wire.frame(3), wire.frame(wire.TEXT, b"\xff")])
@pytest.mark.parametrize("rest", [wire.text("x" * 99), wire.ping(b"p"), b"\xff", b"\0"])
async def test_input_after_the_end_is_dropped(autojump_clock, first: bytes, rest: bytes):
    stream = Gives(itertools.chain([first], again(rest, much=4 * MIB)))
    async with measured() as held:
        async with opened(stream) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.receive()
    assert held.peak < CONSTANT


async def test_input_after_our_close_is_dropped(autojump_clock):
    stream = Gives(again(wire.text("x" * 99), much=2 * MIB))
    async with measured() as held:
        async with opened(stream, max_buffered_bytes=10 * KIB) as ws:
            await ws.aclose()
    assert stream.given > 2 * MIB - 16 * KIB
    assert held.peak < 10 * KIB + CONSTANT


@pytest.mark.slow
async def test_pings_of_ours_that_are_never_answered_cost_little(autojump_clock):
    async with measured() as held:
        async with opened(Gives([]), ping_interval=1, ping_timeout=None):
            await trio.sleep(3_000)
    assert held.peak < CONSTANT


# Opening

HEADS = {
    "a line without end": lambda: again(b"x"),
    "headers without end": lambda: itertools.chain([b"HTTP/1.1 101 OK\r\n"], again(b"A: b\r\n")),
    "answers 1xx without end": lambda: again(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"),
    "line breaks without end": lambda: again(b"\r\n"),
}


class GivesAtOnce(Gives):
    """The same without an answer to the handshake of its own."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._is_answered = True
        return await super().receive_some(max_bytes)


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
async def test_head_without_end_is_refused_within_its_limit(autojump_clock, make):
    stream = GivesAtOnce(make())
    async with measured() as held:
        with pytest.raises(InvalidResponse):
            async with opened(stream):
                raise AssertionError
    assert stream.given < 256 * KIB
    assert held.peak < CONSTANT


@pytest.mark.parametrize("line", ["Content-Length: 1000000000000", "X: y"])
async def test_body_of_a_rejection_is_cut_off(autojump_clock, line: str):
    head = f"HTTP/1.1 403 No\r\n{line}\r\n\r\n".encode()
    stream = GivesAtOnce(itertools.chain([head], again(b"x")))
    async with measured() as held:
        with pytest.raises(ConnectionRejected) as caught:
            async with opened(stream):
                raise AssertionError
    assert len(caught.value.body) == 64 * KIB
    assert held.peak < CONSTANT
