"""permessage-deflate (RFC 7692) on whole connections; servers are right, odd or hostile."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import trio
import wire
from scripted_server import Peer, memory_server

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    DataFrame,
    InvalidResponse,
    Opcode,
    PerMessageDeflate,
    open_websocket_client,
)

RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
EXTENSIONS = "Sec-WebSocket-Extensions: permessage-deflate"


def raw(data: bytes, *, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Compress for a message of its own."""
    compressor = zlib.compressobj(wbits=-15)
    flushed = compressor.compress(data) + compressor.flush(mode)
    return flushed.removesuffix(TAIL) if mode == zlib.Z_SYNC_FLUSH else flushed


def compressed(data: bytes, opcode: int = wire.TEXT) -> bytes:
    return wire.frame(opcode, raw(data), rsv=RSV1)


class Says:
    """A server that accepts compression, sends some bytes, and takes frames until the Close."""

    def __init__(self, data: bytes, answer: str = EXTENSIONS) -> None:
        self.data = data
        self.answer = answer
        self.frames: list[wire.ClientFrame] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.accept(self.answer)
        if self.data:
            await peer.send(self.data)
        while (frame := await peer.next_frame()) is not None:
            self.frames.append(frame)
            if frame.opcode == wire.CLOSE:
                await peer.send(wire.frame(wire.CLOSE, frame.payload))
                await peer.stream.aclose()
                break

    @property
    def code(self) -> int | None:
        return self.frames[-1].code


def opened(stream: trio.abc.Stream, **options: object):
    return open_websocket_client("ws://x/", stream=stream, compression="deflate", **options)


async def test_messages_are_inflated_whatever_stands_between_them(autojump_clock):
    """E18, E19 and their relatives, in one stream."""
    one = raw(b"one " * 100)
    data = b"".join(
        [
            compressed(b"first"),
            wire.text("plain"),
            # BFINAL, with and without the octet of RFC 7692 §7.2.3.4, in a row
            wire.frame(wire.TEXT, raw(b"final", mode=zlib.Z_FINISH), rsv=RSV1),
            wire.frame(wire.TEXT, raw(b"ended", mode=zlib.Z_FINISH) + b"\0", rsv=RSV1),
            wire.frame(wire.TEXT, raw(b"a", mode=zlib.Z_FINISH) + raw(b"b"), rsv=RSV1),
            # pings between the fragments of a compressed message, one of them empty
            wire.frame(wire.TEXT, one[:3], fin=False, rsv=RSV1),
            wire.ping(b"1"),
            wire.frame(wire.CONTINUATION, one[3:5], fin=False),
            wire.ping(b"2"),
            wire.frame(wire.CONTINUATION, b"", fin=False),
            wire.ping(b"3"),
            wire.frame(wire.CONTINUATION, one[5:]),
            wire.frame(wire.TEXT, b"\0", rsv=RSV1),
            compressed("wörld".encode()),
        ]
    )
    server = Says(data)
    async with memory_server(server) as stream:
        async with opened(stream) as ws:
            assert ws.extensions == ("permessage-deflate",)
            expected = ["first", "plain", "final", "ended", "ab", "one " * 100, "", "wörld"]
            assert [await ws.receive() for _ in expected] == expected
    pongs = [frame.payload for frame in server.frames if frame.opcode == wire.PONG]
    assert pongs == [b"1", b"2", b"3"]


async def test_frames_of_a_compressed_message_come_as_they_are_inflated(autojump_clock):
    compressor = zlib.compressobj(wbits=-15)
    first = compressor.compress(b"first") + compressor.flush(zlib.Z_SYNC_FLUSH)
    second = compressor.compress(b"second") + compressor.flush(zlib.Z_SYNC_FLUSH)
    data = wire.frame(wire.BINARY, first, fin=False, rsv=RSV1)
    async with memory_server(Says(data)) as stream:
        async with opened(stream) as ws:
            frames = ws.frames()
            assert await anext(frames) == DataFrame(Opcode.BINARY, b"first", fin=False)
    data += wire.frame(wire.CONTINUATION, second.removesuffix(TAIL))
    async with memory_server(Says(data)) as stream:
        async with opened(stream) as ws:
            assert await ws.receive() == b"firstsecond"


async def test_long_messages_are_compressed_and_short_ones_are_not(autojump_clock):
    server = Says(b"")
    text = "".join(map(str, range(1000)))
    async with memory_server(server) as stream:
        async with opened(stream) as ws:
            for message in (text[:255], text, b"y" * 256, text):
                await ws.send(message)
    inflater = zlib.decompressobj(-15)
    data = [frame for frame in server.frames if frame.opcode in {wire.TEXT, wire.BINARY}]
    assert [frame.rsv for frame in data] == [0, RSV1, RSV1, RSV1]
    assert data[0].payload == text[:255].encode()
    received = [inflater.decompress(frame.payload + TAIL) for frame in data[1:]]
    assert received == [text.encode(), b"y" * 256, text.encode()]
    assert len(data[3].payload) < len(data[1].payload) / 4, "the context is taken over"


async def test_parts_are_flushed_as_they_are_written(autojump_clock):
    received = []

    async def script(peer: Peer) -> None:
        await peer.accept(EXTENSIONS)
        inflater = zlib.decompressobj(-15)
        while True:
            frame = await peer.next_frame()
            if frame.opcode == wire.CLOSE:
                break
            received.append(
                (frame.opcode, frame.rsv, frame.fin, inflater.decompress(frame.payload))
            )
            parts[len(received) - 1].set()
        await peer.send(wire.close())
        await peer.stream.aclose()

    parts = [trio.Event() for _ in range(3)]
    async with memory_server(script) as stream:
        async with opened(stream) as ws:
            async with ws.text_writer() as writer:
                await writer.write("a")
                await parts[0].wait()
                await writer.write("b")
                await parts[1].wait()
    assert received == [
        (wire.TEXT, RSV1, False, b"a"),
        (wire.CONTINUATION, 0, False, b"b"),
        (wire.CONTINUATION, 0, True, b""),
    ]


async def test_without_our_takeover_each_message_stands_alone(autojump_clock):
    server = Says(b"", f"{EXTENSIONS}; client_no_context_takeover")
    async with memory_server(server) as stream:
        async with opened(stream) as ws:
            await ws.send("x" * 300)
            await ws.send("x" * 300)
    data = [frame.payload for frame in server.frames if frame.opcode == wire.TEXT]
    assert data[0] == data[1]
    assert zlib.decompressobj(-15).decompress(data[1] + TAIL) == b"x" * 300


async def test_what_the_server_does_not_echo_is_not_applied_to_what_it_sends(autojump_clock):
    """Its context is taken over though we asked for the opposite, its window is the largest."""
    compressor = zlib.compressobj(wbits=-15)
    text = bytes(range(256)) * 20
    distant = text + b"-" * 20_000 + text
    payloads = [
        (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        for data in (distant, distant)
    ]
    data = b"".join(wire.frame(wire.BINARY, payload, rsv=RSV1) for payload in payloads)
    settings = PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=9)
    async with memory_server(Says(data)) as stream:
        async with open_websocket_client("ws://x/", stream=stream, compression=settings) as ws:
            assert [await ws.receive(), await ws.receive()] == [distant, distant]


async def test_a_server_may_decline(autojump_clock):
    server = Says(wire.text("a"), "X-Nothing: 1")
    async with memory_server(server) as stream:
        async with opened(stream) as ws:
            assert ws.extensions == ()
            await ws.send("x" * 1000)
            assert await ws.receive() == "a"
    assert server.frames[0].rsv == 0


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("permessage-deflate; x", "unknown parameter"),
        ("permessage-deflate; server_max_window_bits=16", "server_max_window_bits"),
        ("permessage-deflate, permessage-deflate", "accepted twice"),
        ("permessage-bzip2", "was not offered"),
        ("permessage-deflate; =1", "not a parameter"),
    ],
)
async def test_a_wrong_answer_fails_the_handshake(autojump_clock, answer: str, problem: str):
    async def script(peer: Peer) -> None:
        await peer.accept(f"Sec-WebSocket-Extensions: {answer}")
        assert await peer.wait_eof() == b""

    async with memory_server(script) as stream:
        with pytest.raises(InvalidResponse, match=problem):
            async with opened(stream):
                pytest.fail("it is not open")


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
        "Reserved bit",
    ),
    "RSV1 on a ping": (wire.frame(wire.PING, b"", rsv=RSV1), 1002, "Reserved bit"),
    "RSV2": (wire.frame(wire.TEXT, b"", rsv=2), 1002, "Reserved bit"),
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


async def test_a_message_of_just_the_limit_is_taken(autojump_clock):
    async with memory_server(Says(compressed(b"x" * 1000))) as stream:
        async with opened(stream, max_message_size=1000) as ws:
            assert await ws.receive() == "x" * 1000


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


async def test_a_bomb_is_refused_at_the_price_of_a_legal_message():
    """1 GiB out of 1 MiB: Close 1009 within a second, and less than 8 MiB of growth."""
    done = await trio.run_process(
        [sys.executable, str(Path(__file__).with_name("deflate_bomb.py"))],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    seconds, growth, code = done.stdout.decode().split()
    assert int(code) == 1009
    assert float(seconds) < 1
    assert float(growth) < 8


async def test_closing_does_not_stumble_over_compressed_messages(autojump_clock):
    server = Says(compressed(b"x" * 5000) * 50)
    async with memory_server(server) as stream:
        async with opened(stream, max_message_size=10_000) as ws:
            pass
        with pytest.raises(ConnectionClosedOK):
            while True:
                await ws.receive()
    assert server.code == 1000
