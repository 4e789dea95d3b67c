"""E27: the connection is closed while another task's message is under way."""

from __future__ import annotations

import pytest
import trio
import wire
from recorder import Recorder, opened
from streams import Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import ConnectionClosed, ConnectionClosedOK, WebSocketClient

TIMEOUT = 10  # seconds of `close_timeout`, on a clock that jumps
DATA = bytes(100)


class Sender:
    """A task that sends a message, and what came of it."""

    def __init__(self) -> None:
        self.error: ConnectionClosed | None = None
        self.is_done = trio.Event()

    async def run(self, ws: WebSocketClient) -> None:
        try:
            await ws.send(DATA)
        except ConnectionClosed as exc:
            self.error = exc
        self.is_done.set()

    async def block(self, ws: WebSocketClient, valve: Valve, nursery: trio.Nursery) -> None:
        """Have it send while the valve is shut."""
        valve.shut()
        nursery.start_soon(self.run, ws)
        await wait_all_tasks_blocked()


async def open_later(valve, seconds: float) -> None:
    await trio.sleep(seconds)
    valve.opened.set()


def data_of(server: Recorder) -> bytes:
    return b"".join(frame.payload for frame in server.frames if frame.opcode < wire.CLOSE)


@pytest.mark.parametrize("fragment_size", [None, 30])
async def test_e27_message_under_way_is_finished_before_our_close(fragment_size, autojump_clock):
    server, sender = Recorder(), Sender()
    async with (
        opened(server, fragment_size=fragment_size, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        nursery.start_soon(open_later, valve, TIMEOUT / 4)
        await ws.aclose(1000)
    assert sender.error is None
    assert data_of(server) == DATA
    assert server.frames[-1].code == 1000
    assert ws.outcome.sent.code == 1000


@pytest.mark.parametrize("fragment_size", [None, 30])
async def test_e27_message_that_does_not_end_makes_it_1011(fragment_size, autojump_clock):
    """How the connection ended is the same for all; only the sender learns of its message."""
    server, sender = Recorder(), Sender()
    async with (
        opened(server, fragment_size=fragment_size, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        began = trio.current_time()
        await ws.aclose(1000)
        assert trio.current_time() - began == pytest.approx(TIMEOUT)
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.receive()
    for error in (sender.error, caught.value, ws.outcome):
        assert isinstance(error, ConnectionClosedOK)
        assert error.sent.code == 1011
    assert isinstance(sender.error.__cause__, RuntimeError)
    assert str(sender.error.__cause__) == "a message was left unfinished"


@pytest.mark.parametrize("in_time", [True, False])
async def test_e27_open_writer_counts_as_a_message_under_way(in_time, autojump_clock):
    async def write() -> None:
        try:
            async with ws.text_writer() as writer:
                await writer.write("one")
                began.set()
                await trio.sleep(TIMEOUT / 4 if in_time else TIMEOUT * 3 / 4)
                await writer.write("two")
        except ConnectionClosedOK as exc:
            errors.append(exc)

    server, began, errors = Recorder(), trio.Event(), []
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, _),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(write)
        await began.wait()
        start = trio.current_time()
        await ws.aclose(1000)
        seconds = trio.current_time() - start
    assert seconds == pytest.approx(TIMEOUT / 4 if in_time else TIMEOUT / 2)
    assert server.frames[-1].code == (1000 if in_time else 1011)
    if in_time:
        assert data_of(server) == b"onetwo"
        assert not errors
    else:
        assert [str(error.__cause__) for error in errors] == ["a message was left unfinished"]


async def test_e27_closing_inside_the_own_writer_is_1011_at_once(autojump_clock):
    server = Recorder()
    async with opened(server, close_timeout=TIMEOUT) as (ws, _):
        start = trio.current_time()
        with pytest.raises(ConnectionClosedOK) as caught:
            async with ws.text_writer() as writer:
                await writer.write("half")
                await ws.aclose(1000)
        assert trio.current_time() == start
    assert str(caught.value.__cause__) == "a message was left unfinished"
    assert server.frames[-1].code == 1011


async def test_e27_messages_are_refused_once_closing_has_begun(autojump_clock):
    server, sender, late = Recorder(), Sender(), Sender()
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        nursery.start_soon(late.run, ws)
        await wait_all_tasks_blocked()
        valve.opened.set()
    assert sender.error is None
    assert isinstance(late.error, ConnectionClosedOK)
    assert data_of(server) == DATA


async def test_e27_message_is_refused_when_its_turn_comes_too_late(autojump_clock):
    """The task that had its turn before closes at once."""

    async def send_and_close() -> None:
        await ws.send("first")
        await ws.aclose()

    server, sender = Recorder(), Sender()
    async with opened(server, close_timeout=TIMEOUT) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_close)
            await wait_all_tasks_blocked()
            nursery.start_soon(sender.run, ws)
            await wait_all_tasks_blocked()
            valve.opened.set()
    assert isinstance(sender.error, ConnectionClosedOK)
    assert data_of(server) == b"first"
    assert server.frames[-1].code == 1000


async def test_e27_message_without_a_frame_was_not_left_unfinished(autojump_clock):
    """The message waits for the stream, where a pong is blocked."""
    server, sender = Recorder(), Sender()
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        valve.shut()
        await server.peer.send(wire.ping())
        await wait_all_tasks_blocked()
        await sender.block(ws, valve, nursery)
        await ws.aclose(1000)
    assert isinstance(sender.error, ConnectionClosedOK)
    assert not isinstance(sender.error.__cause__, RuntimeError)
    assert data_of(server) == b""


async def test_e27_messages_of_the_server_can_be_taken_meanwhile(autojump_clock):
    server, sender = Recorder(), Sender()
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        await server.peer.send(wire.text("late"))
        await wait_all_tasks_blocked()
        valve.opened.set()
        assert await ws.receive() == "late"


async def test_e27_cancelled_sender_makes_it_1011_at_once(autojump_clock):
    """It is cancelled between two fragments, while another task closes."""
    server = Recorder()
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, _),
        trio.open_nursery() as nursery,
    ):

        async def write() -> None:
            with trio.move_on_after(1):
                async with ws.text_writer() as writer:
                    await writer.write("half")
                    await trio.sleep_forever()

        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await ws.aclose(1000)
        assert trio.current_time() - start == pytest.approx(1)
    assert server.frames[-1].code == 1011


async def test_e27_queue_stays_bounded_before_our_close(autojump_clock):
    """The server floods while a message of ours is being written."""
    server, sender = Recorder(), Sender()
    async with (
        opened(server, close_timeout=TIMEOUT, max_buffered_bytes=1_000) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        await server.peer.send(wire.binary(bytes(900)) * 1_000)
        await wait_all_tasks_blocked()
        assert ws.statistics().most_buffered_bytes < 200_000
        valve.opened.set()


@pytest.mark.parametrize("receivers", [1, 2])
async def test_e27_waiting_receiver_takes_messages_before_our_close(receivers, autojump_clock):
    """The receiver waits when another task begins to close."""

    async def receive() -> None:
        taken.extend([message async for message in ws])

    server, sender, taken = Recorder(), Sender(), []
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        valve.shut()
        nursery.start_soon(sender.run, ws)
        for _ in range(receivers):
            nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        await server.peer.send(wire.text("late") + wire.text("later"))
        await wait_all_tasks_blocked()
        valve.opened.set()
    assert sorted(taken) == ["late", "later"]
    assert ws.statistics().buffered_messages == 0


class Steps(trio.abc.Instrument):
    """Counts how often tasks run."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_n1_many_closers_wait_at_linear_cost(autojump_clock):
    """They call `aclose` one after the other while a message is being written."""
    closers = 1_200
    server, sender, steps = Recorder(), Sender(), Steps()
    async with (
        opened(server, close_timeout=TIMEOUT) as (ws, valve),
        trio.open_nursery() as nursery,
    ):
        await sender.block(ws, valve, nursery)
        trio.lowlevel.add_instrument(steps)
        for _ in range(closers):
            nursery.start_soon(ws.aclose)
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        valve.opened.set()
    assert steps.count < 30 * closers
    assert data_of(server) == DATA
