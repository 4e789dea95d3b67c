"""Messages and batches: what goes out, and what is refused before it has an effect."""

from __future__ import annotations

import random

import pytest
import trio
import wire
from recorder import Recorder, opened
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
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
async def test_type_says_what_is_sent(method, message, frame):
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


async def test_close_ends_a_send_that_is_compressing():
    async def script(peer):
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await begun.wait()
        await peer.send(wire.close(1001))
        frames.append(await peer.next_frame())
        await peer.stream.aclose()

    begun, frames = trio.Event(), []
    message = random.Random(1).randbytes(4 * 2**20)  # takes hundreds of time slices
    async with opened(script, compression="deflate", max_message_size=None) as (ws, _):
        await wait_all_tasks_blocked()
        begun.set()
        with pytest.raises(ConnectionClosedOK):
            await ws.send(message)
        await ws.wait_closed()
    assert [frame.opcode for frame in frames] == [wire.CLOSE]


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


async def test_split_message_cancelled_between_frames_fails_the_connection(
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


async def test_w2_message_cancelled_between_its_frames_fails_the_connection(autojump_clock):
    """No frame is torn: the second one waits for the stream, where a pong is being written."""
    server = Recorder()
    with trio.fail_after(60):
        async with opened(server, fragment_size=10) as (ws, valve):
            valve.shut()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ws.send, bytes(30))
                    await wait_all_tasks_blocked()
                    await server.peer.send(wire.ping(b"1"))
                    await _open_after_one_write(valve, ws)
                    await wait_all_tasks_blocked()
                    assert valve.writing == 1
                    scope.cancel()
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send("after")
        assert str(caught.value.__cause__) == "a message was left unfinished"
    assert server.frames == [Frame(wire.BINARY, bytes(10), fin=False)]


@pytest.mark.parametrize("closer", ["server", "own"])
async def test_waiting_for_a_turn_ends_with_the_connection(closer):
    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:

        async def waits() -> None:
            with pytest.raises(ConnectionClosedOK):
                await ws.send("never")
            ended.set()

        ended = trio.Event()
        with pytest.raises(ConnectionClosedOK):
            async with ws.text_writer() as writer:
                await writer.write("half")
                nursery.start_soon(waits)
                await wait_all_tasks_blocked()
                if closer == "server":
                    await server.peer.send(wire.close())
                else:
                    await ws.aclose()
                await ended.wait()


async def test_batch_of_short_messages_is_one_write_despite_fragment_size():
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


async def test_batch_that_is_cancelled_between_its_frames_fails_the_connection(autojump_clock):
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


async def test_task_waiting_for_a_turn_does_not_read():
    server = Recorder()
    async with opened(server, max_buffered_bytes=1) as (ws, _):
        await server.peer.send(wire.text("full"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            async with ws.text_writer():
                nursery.start_soon(ws.send, "waits")
                await wait_all_tasks_blocked()
                assert not ws._connection.shared_reader.is_active
