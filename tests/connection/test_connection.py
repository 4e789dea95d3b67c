"""Reading, and what ends a connection: R1, R2, X2."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, echo_script, loopback_server, memory_server
from streams import RaisesAnything, Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)
from trio_wsclient._connection import receiving, stream_reader
from trio_wsclient._net.sockets import EagerSocketStream


async def test_r1_reader_reads_on_while_a_reply_cannot_be_written(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        await server.peer.send(wire.ping(b"1"))
        await wait_all_tasks_blocked()
        assert valve.writing == 1
        await server.peer.send(wire.text("behind the ping"))
        assert await ws.receive() == "behind the ping"
        valve.opened.set()


async def test_r2_pings_are_answered_while_nobody_receives(autojump_clock):
    server = Recorder()
    async with opened(server) as (_, _):
        await server.peer.send(wire.text("unread") + wire.ping(b"1"))
        await wait_all_tasks_blocked()
        assert server.frames == [wire.ClientFrame(wire.PONG, b"1")]


async def test_r2_reading_pauses_at_max_buffered_bytes_until_messages_are_taken(
    autojump_clock,
):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.binary(bytes(1000)))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.ping(b"behind"))
        await wait_all_tasks_blocked()
        assert server.frames == []
        await ws.receive()
        await wait_all_tasks_blocked()
        assert server.frames == [wire.ClientFrame(wire.PONG, b"behind")]


async def test_r2_waiting_receive_reads_beyond_max_buffered_bytes(autojump_clock):
    async with opened(echo_script, max_buffered_bytes=10, fragment_size=100) as (ws, _):
        await ws.send(bytes(1000))
        with trio.fail_after(5):
            assert await ws.receive() == bytes(1000)


async def test_r2_taking_frames_makes_room_too(autojump_clock):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.binary(bytes(1000), fin=False))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.ping(b"behind"))
        await wait_all_tasks_blocked()
        assert server.frames == []
        await ws.frames().__anext__()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.PONG]


async def test_r2_after_our_close_what_comes_is_dropped(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.text("before"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await wait_all_tasks_blocked()
            await server.peer.send(wire.binary(bytes(900)) * 100 + wire.close(1000))
            await wait_all_tasks_blocked()
            assert ws.statistics().buffered_messages == 1
            await server.peer.stream.aclose()
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


async def test_x2_shielded_block_works_after_an_outer_cancel(autojump_clock):
    async with memory_server(echo_script) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    await ws.send("goodbye")
                    assert await ws.receive() == "goodbye"
                    assert await ws.ping() >= 0
                    await ws.aclose(1000)
                    assert (await ws.wait_closed()).code == 1000
        assert scope.cancel_called


async def test_x2_pings_are_answered_after_an_outer_cancel(
    autojump_clock,
):
    server = Recorder()
    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await server.peer.send(wire.ping(b"1") + wire.text("message"))
                    assert await ws.receive() == "message"
                    await wait_all_tasks_blocked()
                    assert server.opcodes() == [wire.PONG]


async def test_response_is_sent_before_the_close_for_a_violation():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") + wire.frame(3))
        await ws.send(await ws.receive())
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    assert server.opcodes() == [wire.TEXT, wire.CLOSE]


async def test_violation_after_our_close_is_no_error(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=3) as (ws, _), trio.open_nursery() as nursery:
        await server.peer.send(wire.text("a"))
        await ws.receive()
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        await server.peer.send(wire.frame(3))
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


async def test_eof_without_a_close_is_1006(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("before"))
        await server.peer.stream.aclose()
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionClosedError, match="no Close frame") as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (1006, "")
        assert (caught.value.received, caught.value.sent) == (None, None)
        assert isinstance(caught.value.__cause__, EOFError)


async def test_violation_sends_a_close_that_the_error_shows(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.frame(wire.TEXT, b"x", rsv=4))
        with pytest.raises(ConnectionClosedError, match="failed by this side: 1002") as caught:
            await ws.receive()
        assert caught.value.sent.code == 1002
        assert caught.value.code == 1006
        assert caught.value.__cause__ is not None
    assert [frame.code for frame in server.frames] == [1002]


async def test_frame_over_max_frame_size_gets_1009_by_its_header(autojump_clock):
    server = Recorder()
    async with opened(server, max_frame_size=10) as (ws, _):
        fragments = wire.binary(bytes(10), fin=False) + wire.continuation(bytes(10))
        await server.peer.send(fragments + wire.frame(wire.BINARY, length=11))
        assert await ws.receive() == bytes(20)
        with trio.fail_after(1), pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert "max_frame_size (10)" in caught.value.sent.reason
    assert [frame.code for frame in server.frames] == [1009]


async def test_whatever_a_users_stream_raises_ends_the_connection(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=RaisesAnything(stream)) as ws:
            await server.peer.send(wire.text("raise"))
            with pytest.raises(ConnectionClosed, match="what a stream") as caught:
                await ws.receive()
            assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_users_stream_is_read_by_one_task_alone(autojump_clock):
    class NotesReaders(Valve):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            readers.append(trio.lowlevel.current_task())
            return await super().receive_some(max_bytes)

    readers: list[trio.lowlevel.Task] = []
    async with memory_server(echo_script) as stream:
        async with open_websocket_client("ws://server/", stream=NotesReaders(stream)) as ws:
            readers.clear()  # The task that opened it has read the answer.
            for _ in range(3):
                await ws.send("a")
                await ws.receive()
            assert len(set(readers)) == 1
            assert trio.lowlevel.current_task() not in readers


async def test_waiting_receive_reads_for_itself_on_tcp(monkeypatch):
    receive_nowait = EagerSocketStream.receive_nowait

    def noting(stream: EagerSocketStream, max_bytes: int | None = None) -> bytes | None:
        readers.append(trio.lowlevel.current_task())
        return receive_nowait(stream, max_bytes)

    async def consumer() -> None:
        for _ in range(2):
            await ws.receive()
        assert trio.lowlevel.current_task() in readers

    monkeypatch.setattr(EagerSocketStream, "receive_nowait", noting)
    readers: list[trio.lowlevel.Task] = []
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consumer)
            for _ in range(2):
                await wait_all_tasks_blocked()  # So that it waits: the first time it is not alone.
                await ws.send("a")


async def test_r2_part_of_a_frame_that_has_come_counts_too(autojump_clock):
    async def endless_frame(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.frame(wire.BINARY, length=2**40))
        with suppress(trio.BrokenResourceError):
            for _ in range(1000):
                await peer.send(bytes(10_000))

    async with opened(endless_frame, max_message_size=None, close_timeout=1) as (ws, _):
        await wait_all_tasks_blocked()
        assert ws.statistics().bytes_received < 1_048_576 + 2 * 65_536


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "the system watches no more descriptors"),
        ValueError("no descriptor"),
        trio.BusyResourceError("the descriptor belongs to another socket now"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_failing_wait_for_the_socket_ends_the_connection(error, monkeypatch):
    async def fail(_: object) -> None:
        nonlocal calls
        calls += 1
        # Trio's other tasks never run again if the reader calls this on and on.
        assert calls < 100
        raise error

    calls = 0
    for module in (stream_reader, receiving):
        monkeypatch.setattr(module, "wait_readable", fail)
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        with trio.fail_after(10), pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("wrong", [None, "text"])
async def test_users_stream_that_returns_no_bytes_ends_the_connection(wrong, autojump_clock):
    class ReturnsAnything(Valve):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            data = await super().receive_some(max_bytes)
            return wrong if b"wrong" in data else data

    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=ReturnsAnything(stream)) as ws:
            await server.peer.send(wire.text("wrong"))
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert isinstance(caught.value.__cause__, TypeError)
