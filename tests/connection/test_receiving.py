"""Messages, batches and frames: each taken once, and nothing lost by a cancel."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    DataFrame,
    Opcode,
    WebSocketClient,
    _scheduling,
    open_websocket_client,
)

ONE, TWO, END = (
    DataFrame(Opcode.TEXT, b"one", fin=False),
    DataFrame(Opcode.CONTINUATION, b"two", fin=False),
    DataFrame(Opcode.CONTINUATION, b"", fin=True),
)
FRAGMENTS = wire.text("one", fin=False) + wire.continuation(b"two", fin=False) + wire.continuation()


async def test_text_is_str_and_binary_is_bytes():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("grüße") + wire.binary(b"\xff"))
        assert [await ws.receive(), await ws.receive()] == ["grüße", b"\xff"]


async def test_fragments_are_joined_also_inside_a_code_point():
    server = Recorder()
    async with opened(server) as (ws, _):
        for byte in "grüße".encode():
            first = byte == ord("g")
            await server.peer.send(wire.frame(1 if first else 0, bytes([byte]), fin=False))
        await server.peer.send(wire.continuation())
        assert await ws.receive() == "grüße"


async def test_decode_text_off_returns_bytes_even_if_not_utf8():
    server = Recorder()
    async with opened(server, decode_text=False) as (ws, _):
        await server.peer.send(wire.frame(wire.TEXT, b"\xff") + FRAGMENTS)
        assert [await ws.receive(), await ws.receive()] == [b"\xff", b"onetwo"]


async def test_cancelled_receive_loses_nothing(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await ws.receive()
            assert scope.cancelled_caught
        await server.peer.send(wire.text("a"))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.receive()
        assert await ws.receive() == "a"


async def test_many_consumers_get_each_message_once():
    server = Recorder()
    taken: list[str | bytes] = []

    async def consumer(ws: WebSocketClient) -> None:
        async for message in ws:
            taken.append(message)
            await trio.lowlevel.checkpoint()

    async with opened(server) as (ws, _), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(consumer, ws)
        for number in range(100):
            await server.peer.send(wire.text(f"{number}"))
        await server.peer.send(wire.close())
    assert sorted(taken, key=int) == [f"{number}" for number in range(100)]


async def test_taking_messages_lets_other_tasks_run(monkeypatch, autojump_clock):
    clock = itertools.count()
    monkeypatch.setattr(_scheduling, "perf_counter", lambda: next(clock) * 0.0001)
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:
        await server.peer.send(wire.text("x") * 100)
        await wait_all_tasks_blocked()
        nursery.start_soon(count)
        for _ in range(100):
            await ws.receive()
        nursery.cancel_scope.cancel()
    assert 20 < ticks < 80


async def test_receive_nowait_takes_what_is_here_or_says_why_not(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=5) as (ws, _):
        with pytest.raises(trio.WouldBlock):
            ws.receive_nowait()
        await server.peer.send(wire.text("a"))
        await wait_all_tasks_blocked()
        assert ws.receive_nowait() == "a"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):  # It is not known yet what the server will say.
                ws.receive_nowait()
            await server.peer.stream.aclose()
        with pytest.raises(ConnectionClosedOK):
            ws.receive_nowait()


async def test_receive_batch_takes_everything_here_up_to_its_limit():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") + FRAGMENTS + wire.binary(b"b") + wire.text("c"))
        await wait_all_tasks_blocked()
        assert await ws.receive_batch(2) == ["a", "onetwo"]
        assert await ws.receive_batch() == [b"b", "c"]
        await server.peer.send(wire.text("last") + wire.close(1011))
        await wait_all_tasks_blocked()
        assert await ws.receive_batch() == ["last"]
        with pytest.raises(ConnectionClosedError):
            await ws.receive_batch()


@pytest.mark.parametrize(
    ("max_messages", "error"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)],
)
async def test_receive_batch_refuses_what_is_no_number_of_messages(max_messages, error):
    async with opened(Recorder()) as (ws, _):
        with pytest.raises(error):
            await ws.receive_batch(max_messages)


async def test_cancelled_batch_takes_nothing(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        with trio.move_on_after(1):
            await ws.receive_batch()
        await server.peer.send(wire.text("a") * 2)
        await wait_all_tasks_blocked()
        assert await ws.receive_batch() == ["a", "a"]


async def test_frames_and_messages_may_be_taken_in_turn():
    server = Recorder()
    async with opened(server) as (ws, _):
        whole = wire.text("whole") + wire.binary(b"whole")
        await server.peer.send(FRAGMENTS + FRAGMENTS + whole + wire.close())
        frames = ws.frames()
        assert [await anext(frames) for _ in range(3)] == [ONE, TWO, END]
        assert await ws.receive() == "onetwo"
        assert [frame async for frame in frames] == [
            DataFrame(Opcode.TEXT, b"whole", fin=True),
            DataFrame(Opcode.BINARY, b"whole", fin=True),
        ]
        assert ws.statistics().messages_received == 4


async def test_frames_keep_bytes_of_text_that_is_not_decoded():
    server = Recorder()
    async with opened(server, decode_text=False) as (ws, _):
        await server.peer.send(wire.frame(wire.TEXT, b"\xff"))
        assert await anext(ws.frames()) == DataFrame(Opcode.TEXT, b"\xff", fin=True)


async def test_receive_in_the_middle_of_a_message_is_refused():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(FRAGMENTS)
        frames = ws.frames()
        assert await anext(frames) == ONE
        for call in (ws.receive, ws.receive_batch):
            with pytest.raises(RuntimeError, match="part of the message"):
                await call()
        with pytest.raises(RuntimeError, match="part of the message"):
            ws.receive_nowait()
        assert [await anext(frames), await anext(frames)] == [TWO, END]


async def test_unfinished_message_ends_with_the_connection():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("one", fin=False) + wire.close(1000))
        frames = ws.frames()
        assert await anext(frames) == ONE
        with pytest.raises(ConnectionClosedError, match="in the middle of a message"):
            await anext(frames)
        with pytest.raises(ConnectionClosedError, match="in the middle of a message"):
            await ws.receive()


async def test_second_reader_beside_frames_is_refused(nursery):
    server = Recorder()
    async with opened(server) as (ws, _):
        nursery.start_soon(anext, ws.frames())
        await wait_all_tasks_blocked()
        for call in (ws.receive, ws.receive_batch, ws.frames().__anext__):
            with pytest.raises(trio.BusyResourceError):
                await call()
        with pytest.raises(trio.BusyResourceError):
            ws.receive_nowait()
        await server.peer.send(wire.text("a"))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.text("b"))
        assert await ws.receive() == "b"


async def test_frames_beside_a_second_reader_are_refused(nursery):
    server = Recorder()
    async with opened(server) as (ws, _):
        nursery.start_soon(ws.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(ws.frames())
        await server.peer.send(wire.text("a"))
        await wait_all_tasks_blocked()


async def test_cancelled_frames_lose_nothing(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        with trio.move_on_after(1):
            await anext(ws.frames())
        await server.peer.send(FRAGMENTS)
        assert [await anext(ws.frames()) for _ in range(3)] == [ONE, TWO, END]


async def test_endless_frames_are_bounded_by_max_buffered_bytes():
    async def endless(peer) -> None:
        await peer.accept()
        await peer.send(wire.binary(bytes(1000), fin=False))
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.send(wire.continuation(bytes(1000), fin=False))

    async with memory_server(endless) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client(
                "ws://server/", stream=stream, max_message_size=None, max_buffered_bytes=10_000
            ) as ws:
                count = 0
                async for frame in ws.frames():
                    assert len(frame.payload) == 1000
                    assert ws.statistics().buffered_bytes < 10_000 + 2 * 65_536
                    count += 1
                    if count == 1000:
                        scope.cancel()


async def test_frames_and_messages_do_not_mix_before_the_first_wait():
    """The first call of each task is at its schedule point when the others begin.

    The order of the tasks is random, so there are many rounds.
    """

    async def take_frame(ws: WebSocketClient) -> None:
        with suppress(trio.BusyResourceError):
            taken.append((await anext(ws.frames())).payload)

    async def take_message(ws: WebSocketClient) -> None:
        with suppress(trio.BusyResourceError, RuntimeError):
            taken.append((await ws.receive()).encode())

    async def take_nowait(ws: WebSocketClient) -> None:
        with suppress(trio.BusyResourceError, RuntimeError, trio.WouldBlock):
            taken.append(ws.receive_nowait().encode())

    for _ in range(50):
        server, taken = Recorder(), []
        async with opened(server) as (ws, _), trio.open_nursery() as nursery:
            await server.peer.send(wire.text("whole"))
            await wait_all_tasks_blocked()
            ws._connection.time_slice.ends = 0.0  # Each call is a schedule point.
            for take in (take_frame, take_message, take_frame, take_nowait):
                nursery.start_soon(take, ws)
            await wait_all_tasks_blocked()
            for data in (FRAGMENTS, wire.text("end")):
                await server.peer.send(data)
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert b"wholeonetwoend".startswith(b"".join(taken))
