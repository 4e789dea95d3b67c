"""Keepalive: a dead server is found, and a slow consumer or upload is not taken for one."""

from __future__ import annotations

import math
import select
import signal

import pytest
import trio
import wire
from recorder import Recorder
from scripted_server import Peer, loopback_server, memory_server
from streams import Valve
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_wsclient import ConnectionClosedError, open_websocket_client
from trio_wsclient._connection import keepalive


async def alive(peer: Peer) -> None:
    """Answer everything, as a server does."""
    await peer.accept()
    await peer.echo()


async def test_no_pings_by_default(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=stream):
            await trio.sleep(1000)
            assert server.frames == []


@pytest.mark.slow
async def test_pings_on_request_keep_a_healthy_connection_for_days(autojump_clock):
    async with memory_server(alive) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=5
        ) as ws:
            await trio.sleep(100_000)
            assert ws.latency is not None
            await ws.send("still there")
            assert await ws.receive() == "still there"


async def test_keepalive_pings_every_interval_with_a_new_payload(autojump_clock):
    times, payloads = [], []

    async def notes(peer: Peer) -> None:
        await peer.accept()
        while (frame := await peer.next_frame()) is not None and frame.opcode == wire.PING:
            times.append(trio.current_time() - started)
            payloads.append(frame.payload)
            await peer.send(wire.pong(frame.payload))
        await peer.stream.aclose()

    async with memory_server(notes) as stream:
        async with open_websocket_client("ws://server/", stream=stream, ping_interval=20):
            started = trio.current_time()
            await trio.sleep(65)
    assert times == pytest.approx([20, 40, 60])
    assert len(set(payloads)) == 3
    assert {len(payload) for payload in payloads} == {16}


async def test_silent_server_is_found_by_keepalive(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=5
        ) as ws:
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError, match="failed by this side: 1011") as caught:
                await ws.receive()
            assert trio.current_time() - started == pytest.approx(25)
    assert str(caught.value.__cause__) == "nothing received for 5 s after a ping"
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert server.opcodes() == [wire.PING, wire.CLOSE]
    assert server.frames[1].code == 1011


async def test_without_ping_timeout_a_silent_server_is_borne(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=None
        ):
            await trio.sleep(105)
            assert server.opcodes() == [wire.PING] * 5


async def test_anything_that_comes_in_is_a_sign_of_life(autojump_clock):
    async def talks_but_never_pongs(peer: Peer) -> None:
        await peer.accept()
        while True:
            await trio.sleep(4)
            await peer.send(wire.text("x"))

    async with memory_server(talks_but_never_pongs) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=10, ping_timeout=5
        ) as ws:
            for _ in range(100):
                assert await ws.receive() == "x"


async def test_clock_stops_while_a_slow_consumer_blocks_reading(autojump_clock):
    async def floods(peer: Peer) -> None:
        await peer.accept(behind=wire.binary(bytes(100)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.echo)
            for _ in range(20):
                await peer.send(wire.binary(bytes(100)))

    async with memory_server(floods) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=3, ping_timeout=5, max_buffered_bytes=10
        ) as ws:
            for _ in range(20):
                await trio.sleep(60)
                assert await ws.receive() == bytes(100)
            await ws.receive()
            await trio.sleep(60)  # and now, with room, the pongs are seen again


async def test_clock_goes_on_when_reading_does(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=10, ping_timeout=5, max_buffered_bytes=10
        ) as ws:
            await server.peer.send(wire.binary(bytes(100)))
            await trio.sleep(1000)
            assert server.opcodes() == [wire.PING]
            await ws.receive()
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError):
                await ws.receive()
            assert trio.current_time() - started == pytest.approx(5)


class Slow(Valve):
    """A stream that takes 64 KiB in 4 seconds."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(4 * len(data) / 65536)
        await super().send_all(data)


async def test_slow_upload_is_a_sign_of_life(autojump_clock):
    async with memory_server(alive) as stream:
        async with open_websocket_client(
            "ws://server/",
            stream=Slow(stream),
            ping_interval=1,
            ping_timeout=5,
            max_message_size=None,
        ) as ws:
            await ws.send(bytes(65536 * 30))
            assert len(await ws.receive()) == 65536 * 30


async def test_dead_server_is_found_in_a_blocked_send(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        valve = Valve(stream)
        async with open_websocket_client(
            "ws://server/", stream=valve, ping_interval=20, ping_timeout=5
        ) as ws:
            valve.shut()
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError):
                await ws.send("blocked")
            assert trio.current_time() - started == pytest.approx(25)


async def test_x2_dead_server_is_found_after_an_outer_cancel(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client(
                "ws://server/", stream=stream, ping_interval=20, ping_timeout=5
            ) as ws:
                scope.cancel()
                with (
                    trio.fail_after(60, shield=True),
                    pytest.raises(ConnectionClosedError, match="nothing received"),
                ):
                    await ws.receive()


def test_x2_ctrl_c_does_not_strike_within_the_keepalive(monkeypatch):
    def strike() -> bytes:
        signal.raise_signal(signal.SIGINT)
        return b"still alive"

    async def main() -> None:
        server = Recorder()
        async with memory_server(server) as stream:
            async with open_websocket_client("ws://server/", stream=stream, ping_interval=20):
                with pytest.raises(KeyboardInterrupt):
                    await trio.sleep(60)  # It strikes the main task here.
                await wait_all_tasks_blocked()
                assert server.frames == [wire.ClientFrame(wire.PING, b"still alive")]

    monkeypatch.setattr(keepalive, "random_payload", strike)
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_dead_server_is_found_under_a_trickle_of_sends(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=5
        ) as ws:
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError):
                while True:
                    await ws.send("x")
                    await trio.sleep(0.5)
            assert trio.current_time() - started <= 25.5


async def test_received_bytes_are_a_sign_of_life_during_blocked_pings(
    autojump_clock,
):
    async def writes_before_it_reads(peer: Peer) -> None:
        await peer.accept()
        for _ in range(60):
            await trio.sleep(1)
            await peer.send(wire.text("x"))
        valve.opened.set()
        await peer.echo()

    async with memory_server(writes_before_it_reads) as stream:
        valve = Valve(stream)
        async with open_websocket_client(
            "ws://server/", stream=valve, ping_interval=20, ping_timeout=5
        ) as ws:
            valve.shut()
            began = trio.current_time()
            await ws.send("blocked for a minute")
            assert trio.current_time() - began >= 60


async def test_due_ping_goes_before_a_long_message(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        slow = Slow(stream)
        async with open_websocket_client(
            "ws://server/", stream=slow, ping_interval=20, ping_timeout=5
        ) as ws:
            await trio.sleep(19)
            async with trio.open_nursery() as nursery:
                slow.shut()
                nursery.start_soon(ws.send, "first")
                await trio.sleep(2)
                nursery.start_soon(ws.send, bytes(65536 * 3))
                await wait_all_tasks_blocked()
                slow.opened.set()
                await trio.sleep(4.5)
                assert server.opcodes()[:2] == [wire.TEXT, wire.PING]
                await server.peer.send(wire.pong(server.frames[1].payload))


async def test_clock_is_compared_as_it_is_whatever_its_magnitude(autojump_clock):
    for _ in range(20):
        server = Recorder(closes=False)
        async with memory_server(server) as stream:
            async with open_websocket_client(
                "ws://server/", stream=stream, ping_interval=0.1, ping_timeout=0.1
            ) as ws:
                await trio.sleep(0.0123)
                with pytest.raises(ConnectionClosedError):
                    await ws.receive()


async def test_after_the_end_no_more_pings_are_sent(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=5, close_timeout=1000
        ) as ws:
            await trio.sleep(19)
            await server.peer.send(wire.close())
            await ws.wait_closed()
            await trio.sleep(100)
            assert server.opcodes() == [wire.CLOSE]
            await server.peer.stream.aclose()


async def test_end_during_a_ping_is_no_keepalive_failure(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, ping_interval=20, ping_timeout=5
        ) as ws:
            await trio.sleep(21)
            assert server.opcodes() == [wire.PING]
            await server.peer.send(wire.close(1000))
            assert (await ws.wait_closed()).code == 1000
            await wait_all_tasks_blocked()
    assert trio.current_effective_deadline() == math.inf


async def test_pong_in_the_kernel_counts_when_ping_timeout_strikes(mock_clock):
    """The reader and the keepalive are due in the same tick, and Trio runs either of them first."""
    server = Recorder()
    async with loopback_server(server) as url:
        async with open_websocket_client(url, ping_interval=20, ping_timeout=5) as ws:
            for count in range(1, 21):
                await wait_all_tasks_blocked(0.01)
                mock_clock.jump(20)
                while len(server.frames) < count:
                    await wait_all_tasks_blocked(0.01)
                server.peer.stream.socket._sock.send(wire.pong(server.frames[-1].payload))
                assert select.select([ws._connection.stream_reader._eager.socket], [], [], 10)[0]
                mock_clock.jump(5)
                await wait_all_tasks_blocked(0.01)
                assert ws.outcome is None
