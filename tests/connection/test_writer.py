"""Writing: R3, W1, W2 and W3, and what a failed write means."""

from __future__ import annotations

import pytest
import trio
import wire
from recorder import Recorder, after, opened
from scripted_server import memory_server
from streams import BreaksOnWrite, Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)


async def test_r3_only_the_latest_ping_is_answered_after_a_blocked_write(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            for number in range(1000):
                await server.peer.send(wire.ping(b"%d" % number))
            await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.frames[0].payload == b"blocked"
        assert server.frames[1:] == [wire.ClientFrame(wire.PONG, b"999")]


async def test_w1_bytes_leave_in_the_order_of_the_calls(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ws.send, f"{number}")
                await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"%d" % n for n in range(10)]


async def test_w2_send_cancelled_before_its_turn_has_not_happened(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "first")
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await ws.send("never")
            assert scope.cancelled_caught
            valve.opened.set()
        await ws.send("last")
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"first", b"last"]


async def test_w2_send_cancelled_when_its_turn_comes_has_not_happened(autojump_clock):
    server = Recorder()
    scope = trio.CancelScope()

    async def first() -> None:
        await ws.send("first")
        scope.cancel()  # The lock has passed to the other task, which has not run yet.

    async def never() -> None:
        with scope:
            await ws.pong(b"never")

    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(never)
            await wait_all_tasks_blocked()
            valve.opened.set()
        assert scope.cancelled_caught
        await ws.send("last")
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"first", b"last"]


async def test_w2_a_send_in_a_cancelled_scope_has_not_happened(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.send("never")
        assert scope.cancelled_caught
        await ws.send("sent")
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"sent"]


async def test_w2_nothing_is_written_after_a_torn_frame(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        await server.peer.send(wire.text("came before"))
        await wait_all_tasks_blocked()
        valve.shut()
        with trio.move_on_after(1) as scope:
            await ws.send("torn")
        assert scope.cancelled_caught
        for call in (ws.send, ws.send_text, ws.send_binary, ws.pong):
            with pytest.raises(ConnectionClosedError, match="torn"):
                await call(b"x")
        with pytest.raises(ConnectionClosedError, match="torn"):
            await ws.ping()
        assert await ws.receive() == "came before"
        with pytest.raises(ConnectionClosedError, match="torn") as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert await ws.wait_closed() is None
    await server.eof.wait()
    assert server.frames == []


async def test_w3_only_control_frames_come_between_fragments(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        async with trio.open_nursery() as nursery:
            async with ws.text_writer() as writer:
                await writer.write("one")
                nursery.start_soon(ws.send, "other")
                await wait_all_tasks_blocked()
                await server.peer.send(wire.ping(b"ping"))
                await wait_all_tasks_blocked()
                await writer.write("two")
        await wait_all_tasks_blocked()
        assert server.opcodes() == [
            wire.TEXT,
            wire.PONG,
            wire.CONTINUATION,
            wire.CONTINUATION,
            wire.TEXT,
        ]


async def test_w3_pong_passes_between_the_fragments_of_a_long_send(autojump_clock):
    server = Recorder()
    async with opened(server, fragment_size=10) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(30))
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"ping"))
            await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes()[0] == wire.BINARY
        assert wire.PONG in server.opcodes()[1:-1]


async def test_pong_leaves_before_the_answer_to_a_later_message():
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "first")
            await wait_all_tasks_blocked()
            nursery.start_soon(ws.send, "answer")
            await server.peer.send(wire.ping(b"1"))
            await trio.lowlevel.checkpoint()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.TEXT, wire.PONG, wire.TEXT]


async def test_due_pong_leaves_before_our_close(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"1"))
            await wait_all_tasks_blocked()
            nursery.start_soon(ws.aclose)
            await wait_all_tasks_blocked()
            valve.opened.set()
    assert server.opcodes() == [wire.TEXT, wire.PONG, wire.CLOSE]


async def test_all_pings_are_answered_while_no_write_is_blocked():
    server = Recorder()
    async with opened(server) as (_, _):
        await server.peer.send(b"".join(wire.ping(b"%d" % number) for number in range(10)))
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("says_why", [True, False])
async def test_failed_write_leaves_the_server_time_to_say_why(says_why, autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            async with trio.open_nursery() as nursery:
                if says_why:
                    nursery.start_soon(after, 1, server.peer.send, wire.close(1008, b"spam"))
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.send("x")
            if says_why:
                assert (caught.value.code, caught.value.reason) == (1008, "spam")
            else:
                assert str(caught.value) == "no Close frame: broken pipe"


async def test_failed_pong_leaves_messages_readable(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping() + wire.text("a"))
            assert await ws.receive() == "a"
            await server.peer.send(wire.ping() + wire.text("b") + wire.close(1000))
            assert await ws.receive() == "b"
            with pytest.raises(ConnectionClosedOK):
                await ws.receive()


async def test_x2_outer_cancel_does_not_tear_a_pong(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        valve = Valve(stream)
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=valve) as ws:
                valve.shut()
                await server.peer.send(wire.ping(b"1"))
                await wait_all_tasks_blocked()
                assert valve.writing == 1
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    valve.opened.set()
                    await ws.send("goodbye")
    await server.eof.wait()
    assert server.opcodes() == [wire.PONG, wire.TEXT, wire.CLOSE]


async def test_r3_nothing_piles_up_once_nothing_can_be_written(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping())
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"x" * 100) * 1000)
            await wait_all_tasks_blocked()
            assert ws._connection.replies._payloads == []


async def test_stream_that_can_only_be_read_ends_within_close_timeout(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping())
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError, match="broken pipe"):
                await ws.receive()
            assert trio.current_time() - started == pytest.approx(3)
