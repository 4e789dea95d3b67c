"""E33: limits that are larger than any message. E34: messages of very many empty fragments."""

from __future__ import annotations

import random
import sys
import time
import zlib
from collections.abc import Awaitable, Callable

import pytest
import trio
import wire
from pauses import allowed, ticking
from scripted_server import Peer, memory_server
from thread_server import ThreadPeer, thread_server

from trio_wsclient import PerMessageDeflate, WebSocketClient, open_websocket_client

BOUND = 60  # seconds for what takes a few
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


# E33

HUGE = [sys.maxsize, 2**63, 2**70]
LIMITS = ["max_message_size", "max_frame_size", "max_buffered_bytes", "fragment_size"]

LONG = random.Random(1).randbytes(70_000)  # bytes: more than a piece of whatever is cut


def compressor():
    return zlib.compressobj(6, zlib.DEFLATED, -15)


def plain(payload: bytes, opcode: int = wire.BINARY) -> bytes:
    return wire.frame(opcode, payload)


def in_fragments(payload: bytes, opcode: int = wire.BINARY, rsv: int = 0) -> bytes:
    middle = len(payload) // 2
    return wire.frame(opcode, payload[:middle], fin=False, rsv=rsv) + wire.continuation(
        payload[middle:]
    )


def compressed(payload: bytes, opcode: int = wire.BINARY, *, cut: bool = False) -> bytes:
    """Make a compressed message, which ends a deflate context."""
    deflate = compressor()
    data = deflate.compress(payload) + deflate.flush(zlib.Z_FULL_FLUSH)
    if cut:
        return in_fragments(data.removesuffix(TAIL), opcode, RSV1)
    return wire.frame(opcode, data.removesuffix(TAIL), rsv=RSV1)


PLAIN_MESSAGES = (
    plain(b"short") + plain(LONG) + in_fragments(b"short") + in_fragments(LONG),
    [b"short", LONG, b"short", LONG],
)
COMPRESSED_MESSAGES = (
    compressed(b"short")
    + compressed(b"text", wire.TEXT)
    + compressed(bytes(100_000))
    + compressed(LONG)
    + compressed(LONG, cut=True)
    + compressed(b"", cut=True)
    + plain(b"plain"),
    [b"short", "text", bytes(100_000), LONG, LONG, b"", b"plain"],
)


@pytest.mark.parametrize("decode_text", [True, False], ids=["decoded", "not decoded"])
@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "compressed"])
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("size", HUGE, ids=["maxsize", "2**63", "2**70"])
async def test_e33_huge_limit_works_as_no_limit(
    autojump_clock, size, limit, compression, decode_text
):
    """Messages are received and sent, in whichever way they come."""
    data, messages = PLAIN_MESSAGES if compression is None else COMPRESSED_MESSAGES
    headers = [] if compression is None else [DEFLATE]
    sent = []

    async def script(peer: Peer) -> None:
        await peer.accept(*headers)
        await peer.send(data)
        while (frame := await peer.next_frame()) is not None and frame.opcode != wire.CLOSE:
            sent.append(frame.fin)
        await peer.send(wire.close())
        await peer.stream.aclose()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://x/",
            stream=stream,
            compression=compression,
            decode_text=decode_text,
            **{limit: size},
        ) as ws:
            with trio.fail_after(BOUND):
                received = [await ws.receive() for _ in messages]
                await ws.send(LONG)
                await ws.send("short")
                await ws.send_many([LONG, b"short"])
    expected = messages if decode_text else [b"text" if m == "text" else m for m in messages]
    assert received == expected
    assert sent == [True] * 4


@pytest.mark.parametrize("size", HUGE, ids=["maxsize", "2**63", "2**70"])
async def test_e33_huge_limit_lets_a_long_message_come(size):
    """The frame comes in many reads, over a socket."""
    data = bytes(3_000_000)

    def script(peer: ThreadPeer) -> None:
        peer.accept(DEFLATE)
        peer.send(plain(data) + compressed(data) + compressed(data, cut=True))
        peer.frames_to_end()

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(
            server.url,
            compression="deflate",
            close_timeout=1,
            max_message_size=size,
            max_frame_size=size,
        ) as ws:
            for _ in range(3):
                assert await ws.receive() == data


@pytest.mark.parametrize("size", HUGE, ids=["maxsize", "2**63", "2**70"])
async def test_e33_other_huge_numbers_work_as_no_limit(autojump_clock, size):
    async def script(peer: Peer) -> None:
        await peer.accept(DEFLATE)
        await peer.send(wire.text("one") + wire.text("two"))
        frame = await peer.next_frame()
        assert frame == wire.ClientFrame(wire.BINARY, LONG)  # not compressed
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://x/", stream=stream, compression=PerMessageDeflate(min_size=size)
        ) as ws:
            with trio.fail_after(BOUND):
                assert await ws.receive_batch(size) == ["one", "two"]
            await ws.send(LONG)


# E34

FEW, MANY = 23_000, 69_000  # 70,000 fragments of a message are allowed


def fragments(count: int, payload: bytes) -> bytes:
    middle = wire.continuation(payload, fin=False)
    return wire.binary(payload, fin=False) + middle * (count - 2) + wire.continuation(payload)


async def take_message(ws: WebSocketClient) -> tuple[int, bytes]:
    message = await ws.receive()
    assert isinstance(message, bytes)
    return 1, message


async def take_frames(ws: WebSocketClient) -> tuple[int, bytes]:
    payloads = []
    async for frame in ws.frames():
        payloads.append(frame.payload)
        if frame.fin:
            break
    return len(payloads), b"".join(payloads)


Take = Callable[[WebSocketClient], Awaitable[tuple[int, bytes]]]


async def cpu_of_fragments(
    take: Take, count: int, payload: bytes, max_buffered_bytes: int
) -> float:
    """Return the CPU seconds that the client needs for a message of `count` fragments."""

    def script(peer: ThreadPeer) -> None:
        peer.accept()
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"go")
        peer.send(data)
        peer.frames_to_end()

    data = fragments(count, payload) + wire.text("next")
    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(
            server.url, max_buffered_bytes=max_buffered_bytes, close_timeout=BOUND
        ) as ws:
            await ws.send("go")
            start = time.thread_time()
            frames, message = await take(ws)
            cpu = time.thread_time() - start
            assert message == payload * count
            assert frames in (1, count)
            assert await ws.receive() == "next"
    return cpu


@pytest.mark.slow
@pytest.mark.parametrize(
    ("take", "payload", "max_buffered_bytes"),
    [(take_message, b"", 4096), (take_frames, b"x", 1)],
    ids=["empty", "of a byte, as frames, the smallest buffer"],
)
async def test_e34_message_of_many_fragments_is_linear(take, payload, max_buffered_bytes):
    """Three times as many fragments cost 3 times as much; a quadratic cost would be 9 times.

    A run may have bad luck, but it is unlikely that all have.
    """
    ratios = []
    for _ in range(4):
        few = await cpu_of_fragments(take, FEW, payload, max_buffered_bytes)
        many = await cpu_of_fragments(take, MANY, payload, max_buffered_bytes)
        ratios.append(many / few)
        if ratios[-1] <= 4.5:
            break
    assert min(ratios) <= 4.5, ratios


async def test_e34_many_fragments_let_tasks_run():
    """The client takes all fragments in one scheduler tick, so the pause may be longer."""
    pauses = []

    def script(peer: ThreadPeer) -> None:
        peer.accept()
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"go")
        peer.send(data)
        peer.frames_to_end()

    data = fragments(MANY, b"")
    with trio.fail_after(BOUND), thread_server(script) as server:
        for _ in range(3):
            async with open_websocket_client(
                server.url, max_buffered_bytes=4096, close_timeout=BOUND
            ) as ws:
                async with ticking() as ticks:
                    await ws.send("go")
                    assert await ws.receive() == b""
            pauses.append(ticks.worst)
            if min(pauses) <= allowed(0.1):
                break
    assert min(pauses) <= allowed(0.1), pauses
