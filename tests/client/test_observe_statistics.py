"""The statistics of a connection: bytes with and without compression, buffer, time, pings."""

from __future__ import annotations

import zlib

import pytest
import trio
import wire
from scripted_server import Peer, echo_script, memory_server
from streams import Valve

from trio_wsclient import open_websocket_client

URL = "ws://server/"


async def test_bytes_are_counted_with_and_without_compression(autojump_clock):
    text = "abc" * 1000
    compressor = zlib.compressobj(wbits=-15)
    answer = compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    answer = wire.frame(wire.TEXT, answer.removesuffix(b"\0\0\xff\xff"), rsv=4)

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.next_frame()
        await peer.send(answer)
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, compression="deflate") as ws:
            await ws.send(text)
            assert await ws.receive() == text
            statistics = ws.statistics()
    assert statistics.bytes_received == len(answer)
    assert statistics.uncompressed_bytes_received == len(answer) + 3000 - (len(answer) - 2)
    assert statistics.bytes_sent < 100
    assert statistics.uncompressed_bytes_sent == 2 + 4 + 3000


async def test_bytes_of_fragments_are_counted(autojump_clock):
    compressor = zlib.compressobj(wbits=-15)
    first = compressor.compress(b"a" * 500) + compressor.flush(zlib.Z_SYNC_FLUSH)
    last = compressor.compress(b"b" * 500) + compressor.flush(zlib.Z_SYNC_FLUSH)
    last = last.removesuffix(b"\0\0\xff\xff")

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.send(wire.frame(wire.BINARY, first, fin=False, rsv=4))
        await peer.send(wire.continuation(last))
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, compression="deflate") as ws:
            assert len(await ws.receive()) == 1000
            statistics = ws.statistics()
            async with ws.binary_writer() as writer:
                await writer.write(bytes(1000))
            sent = ws.statistics()
    assert statistics.uncompressed_bytes_received == 2 + 2 + 1000
    assert sent.bytes_sent < 100
    # Two headers with masks, and what ends a flush twice but for its last four bytes.
    assert sent.uncompressed_bytes_sent == pytest.approx(2 * 6 + 1000, abs=10)


async def test_byte_counts_are_equal_when_nothing_is_compressed(autojump_clock):
    async with memory_server(echo_script) as stream:
        async with open_websocket_client(URL, stream=stream) as ws:
            await ws.send("abc")
            assert await ws.receive() == "abc"
            statistics = ws.statistics()
    assert statistics.uncompressed_bytes_sent == statistics.bytes_sent == 9
    assert statistics.uncompressed_bytes_received == statistics.bytes_received == 5


async def test_pings_are_counted_and_latency_is_smoothed(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.ping(b"1") + wire.ping(b"2"))
        delays = iter([1, 2])
        while (frame := await peer.next_frame()) is not None and frame.opcode != wire.CLOSE:
            if frame.opcode == wire.PING:
                await trio.sleep(next(delays))
                await peer.send(wire.pong(frame.payload))
        await peer.send(wire.close(1000))
        await peer.stream.aclose()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream) as ws:
            before = ws.statistics()
            await ws.ping()
            first = ws.statistics()
            await ws.ping()
            second = ws.statistics()
    assert (before.pings_sent, before.latency, before.smoothed_latency) == (0, None, None)
    assert (first.pings_sent, first.pings_received) == (1, 2)
    assert (first.latency, first.smoothed_latency) == pytest.approx((1, 1))
    assert second.pings_sent == 2
    assert (second.latency, second.smoothed_latency) == pytest.approx((2, 1 + 1 / 8))


async def test_keepalive_pings_are_counted(autojump_clock):
    async with memory_server(echo_script) as stream:
        async with open_websocket_client(URL, stream=stream, ping_interval=1) as ws:
            await trio.sleep(3.5)
            assert ws.statistics().pings_sent == 3


async def test_most_buffered_bytes_keeps_the_maximum(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.binary(bytes(1000)) * 5)
        await peer.next_frame()
        await peer.send(wire.binary(bytes(1000)) * 5)
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, max_buffered_bytes=20_000) as ws:
            await trio.sleep(1)
            full = ws.statistics()
            await ws.receive_batch()
            await ws.send("go on")
            await ws.receive()
            later = ws.statistics()
    assert full.buffered_bytes == full.most_buffered_bytes == 5 * 1128
    assert later.buffered_bytes < later.most_buffered_bytes
    assert later.most_buffered_bytes <= 5 * 1128 + 20_000 / 64


async def test_seconds_full_counts_only_time_without_room(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.binary(bytes(1000)))
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, max_buffered_bytes=500) as ws:
            await trio.sleep(3)
            assert ws.statistics().seconds_full == pytest.approx(3, abs=0.01)
            await ws.receive()
            await trio.sleep(5)
            assert ws.statistics().seconds_full == pytest.approx(3, abs=0.01)


async def test_seconds_writing_counts_time_the_stream_is_blocked(autojump_clock):
    async with memory_server(echo_script) as stream:
        valve = Valve(stream)
        async with open_websocket_client(URL, stream=valve) as ws:
            valve.shut()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, "a")
                await trio.sleep(2)
                assert ws.statistics().seconds_writing == pytest.approx(2, abs=0.01)
                await trio.sleep(1)
                valve.opened.set()
            await trio.sleep(10)
            assert ws.statistics().seconds_writing == pytest.approx(3, abs=0.01)


async def test_bytes_that_came_with_the_response_are_counted(autojump_clock):
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(b"a" * 500) + compressor.flush(zlib.Z_SYNC_FLUSH)
    greeting = wire.frame(wire.BINARY, payload.removesuffix(b"\0\0\xff\xff"), rsv=4)

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate", behind=greeting)
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, compression="deflate") as ws:
            assert len(await ws.receive()) == 500
            statistics = ws.statistics()
    assert statistics.messages_received == 1
    assert statistics.bytes_received == len(greeting)
    assert statistics.uncompressed_bytes_received == 2 + 500
