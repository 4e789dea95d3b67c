"""The slot: one task at a time has it, first come, first served."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._connection.slot import Slot


class Line:
    """Tasks that want a slot, and note when they got it."""

    def __init__(self) -> None:
        self.slot = Slot()
        self.got: list[tuple[int, bool]] = []  # number of the task, whether it has the slot
        self.scopes = [trio.CancelScope() for _ in range(4)]

    async def acquire(self, number: int) -> None:
        with self.scopes[number]:
            self.got.append((number, await self.slot.acquire()))

    async def start(self, nursery: trio.Nursery, count: int = 3) -> None:
        for number in range(count):
            nursery.start_soon(self.acquire, number)
            await wait_all_tasks_blocked()


@pytest.fixture
def line():
    return Line()


async def test_free_slot_is_taken_without_a_checkpoint(line):
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await line.slot.acquire()
        assert line.slot.owner is trio.lowlevel.current_task()
    assert not scope.cancelled_caught
    line.slot.release()
    assert line.slot.owner is None


async def test_slot_is_passed_first_come_first_served(line, nursery):
    await line.slot.acquire()
    await line.start(nursery)
    assert line.slot.tasks_waiting == 3
    for count in range(1, 4):
        line.slot.release()
        await wait_all_tasks_blocked()
        assert line.got == [(0, True), (1, True), (2, True)][:count]
        assert line.slot.tasks_waiting == 3 - count


@pytest.mark.parametrize("cancelled", range(3))
async def test_cancelled_task_leaves_the_line(line, nursery, cancelled):
    await line.slot.acquire()
    await line.start(nursery)
    line.scopes[cancelled].cancel()
    await wait_all_tasks_blocked()
    assert line.slot.tasks_waiting == 2
    for _ in range(2):
        line.slot.release()
        await wait_all_tasks_blocked()
    assert [number for number, _ in line.got] == [n for n in range(3) if n != cancelled]


async def test_cancel_after_slot_is_passed_comes_too_late(line, nursery):
    """So the task that has the slot always learns so, and can release it."""
    await line.slot.acquire()
    await line.start(nursery, 1)
    line.slot.release()
    line.scopes[0].cancel()
    await wait_all_tasks_blocked()
    assert line.got == [(0, True)]


async def test_slot_is_passed_before_its_owner_waits(line, nursery):
    """A task that has lined up may do something else before it waits."""
    await line.slot.acquire()

    async def line_up_early() -> None:
        line.slot.line_up()
        await may_wait.wait()
        assert line.slot.owner is trio.lowlevel.current_task()
        assert await line.slot.wait()
        line.slot.release()

    may_wait = trio.Event()
    nursery.start_soon(line_up_early)
    await wait_all_tasks_blocked()
    await line.start(nursery, 1)
    line.slot.release()
    await wait_all_tasks_blocked()
    assert line.got == []
    may_wait.set()
    await wait_all_tasks_blocked()
    assert line.got == [(0, True)]


@pytest.mark.parametrize("has_slot", [True, False])
async def test_leaving_gives_up_slot_or_place(line, nursery, has_slot):
    async def leave() -> None:
        line.slot.line_up()
        await may_leave.wait()
        line.slot.leave()

    may_leave = trio.Event()
    await line.slot.acquire()
    nursery.start_soon(leave)
    await wait_all_tasks_blocked()
    await line.start(nursery, 1)
    if has_slot:
        line.slot.release()
    may_leave.set()
    await wait_all_tasks_blocked()
    if not has_slot:
        line.slot.release()
    await wait_all_tasks_blocked()
    assert line.got == [(0, True)]


async def test_task_that_is_not_in_line_may_leave(line, nursery):
    await line.start(nursery, 2)
    line.slot.leave()
    assert line.slot.owner is not None
    assert line.slot.tasks_waiting == 1
    line.slot.release()


async def test_dismiss_sends_all_away_without_slot(line, nursery):
    async def line_up_early() -> None:
        line.slot.line_up()
        await may_wait.wait()
        line.got.append((9, await line.slot.wait()))

    may_wait = trio.Event()
    await line.slot.acquire()
    await line.start(nursery)
    nursery.start_soon(line_up_early)
    await wait_all_tasks_blocked()
    line.slot.dismiss()
    may_wait.set()
    await wait_all_tasks_blocked()
    assert sorted(line.got) == [(0, False), (1, False), (2, False), (9, False)]
    assert line.slot.owner is trio.lowlevel.current_task()
    line.slot.release()
    assert line.slot.owner is None
