"""permessage-deflate (RFC 7692) on whole connections."""

from __future__ import annotations

import random
import zlib

import pytest
import trio
import wire
from deflating_server import EXTENSIONS, RSV1, TAIL, Says, compressed, opened, raw
from scripted_server import Peer, memory_server
from streams import Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedOK,
    DataFrame,
    InvalidResponse,
    Opcode,
    PerMessageDeflate,
    open_websocket_client,
)


async def test_messages_are_inflated_whatever_comes_between_them(autojump_clock):
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


def inflated(frames: list[wire.ClientFrame]) -> list[bytes]:
    """Inflate the messages of a client, one after the other."""
    inflater = zlib.decompressobj(-15)
    messages = [frame.payload for frame in frames if frame.opcode == wire.BINARY]
    return [inflater.decompress(message + TAIL) for message in messages]


async def test_w2_send_cancelled_before_its_write_is_not_compressed(autojump_clock):
    """The send waits for the stream. If it were compressed, the next one would refer to it."""
    never = random.Random(1).randbytes(1_000)
    server = Says(b"")
    async with memory_server(server) as stream:
        valve = Valve(stream)
        async with opened(valve) as ws, trio.open_nursery() as nursery:
            valve.shut()
            nursery.start_soon(ws.pong)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await ws.send(never)
            assert scope.cancelled_caught
            valve.opened.set()
            await ws.send(never)
    assert inflated(server.frames) == [never]


async def test_message_after_a_long_one_refers_to_what_was_sent(autojump_clock):
    """The long message is compressed in steps, between two short ones."""
    chance = random.Random(2)
    first, long = chance.randbytes(1_000), chance.randbytes(20_000)
    server = Says(b"")
    async with memory_server(server) as stream:
        async with opened(stream) as ws:
            assert len(long) > ws._connection.protocol.max_step_size
            for message in (first, long, first):
                await ws.send(message)
    assert inflated(server.frames) == [first, long, first]
    assert len(server.frames[2].payload) < 100  # It refers to the first message.


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


async def test_parameter_that_is_not_echoed_is_not_applied(autojump_clock):
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


async def test_server_may_decline(autojump_clock):
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
async def test_wrong_answer_fails_the_handshake(autojump_clock, answer: str, problem: str):
    async def script(peer: Peer) -> None:
        await peer.accept(f"Sec-WebSocket-Extensions: {answer}")
        assert await peer.wait_eof() == b""

    async with memory_server(script) as stream:
        with pytest.raises(InvalidResponse, match=problem):
            async with opened(stream):
                pytest.fail("it is not open")


async def test_closing_does_not_stumble_over_compressed_messages(autojump_clock):
    server = Says(compressed(b"x" * 5000) * 50)
    async with memory_server(server) as stream:
        async with opened(stream, max_message_size=10_000) as ws:
            pass
        with pytest.raises(ConnectionClosedOK):
            while True:
                await ws.receive()
    assert server.code == 1000
