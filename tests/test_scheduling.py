"""Time slices, scheduler ticks, the stopwatch, and imports in a thread."""

from __future__ import annotations

import sys
import threading

import pytest
import trio
import wire
from recorder import Recorder, opened
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_wsclient import _scheduling
from trio_wsclient._scheduling import Stopwatch, TimeSlice, call_after_ticks, import_in_thread

BOUND = 10  # seconds for what takes a fraction of one

# Time slices

CALLS = {
    "receive": lambda ws: ws.receive(),
    "receive_batch": lambda ws: ws.receive_batch(1),
    "frames": lambda ws: ws.frames().__anext__(),
    "send": lambda ws: ws.send("a"),
    "send_text": lambda ws: ws.send_text("a"),
    "send_binary": lambda ws: ws.send_binary(b"a"),
    "send_many": lambda ws: ws.send_many(["a", "b"]),
    "pong": lambda ws: ws.pong(),
}


@pytest.fixture
def clock(monkeypatch):
    """Replace `perf_counter` by the seconds in a list of one."""
    now = [100.0]
    monkeypatch.setattr(_scheduling, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_call_is_schedule_point_when_time_slice_is_over(call, clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") * 2)
        await wait_all_tasks_blocked()
        await call(ws)
        clock[0] += 0.001
        with assert_checkpoints():
            await call(ws)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_call_is_cancellation_point_within_time_slice(call, clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") * 3)
        await wait_all_tasks_blocked()
        await ws.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(ws)
        assert scope.cancelled_caught
        await ws.send("last")
        assert await ws.receive_batch() == ["a", "a"]
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"last"]


class TickCounter:
    """A task that counts scheduler ticks."""

    ticks = 0

    async def __call__(self) -> None:
        while True:
            self.ticks += 1
            await trio.lowlevel.checkpoint()


async def test_receive_skips_schedule_point_within_time_slice(clock, nursery):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") * 2)
        await wait_all_tasks_blocked()
        assert await ws.receive() == "a"
        counter = TickCounter()
        nursery.start_soon(counter)
        assert await ws.receive() == "a"
        assert counter.ticks == 0


@pytest.mark.parametrize("name", ["checkpoint", "cancel_shielded_checkpoint"])
async def test_time_slice_is_renewed_by_each_schedule_point(name: str, clock, monkeypatch):
    time_slice = TimeSlice()
    scheduled_at = []

    async def be_schedule_point() -> None:
        scheduled_at.append(clock[0])

    monkeypatch.setattr(_scheduling, name, be_schedule_point)
    assert time_slice.is_over
    counts = []
    for seconds in (0, 0.0002, 0.0002, 0.0002, 0.0002):
        clock[0] += seconds
        await getattr(time_slice, name)()
        counts.append(len(scheduled_at))
    assert counts == [1, 1, 2, 2, 3]


# Scheduler ticks


async def test_function_is_called_after_ticks_not_seconds(autojump_clock):
    called_at = []
    started = trio.current_time()
    call_after_ticks(8, lambda: called_at.append(ticks), unless=lambda: False)
    for ticks in range(20):  # noqa: B007 the function sees it
        await trio.lowlevel.checkpoint()
    assert 7 <= called_at[0] <= 9
    assert trio.current_time() == started


def test_function_is_not_called_when_trio_ends_first():
    called = []

    async def main() -> None:
        call_after_ticks(8, lambda: called.append(1), unless=lambda: False)

    trio.run(main)
    assert called == []


async def test_function_is_not_called_when_unless_becomes_true():
    called = []
    ticks = 0
    call_after_ticks(8, lambda: called.append(1), unless=lambda: ticks > 3)
    for ticks in range(20):  # noqa: B007 the function sees it
        await trio.lowlevel.checkpoint()
    assert called == []


# The stopwatch


async def test_stopwatch_counts_only_while_it_runs(autojump_clock):
    stopwatch = Stopwatch()
    await trio.sleep(1)
    assert stopwatch.seconds == 0
    stopwatch.start()
    await trio.sleep(2)
    assert stopwatch.seconds == 2
    stopwatch.stop()
    await trio.sleep(4)
    assert stopwatch.seconds == 2
    stopwatch.start()
    await trio.sleep(8)
    stopwatch.stop()
    assert stopwatch.seconds == 10


async def test_stopwatch_knows_since_when_it_runs(autojump_clock):
    stopwatch = Stopwatch()
    assert stopwatch.since is None
    started = trio.current_time()
    stopwatch.start()
    await trio.sleep(1)
    assert stopwatch.since == started
    stopwatch.stop()
    assert stopwatch.since is None


async def test_stopwatch_ignores_second_stop(autojump_clock):
    stopwatch = Stopwatch()
    stopwatch.start()
    await trio.sleep(1)
    stopwatch.stop()
    stopwatch.stop()
    assert stopwatch.seconds == 1


# Imports


async def test_import_in_thread_uses_thread_only_once(monkeypatch):
    """To import h11 in the thread of Trio would hold the other tasks for 10 ms."""

    def import_it(name: str) -> None:
        threads.append(threading.get_ident())
        monkeypatch.setitem(sys.modules, name, threading)

    threads: list[int] = []
    monkeypatch.setattr(_scheduling, "import_module", import_it)
    for _ in range(2):
        await import_in_thread("of_this_test")
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_import_in_thread_waits_for_import_of_another_task(monkeypatch):
    """An import puts the module into `sys.modules` first, and then runs it."""

    def import_it(name: str) -> None:
        monkeypatch.setitem(sys.modules, name, threading)
        may_end.wait()

    async def import_and_note() -> None:
        await import_in_thread("of_this_test")
        ended.append(may_end.is_set())

    ended: list[bool] = []
    may_end = threading.Event()
    monkeypatch.setattr(_scheduling, "import_module", import_it)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(import_and_note)
        while "of_this_test" not in sys.modules:
            await wait_all_tasks_blocked(0.001)
        nursery.start_soon(import_and_note)
        await wait_all_tasks_blocked()
        may_end.set()
    assert ended == [True, True]


async def test_import_in_thread_forgets_failed_import():
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            await import_in_thread("of_this_test")


async def test_import_in_thread_needs_no_thread_of_the_default_limiter():
    limiter = trio.to_thread.current_default_thread_limiter()
    tokens = limiter.total_tokens

    async def import_it() -> None:
        with trio.fail_after(BOUND):
            await import_in_thread("of_this_test")

    def call_back() -> None:
        with pytest.raises(ModuleNotFoundError):
            trio.from_thread.run(import_it)

    limiter.total_tokens = 1
    try:
        await trio.to_thread.run_sync(call_back)
    finally:
        limiter.total_tokens = tokens
