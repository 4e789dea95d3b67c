"""Messages, batches and writers: what goes out, what is refused before it has an effect."""

from __future__ import annotations

import pytest
import trio
import wire
from test_connection import BreaksOnWrite, Recorder, memory_server, opened
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)

Frame = wire.ClientFrame


@pytest.mark.parametrize(
    ("method", "message", "frame"),
    [
        ("send", "grüße", Frame(wire.TEXT, "grüße".encode())),
        ("send", "", Frame(wire.TEXT, b"")),
        ("send", b"\xff", Frame(wire.BINARY, b"\xff")),
        ("send", bytearray(b"\xff"), Frame(wire.BINARY, b"\xff")),
        ("send", memoryview(b"abcd")[::2], Frame(wire.BINARY, b"ac")),
        ("send_text", "text", Frame(wire.TEXT, b"text")),
        ("send_text", b"text", Frame(wire.TEXT, b"text")),
        ("send_text", memoryview(b"text"), Frame(wire.TEXT, b"text")),
        ("send_binary", "grüße", Frame(wire.BINARY, "grüße".encode())),
        ("send_binary", b"\xff", Frame(wire.BINARY, b"\xff")),
    ],
)
async def test_the_type_says_what_is_sent(method, message, frame):
    server = Recorder()
    async with opened(server) as (ws, _):
        with assert_checkpoints():
            await getattr(ws, method)(message)
        await wait_all_tasks_blocked()
        assert server.frames == [frame]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
async def test_messages_of_every_size_arrive(size):
    server = Recorder()
    async with opened(server) as (ws, _):
        await ws.send(bytes(size))
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.BINARY, bytes(size))]


@pytest.mark.parametrize(
    ("method", "message", "error"),
    [
        ("send", 1, TypeError),
        ("send", None, TypeError),
        ("send", "\ud800", ValueError),
        ("send_text", b"\xff", ValueError),
        ("send_text", ["x"], TypeError),
        ("send_binary", 1, TypeError),
        ("send_many", "abc", TypeError),
        ("send_many", b"abc", TypeError),
        ("send_many", ["good", 1], TypeError),
        ("send_many", ["good", "\ud800"], ValueError),
        ("ping", "text", TypeError),
        ("ping", bytes(126), ValueError),
        ("pong", "text", TypeError),
        ("pong", bytes(126), ValueError),
        ("aclose", 999, ValueError),
        ("aclose", "1000", TypeError),
    ],
)
async def test_what_cannot_be_sent_is_refused_without_effect(method, message, error):
    server = Recorder()
    async with opened(server) as (ws, _):
        with pytest.raises(error):
            await getattr(ws, method)(message)
        await ws.send("next")
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.TEXT, b"next")]


async def test_what_is_changed_while_send_waits_has_been_copied():
    server = Recorder()
    async with opened(server) as (ws, valve), trio.open_nursery() as nursery:
        valve.shut()
        data = bytearray(b"before")
        nursery.start_soon(ws.send, "first")
        await wait_all_tasks_blocked()
        nursery.start_soon(ws.send, data)
        await wait_all_tasks_blocked()
        data[:] = b"after!"
        valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.frames[1] == Frame(wire.BINARY, b"before")


async def test_send_many_is_one_write():
    server = Recorder()
    async with opened(server) as (ws, valve):
        writes = []
        send_all = valve.send_all

        async def counted(data: bytes) -> None:
            writes.append(len(data))
            await send_all(data)

        valve.send_all = counted
        await ws.send_many(["one", b"two", "three"])
        await ws.send_many([])
        await wait_all_tasks_blocked()
        assert writes == [9 + 9 + 11]
        assert server.frames == [
            Frame(wire.TEXT, b"one"),
            Frame(wire.BINARY, b"two"),
            Frame(wire.TEXT, b"three"),
        ]
        assert ws.statistics().messages_sent == 3


async def test_fragment_size_splits_what_is_longer():
    server = Recorder()
    async with opened(server, fragment_size=4) as (ws, _):
        await ws.send_many(["grüße", b"1234", ""])
        await wait_all_tasks_blocked()
        assert server.frames == [
            Frame(wire.TEXT, "grü".encode(), fin=False),
            Frame(wire.CONTINUATION, "ße".encode()),
            Frame(wire.BINARY, b"1234"),
            Frame(wire.TEXT, b""),
        ]


async def test_a_split_message_that_is_cancelled_between_its_frames_fails_the_connection(
    autojump_clock,
):
    server = Recorder()
    async with opened(server, fragment_size=10) as (ws, valve):
        async with trio.open_nursery() as nursery:
            valve.shut()
            with trio.move_on_after(1) as scope:
                nursery.start_soon(_open_after_one_write, valve, ws)
                await ws.send(bytes(30))
            assert scope.cancelled_caught
        with pytest.raises(ConnectionClosedError):
            await ws.send("after")
    assert not any(frame.fin for frame in server.frames if frame.opcode < 8)


async def _open_after_one_write(valve, ws) -> None:
    """Let one write through and shut the valve again before the next."""
    await wait_all_tasks_blocked()
    opened_once = valve.opened
    valve.shut()
    opened_once.set()


async def test_a_writer_sends_each_part_at_once_and_ends_with_fin():
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


async def test_a_writer_left_without_a_write_sends_an_empty_message():
    server = Recorder()
    async with opened(server) as (ws, _):
        async with ws.text_writer():
            pass
        async with ws.binary_writer():
            pass
        await wait_all_tasks_blocked()
        assert server.frames == [Frame(wire.TEXT, b""), Frame(wire.BINARY, b"")]


async def test_a_part_of_the_wrong_type_has_no_effect():
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


async def test_a_writer_outside_of_its_block_writes_nothing():
    server = Recorder()
    async with opened(server) as (ws, _):
        writer = ws.text_writer()
        with pytest.raises(RuntimeError, match="outside"):
            await writer.write("x")
        async with writer:
            pass
        with pytest.raises(RuntimeError, match="outside"):
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


async def test_a_writer_left_by_an_exception_never_finishes_its_message():
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


async def test_a_writer_left_by_an_exception_while_a_write_is_blocked_cuts_tcp(nursery):
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


async def test_a_writer_whose_last_frame_is_cancelled_fails_the_connection(autojump_clock):
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


async def test_a_writer_of_a_connection_that_is_over_says_so():
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


async def test_a_message_whose_writing_broke_off_is_not_finished_by_the_next(autojump_clock):
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


async def test_a_part_that_is_cancelled_before_its_turn_was_not_the_first_one(autojump_clock):
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


async def test_a_writer_is_for_one_message():
    server = Recorder()
    async with opened(server) as (ws, _):
        writer = ws.text_writer()
        async with writer:
            pass
        with pytest.raises(RuntimeError, match="for one message"):
            async with writer:
                pass


@pytest.mark.parametrize("closer", ["server", "own"])
async def test_who_waits_for_a_turn_is_told_of_the_end(closer):
    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:

        async def waits() -> None:
            with pytest.raises(ConnectionClosedOK):
                await ws.send("never")
            told.set()

        told = trio.Event()
        with pytest.raises(ConnectionClosedOK):
            async with ws.text_writer() as writer:
                await writer.write("half")
                nursery.start_soon(waits)
                await wait_all_tasks_blocked()
                if closer == "server":
                    await server.peer.send(wire.close())
                else:
                    await ws.aclose()
                await told.wait()


async def test_a_batch_that_need_not_be_split_is_one_write_also_with_fragment_size():
    server = Recorder()
    async with opened(server, fragment_size=10) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send_many, ["one", "two"])
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"1"))
            await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.TEXT, wire.TEXT, wire.PONG]


async def test_a_batch_that_is_cancelled_between_its_frames_fails_the_connection(autojump_clock):
    server = Recorder()
    async with opened(server, fragment_size=10) as (ws, valve):
        async with trio.open_nursery() as nursery:
            valve.shut()
            with trio.move_on_after(1) as scope:
                nursery.start_soon(_open_after_one_write, valve, ws)
                await ws.send_many(["one", bytes(30)])
            assert scope.cancelled_caught
        with pytest.raises(ConnectionClosedError):
            await ws.send("after")
    assert [frame.payload for frame in server.frames if frame.opcode < 8] == [b"one"]


async def test_who_waits_for_a_turn_does_not_read():
    server = Recorder()
    async with opened(server, max_buffered_bytes=1) as (ws, _):
        await server.peer.send(wire.text("full"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            async with ws.text_writer():
                nursery.start_soon(ws.send, "waits")
                await wait_all_tasks_blocked()
                assert not ws._connection.is_reading
