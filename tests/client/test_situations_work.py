"""E32: a server makes the client inflate much. E45: a user has a long message compressed.

Other tasks wait for 5 ms of CPU at most; ``pauses`` says how that is measured.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import zlib
from collections.abc import Awaitable, Callable, Sequence

import empty_blocks
import pytest
import trio
import wire
from pauses import Ticks, best_of_runs, check_pause, ticking
from thread_server import ThreadPeer, thread_server
from wsproto.extensions import Extension

from trio_wsclient import (
    ConnectionClosedOK,
    PerMessageDeflate,
    WebSocketClient,
    open_websocket_client,
)

BOUND = 60  # seconds for what takes a few
KIB, MIB = 1024, 1024 * 1024
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Idle(Extension):
    """A user's extension that works without negotiation and changes nothing."""

    name = "x-idle"

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False


class Agreed(Extension):
    """A user's extension that is negotiated and changes nothing."""

    name = "x-agreed"

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return True

    def finalize(self, offer: str) -> None:
        pass


# E32


def compressed(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def message(payload: bytes, *, fragment_size: int | None = None) -> bytes:
    """Make a compressed message, in fragments if a size is given."""
    size = fragment_size or len(payload)
    frames = []
    for start in range(0, len(payload), size):
        first, last = start == 0, start + size >= len(payload)
        opcode, rsv = (wire.BINARY, RSV1) if first else (wire.CONTINUATION, 0)
        frames.append(wire.frame(opcode, payload[start : start + size], fin=last, rsv=rsv))
    return b"".join(frames)


def flood(payload: bytes, *, size: int = 128 * KIB, fragment_size: int | None = None) -> bytes:
    """Make messages of one payload, about `size` bytes in all."""
    one = message(payload, fragment_size=fragment_size)
    return one * (size // len(one))


# Each makes bytes of a server. They inflate to empty or small messages, except for the bombs.
FLOODS: dict[str, Callable[[], bytes]] = {
    "messages that are not compressed": lambda: wire.binary(bytes(100)) * 5_000,
    "streams, 500 bytes a message": lambda: flood(empty_blocks.STREAM * 250),
    "streams, 1,000 bytes a message": lambda: flood(empty_blocks.STREAM * 500),
    "streams, 4,096 bytes a message": lambda: flood(empty_blocks.STREAM * 2_048),
    "streams, 60,000 bytes a message": lambda: flood(empty_blocks.STREAM * 30_000),
    "streams, in fragments of 4,000 bytes": lambda: flood(
        empty_blocks.STREAM * 30_000, fragment_size=4_000
    ),
    "streams, in fragments of 100 bytes": lambda: flood(
        empty_blocks.STREAM * 2_048, fragment_size=100
    ),
    "streams with a byte each": lambda: flood(empty_blocks.STREAM_WITH_BYTE * 1_365),
    "stored blocks, 1 MiB": lambda: message(empty_blocks.stored(MIB)),
    "fixed blocks, 1 MiB": lambda: message(empty_blocks.fixed(MIB)),
    "dynamic blocks, 1 MiB": lambda: message(empty_blocks.dynamic(MIB)),
    "dynamic blocks, 1 MiB in fragments": lambda: message(
        empty_blocks.dynamic(MIB), fragment_size=50_000
    ),
    "dynamic blocks, 4,096 bytes a message": lambda: flood(empty_blocks.dynamic(4_080), size=MIB),
    "one byte a message, after a full window": lambda: (
        message(compressed(random.Random(1).randbytes(40_000))) + message(b"\x00") * 5_000
    ),
    "bombs of 1 MiB": lambda: message(compressed(bytes(MIB))) * 60,
    "bombs of 64 KiB": lambda: message(compressed(bytes(64 * KIB))) * 600,
}


async def take_messages(ws: WebSocketClient) -> None:
    while await ws.receive() not in {"end", b"end"}:
        pass


async def take_frames(ws: WebSocketClient) -> None:
    async for frame in ws.frames():
        if frame.payload == b"end":
            return


async def take_batches(ws: WebSocketClient) -> None:
    while "end" not in await ws.receive_batch():
        pass


async def take_nothing(ws: WebSocketClient) -> None:
    """Leave it to the background reader: the messages that are inflated are small."""
    pings_before = ws.statistics().pings_received
    while True:
        await trio.lowlevel.checkpoint()
        if ws.statistics().pings_received > pings_before:
            return


async def close_at_once(ws: WebSocketClient) -> None:
    """Close while the flood comes: the client reads on, for the server's Close."""
    await ws.aclose()


Take = Callable[[WebSocketClient], Awaitable[None]]


async def worst_pause_of_flood(data: bytes, take: Take, **options: object) -> float:
    def script(peer: ThreadPeer) -> None:
        peer.accept(DEFLATE)
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"go")
        peer.send(data + wire.ping() + wire.text("end"))
        peer.frames_to_end()

    async def run() -> Ticks:
        async with (
            open_websocket_client(
                server.url, compression="deflate", close_timeout=BOUND, **options
            ) as ws,
            ticking() as ticks,
        ):
            await ws.send("go")
            await take(ws)
        return ticks

    with trio.fail_after(BOUND), thread_server(script) as server:
        return await best_of_runs(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLOODS)
async def test_e32_deflate_flood_lets_other_tasks_run(kind):
    check_pause(await worst_pause_of_flood(FLOODS[kind](), take_messages))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "messages that are not compressed",
        "streams, 4,096 bytes a message",
        "streams, 60,000 bytes a message",
        "streams, in fragments of 100 bytes",
        "dynamic blocks, 1 MiB",
        "dynamic blocks, 4,096 bytes a message",
        "one byte a message, after a full window",
        "bombs of 1 MiB",
    ],
)
async def test_e32_flood_beside_an_extension_lets_tasks_run(kind):
    # An extension of wsproto is for one connection, but `Idle` has no state.
    pause = await worst_pause_of_flood(FLOODS[kind](), take_messages, extensions=[Idle()])
    check_pause(pause)


EMPTY = {"plain": b"\x81\0", "compressed": b"\xc1\0"}  # frames of Text


@pytest.mark.slow
@pytest.mark.parametrize("decode_text", [True, False])
@pytest.mark.parametrize("kind", EMPTY)
async def test_e32_flood_of_empty_text_lets_other_tasks_run(kind, decode_text):
    data = EMPTY[kind] * 100_000
    pause = await worst_pause_of_flood(data, take_messages, decode_text=decode_text)
    check_pause(pause)


@pytest.mark.slow
@pytest.mark.parametrize("frame", [wire.ping(b"x"), wire.text("a")], ids=["pings", "text"])
async def test_e32_flood_of_logged_frames_lets_tasks_run(frame, logger_of_frames):
    check_pause(await worst_pause_of_flood(frame * 4_000, take_messages, logger=logger_of_frames))


@pytest.mark.slow
@pytest.mark.parametrize("take", [take_frames, take_batches, take_nothing, close_at_once])
async def test_e32_deflate_streams_let_other_tasks_run(take):
    """This holds however the messages are taken."""
    data = FLOODS["streams, 4,096 bytes a message"]()
    check_pause(await worst_pause_of_flood(data, take))


# E45, one long message


@functools.cache
def records() -> bytes:
    """Return 20 MB of JSON, which zlib compresses to about a third."""
    draw = random.Random(2)
    names = ("alpha", "beta", "gamma", "delta")
    lines = (
        json.dumps({"id": number, "name": draw.choice(names), "price": draw.random()})
        for number in itertools.count()
    )
    # Data from a million bytes back is out of the window.
    block = "\n".join(itertools.islice(lines, 20_000)).encode()[:1_000_000]
    return block * 20


def letters(alphabet: bytes, size: int) -> bytes:
    """Return random letters: the fewer there are, the longer zlib searches."""
    return bytes(random.Random(3).choices(alphabet, k=size))


def inflated(frames: Sequence[wire.ClientFrame]) -> list[bytes]:
    """Inflate the messages of the client, with one context for all (RFC 7692 §7.2.2)."""
    inflater = zlib.decompressobj(wbits=-15)
    messages: list[bytes] = []
    parts: list[bytes] = []
    is_compressed = False
    for frame in frames:
        if frame.opcode >= wire.CLOSE:
            continue
        assert (frame.opcode == wire.CONTINUATION) == bool(parts)
        if not parts:
            is_compressed = frame.rsv == RSV1
        parts.append(frame.payload)
        if frame.fin:
            data = b"".join(parts)
            messages.append(inflater.decompress(data + TAIL) if is_compressed else data)
            parts = []
    assert not parts
    return messages


def takes_messages(peer: ThreadPeer) -> list[wire.ClientFrame]:
    peer.accept(DEFLATE)
    return peer.frames_to_end()


def agrees_and_takes_messages(peer: ThreadPeer) -> list[wire.ClientFrame]:
    peer.accept(f"{DEFLATE}, {Agreed.name}")
    return peer.frames_to_end()


async def send_whole(ws: WebSocketClient, data: bytes) -> None:
    await ws.send(data)


async def write_one_part(ws: WebSocketClient, data: bytes) -> None:
    async with ws.binary_writer() as writer:
        await writer.write(data)


LONG_SENDS = {
    "20 MB, level 0": (records, 0, send_whole, {}),
    "20 MB, level 1": (records, 1, send_whole, {}),
    "20 MB, level 6": (records, 6, send_whole, {}),
    "20 MB, level 9": (records, 9, send_whole, {}),
    "20 MB in fragments of 1 MB": (records, 1, send_whole, {"fragment_size": 1_000_000}),
    "20 MB in fragments of 15 MB": (records, 1, send_whole, {"fragment_size": 15_000_000}),
    "20 MB, one part of a writer": (records, 1, write_one_part, {}),
    "20 MB, an extension": (records, 1, send_whole, {"extensions": [Agreed()]}),
    "20 MB in fragments, an extension": (
        *(records, 1, send_whole),
        {"fragment_size": 15_000_000, "extensions": [Agreed()]},
    ),
    # Few letters make long chains of candidates: 14 and 60 ms for 16 KiB at level 9.
    "four letters, level 9": (lambda: letters(b"ACGT", 512 * KIB), 9, send_whole, {}),
    "two letters, level 9": (lambda: letters(b"ab", 128 * KIB), 9, send_whole, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "number", "send", "options"), LONG_SENDS.values(), ids=LONG_SENDS)
async def test_e45_compressing_a_long_message_lets_tasks_run(make, number, send, options):
    data = make()
    received = []
    script = agrees_and_takes_messages if "extensions" in options else takes_messages

    async def run() -> Ticks:
        async with open_websocket_client(
            server.url, compression=PerMessageDeflate(level=number), close_timeout=BOUND, **options
        ) as ws:
            async with ticking() as ticks:
                await send(ws, data)
        received.append(await server.seen())
        return ticks

    with trio.fail_after(BOUND), thread_server(script) as server:
        pause = await best_of_runs(run)
    assert inflated(received[0]) == [data]
    check_pause(pause)


async def test_e45_pings_are_answered_while_a_message_compresses():
    """The server pings, and pings again when the pong comes, until the message begins."""

    def script(peer: ThreadPeer) -> int:
        peer.accept(DEFLATE)
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"start")
        peer.send(wire.ping())
        pongs = 0
        while (frame := peer.next_frame()) is not None and frame.opcode == wire.PONG:
            pongs += 1
            peer.send(wire.ping())
        assert frame is not None
        assert frame.opcode == wire.BINARY
        peer.frames_to_end()
        return pongs

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(server.url, compression="deflate") as ws:
            await ws.send("start")
            await ws.send(records())
        pongs = await server.seen()
    assert pongs >= 10  # Compressing takes half a second.


@pytest.mark.parametrize("script", [takes_messages, agrees_and_takes_messages])
@pytest.mark.parametrize("fragment_size", [None, 15_000_000])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
async def test_e45_send_cancelled_while_compressing_leaves_no_trace(steps, fragment_size, script):
    """W2: the next message refers to what was sent, and not to what was only compressed."""
    first = random.Random(4).randbytes(3_000)
    last = first + records()[:3_000]

    async def cancel_soon(scope: trio.CancelScope) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(
            server.url,
            compression="deflate",
            fragment_size=fragment_size,
            extensions=[Agreed()] if script is agrees_and_takes_messages else (),
        ) as ws:
            await ws.send(first)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_soon, scope)
                    await ws.send(records())
            assert scope.cancelled_caught
            await ws.send(last)
            assert ws.statistics().messages_sent == 2
        frames = await server.seen()
    assert [frame.opcode for frame in frames] == [wire.BINARY, wire.BINARY, wire.CLOSE]
    assert inflated(frames) == [first, last]
    assert len(frames[1].payload) < len(first)  # It refers back to the first one.


async def test_e45_compressing_send_ends_with_the_connection():
    """The client does not finish compressing a message that nobody will get."""
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.lowlevel.checkpoint()

    def script(peer: ThreadPeer) -> None:
        peer.accept(DEFLATE)
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"start")
        peer.send(wire.close(1000))
        peer.frames_to_end()

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with (
            open_websocket_client(
                server.url, compression=PerMessageDeflate(level=9), close_timeout=5
            ) as ws,
            trio.open_nursery() as nursery,
        ):
            await ws.send("start")
            nursery.start_soon(ws.wait_closed)
            nursery.start_soon(count)
            with pytest.raises(ConnectionClosedOK):
                await ws.send(records())
            steps = len(records()) // 512
            assert ticks < steps // 2, "it was compressed to the end"
            nursery.cancel_scope.cancel()
