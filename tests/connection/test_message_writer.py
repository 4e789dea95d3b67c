"""Messages that are sent part by part: an incomplete message never looks complete."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, loopback_server, memory_server
from streams import BreaksOnWrite
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)

Frame = wire.ClientFrame


async def test_writer_sends_each_part_at_once_and_ends_with_fin():
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer() as writer:
            await writer.write("grü")
            await wait_all_tasks_blocked()
            assert server.frames == [Frame(wire.TEXT, "grü".encode(), fin=False)]
            await writer.write("ße")
        async with ws.binary_writer() as writer:
            await writer.write(bytearray(b"\xff"))
        await wait_all_tasks_blocked()
        assert server.frames[1:] == [
            Frame(wire.CONTINUATION, "ße".encode(), fin=False),
            Frame(wire.CONTINUATION, b""),
            Frame(wire.BINARY, b"\xff", fin=False),
            Frame(wire.CONTINUATION, b""),
        ]
        assert ws.statistics().messages_sent == 2


async def test_writer_left_without_a_write_sends_an_empty_message():
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer():
            pass
        async with ws.binary_writer():
            pass
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.TEXT, b""), Frame(wire.BINARY, b"")]


async def test_part_of_the_wrong_type_has_no_effect():
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer() as text:
            with pytest.raises(TypeError):
                await text.write(b"bytes")
        async with ws.binary_writer() as binary:
            with pytest.raises(TypeError):
                await binary.write("text")
            with pytest.raises(TypeError):
                await binary.write(1)
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.TEXT, b""), Frame(wire.BINARY, b"")]


async def test_writer_outside_of_its_block_writes_nothing():
    server = Recorder()
    async with opened(server) as (ws, _):
        writer = ws.text_writer()
        with pytest.raises(RuntimeError, match="only inside of"):
            await writer.write("x")
        async with writer:
            pass
        with pytest.raises(RuntimeError, match="only inside of"):
            await writer.write("x")
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.TEXT, b"")]


async def test_sending_inside_ones_own_writer_is_refused_but_pings_pass():
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer():
            with pytest.raises(RuntimeError, match="middle of a message"):
                await ws.send("x")
            with pytest.raises(RuntimeError, match="middle of a message"):
                async with ws.binary_writer():
                    pass
            await ws.pong(b"heartbeat")
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.PONG, b"heartbeat"), Frame(wire.TEXT, b"")]


async def test_writer_left_by_an_exception_never_finishes_its_message():
    server = Recorder()
    async with opened(server) as (ws, _):
        with pytest.raises(ZeroDivisionError):
            async with ws.text_writer() as writer:
                await writer.write("half")
                raise ZeroDivisionError
        with pytest.raises(ConnectionClosedError, match="1011") as caught:
            await ws.send("next")
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert isinstance(caught.value.__cause__.__cause__, ZeroDivisionError)
    assert server.frames[0] == Frame(wire.TEXT, b"half", fin=False)
    assert [frame.code for frame in server.frames[1:]] == [1011]


async def test_writer_left_by_exception_during_a_blocked_write_cuts_tcp(nursery):
    server = Recorder()
    async with opened(server) as (ws, valve):
        with pytest.raises(ZeroDivisionError):
            async with ws.text_writer() as writer:
                await writer.write("half")
                await wait_all_tasks_blocked()
                valve.shut()
                nursery.start_soon(_expect_closed, ws.pong)
                await wait_all_tasks_blocked()
                raise ZeroDivisionError
        await server.eof.wait()
    assert server.frames == [Frame(wire.TEXT, b"half", fin=False)]


async def _expect_closed(call) -> None:
    with pytest.raises(ConnectionClosedError):
        await call()


async def test_writer_whose_last_frame_is_cancelled_fails_the_connection(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        with trio.move_on_after(1) as scope:
            async with ws.text_writer() as writer:
                await writer.write("half")
                valve.shut()
        assert scope.cancelled_caught
        with pytest.raises(ConnectionClosedError):
            await ws.send("next")
    assert server.frames == [Frame(wire.TEXT, b"half", fin=False)]


async def test_writer_of_a_connection_that_is_over_says_so():
    server = Recorder()
    async with opened(server) as (ws, _):
        with pytest.raises(ConnectionClosedOK):
            async with ws.text_writer() as writer:
                await writer.write("half")
                await server.peer.send(wire.close())
                await ws.wait_closed()
                await writer.write("more")
        with pytest.raises(ConnectionClosedOK):
            async with ws.text_writer():
                pass


async def test_message_broken_off_is_not_finished_by_the_next(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client(
            "ws://server/", stream=broken, fragment_size=1, close_timeout=1
        ) as ws:
            with pytest.raises(ConnectionClosedError, match="broken pipe"):
                async with ws.text_writer() as writer:
                    await writer.write("a")
                    broken.broken = True
                    await writer.write("bc")


async def test_part_cancelled_before_its_turn_was_not_sent(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer() as writer:
            with trio.CancelScope() as scope:
                scope.cancel()
                await writer.write("never")
            await writer.write("first")
        await wait_all_tasks_blocked()
        assert server.frames == [
            Frame(wire.TEXT, b"first", fin=False),
            Frame(wire.CONTINUATION, b""),
        ]


async def test_writer_is_for_one_message():
    server = Recorder()
    async with opened(server) as (ws, _):
        writer = ws.text_writer()
        async with writer:
            pass
        with pytest.raises(RuntimeError, match="for one message"):
            async with writer:
                pass


async def test_two_tasks_do_not_write_parts_of_one_message_at_once():
    server = Recorder()
    async with opened(server) as (ws, valve):
        async with ws.text_writer() as writer:
            valve.shut()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, "first")
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await writer.write("second")
                valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.TEXT, wire.CONTINUATION]


async def test_writer_left_while_another_task_writes_breaks_off(nursery):
    server = Recorder()
    async with opened(server) as (ws, valve):
        with pytest.raises(trio.BusyResourceError):
            async with ws.text_writer() as writer:
                valve.shut()
                nursery.start_soon(_expect_closed, partial(writer.write, "first"))
                await wait_all_tasks_blocked()
        with pytest.raises(ConnectionClosedError):
            await ws.send("next")


@pytest.mark.usefixtures("_long_rest")
async def test_writer_left_by_an_exception_wakes_the_active_receiver_at_once():
    """The server does not answer our Close for a long time."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await peer.send(wire.text("go"))
        await told.wait()
        await peer.stream.aclose()

    async def receive() -> None:
        with pytest.raises(ConnectionClosedError):
            await ws.receive()

    told = trio.Event()
    with trio.fail_after(30):
        async with (
            loopback_server(script) as url,
            open_websocket_client(url, close_timeout=600) as ws,
        ):
            await wait_all_tasks_blocked()  # Until the background reader reads.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.receive)
                await wait_all_tasks_blocked(0.01)
                await ws.send("ready")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(receive)
                await wait_all_tasks_blocked(0.01)
                assert ws._connection.shared_reader.is_led_by_receiver
                with pytest.raises(ZeroDivisionError):
                    async with ws.text_writer() as writer:
                        await writer.write("half")
                        raise ZeroDivisionError
            told.set()


async def test_exception_that_leaves_a_writer_keeps_its_traceback():
    """The connection drops its reference to the exception, and adds no frame to it (X1)."""

    def fail() -> None:
        raise ZeroDivisionError

    async with memory_server(Recorder()) as stream:
        with pytest.raises(ZeroDivisionError) as caught:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                async with ws.text_writer() as writer:
                    await writer.write("half")
                    fail()
    assert caught.traceback[-1].name == "fail"
    assert {str(entry.path) for entry in caught.traceback} == {__file__}
