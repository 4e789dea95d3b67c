"""Compressed messages that are wrong or large: what is refused, and what it costs."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import wire
from deflating_server import EXTENSIONS, RSV1, Says, compressed, opened, raw
from scripted_server import Peer, memory_server

from trio_wsclient import ConnectionClosedError

HOSTILE = {
    "not deflate": (wire.frame(wire.TEXT, b"\xff\xff\xff", rsv=RSV1), 1007, "not deflate data"),
    "a truncated block": (
        wire.frame(wire.BINARY, b"\x00\x64\x00\x9b\xff" + b"x" * 50, rsv=RSV1),
        1007,
        "ends inside a block",
    ),
    "too large": (compressed(b"x" * 2000), 1009, r"max_message_size \(1000\) once inflated"),
    "too large by fragments": (
        wire.frame(wire.TEXT, raw(b"x" * 2000)[:4], fin=False, rsv=RSV1)
        + wire.frame(wire.CONTINUATION, raw(b"x" * 2000)[4:]),
        1009,
        "once inflated",
    ),
    "too large in the plain": (wire.text("x" * 1001), 1009, "a message of at least 1001 bytes"),
    "bad UTF-8": (compressed(b"ab\xff"), 1007, "not UTF-8"),
    "RSV1 on a continuation": (
        wire.frame(wire.TEXT, raw(b"a"), fin=False, rsv=RSV1)
        + wire.frame(wire.CONTINUATION, b"\0", rsv=RSV1),
        1002,
        "RSV[12], which is not in use",
    ),
    "RSV1 on a ping": (wire.frame(wire.PING, b"", rsv=RSV1), 1002, "RSV[12], which is not in use"),
    "RSV2": (wire.frame(wire.TEXT, b"", rsv=2), 1002, "RSV[12], which is not in use"),
}


@pytest.mark.parametrize(("data", "code", "problem"), HOSTILE.values(), ids=HOSTILE)
async def test_each_hostile_stream_has_its_close_code(autojump_clock, data, code, problem):
    server = Says(wire.text("before") + data)
    async with memory_server(server) as stream:
        async with opened(stream, max_message_size=1000) as ws:
            assert await ws.receive() == "before"
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
    assert server.code == code
    assert caught.value.sent.code == code
    with pytest.raises(type(caught.value.__cause__), match=problem):
        raise caught.value.__cause__


async def test_message_of_just_the_limit_is_taken(autojump_clock):
    async with memory_server(Says(compressed(b"x" * 1000))) as stream:
        async with opened(stream, max_message_size=1000) as ws:
            assert await ws.receive() == "x" * 1000


@pytest.mark.parametrize("size", [100, 5000], ids=["in the fast path", "frame by frame"])
@pytest.mark.parametrize("is_whole", [True, False])
async def test_max_frame_size_is_of_what_is_on_the_wire(autojump_clock, size: int, is_whole: bool):
    message = bytes(10 * size) + random.randbytes(size)
    payload = raw(message)
    frame = wire.frame(wire.BINARY, payload, rsv=RSV1)
    async with memory_server(Says(frame)) as stream:
        async with opened(stream, max_frame_size=len(payload)) as ws:
            assert await ws.receive() == message
    server = Says(frame if is_whole else frame.removesuffix(payload))
    async with memory_server(server) as stream:
        async with opened(stream, max_frame_size=len(payload) - 1) as ws:
            with trio.fail_after(1), pytest.raises(ConnectionClosedError):
                await ws.receive()
    assert server.code == 1009


async def test_without_a_limit_a_message_may_be_of_any_size(autojump_clock):
    async with memory_server(Says(compressed(b"x" * 20_000_000, wire.BINARY))) as stream:
        async with opened(stream, max_message_size=None, max_buffered_bytes=1) as ws:
            assert len(await ws.receive()) == 20_000_000


async def test_other_tasks_have_their_turn_while_much_is_inflated(autojump_clock):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with memory_server(Says(compressed(b"x" * 40_000_000, wire.BINARY))) as stream:
        async with opened(stream, max_message_size=None) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await ws.receive()
            nursery.cancel_scope.cancel()
    assert turns > 8


LIMIT = 100_000  # bytes: max_message_size where the price is measured


async def price(data: bytes) -> tuple[int | None, int]:
    """Send the client a message; return the code of its Close, and the peak of its memory."""

    async def script(peer: Peer) -> None:
        await peer.accept(EXTENSIONS)
        tracemalloc.start()
        try:
            await peer.send(data)
            code = await peer.expect_close()
            prices.append((code, tracemalloc.get_traced_memory()[1]))
        finally:
            tracemalloc.stop()
        await peer.send(wire.close(code))
        await peer.stream.aclose()

    prices: list[tuple[int | None, int]] = []
    async with memory_server(script) as stream:
        async with opened(stream, max_message_size=LIMIT) as ws:
            with suppress(ConnectionClosedError):
                assert await ws.receive() == bytes(LIMIT)
    return prices[0]


# Each 1 KiB makes 1 MiB. Small messages go by the fast path.
MEBIBYTE = raw(bytes(2**20), mode=zlib.Z_FULL_FLUSH)
BOMBS = {
    "small": wire.frame(wire.BINARY, MEBIBYTE * 3, rsv=RSV1),
    "large": wire.frame(wire.BINARY, MEBIBYTE * 16, rsv=RSV1),
    "in fragments": wire.frame(wire.BINARY, MEBIBYTE[:10], fin=False, rsv=RSV1)
    + wire.frame(wire.CONTINUATION, MEBIBYTE[10:] + MEBIBYTE * 15),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_bomb_costs_no_more_than_a_legal_message(autojump_clock, bomb: bytes):
    """The rest of it is never inflated."""
    await price(compressed(bytes(LIMIT), wire.BINARY))  # what is loaded once is loaded
    code, legal = await price(compressed(bytes(LIMIT), wire.BINARY))
    assert code == 1000
    code, peak = await price(bomb)
    assert code == 1009
    assert peak < 2 * legal


@pytest.mark.slow
async def test_gibibyte_out_of_a_mebibyte_costs_a_second_and_8_mib():
    """The complete process is measured here; the tests above compare single messages."""
    done = await trio.run_process(
        [sys.executable, str(Path(__file__).parents[1] / "support" / "deflate_bomb.py")],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    seconds, growth, code = done.stdout.decode().split()
    assert int(code) == 1009
    assert float(seconds) < 1
    assert float(growth) < 8
