"""The steward leads while nobody waits, and yields to a task that does (L3)."""

from __future__ import annotations

import random

import pytest
import trio
from test_shared_reader import Source
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._connection.shared_reader import always, never


class Stewarded(Source):
    """A source with a steward, whose tasks are counted as they read."""

    def __init__(self) -> None:
        super().__init__()
        self.over = False
        self.may_read = True
        self.steps_of_steward = 0
        self.steward: trio.lowlevel.Task | None = None

    async def step(self) -> None:
        is_steward = trio.lowlevel.current_task() is self.steward
        await super().step()
        self.steps_of_steward += is_steward

    async def stand_in(self) -> None:
        self.steward = trio.lowlevel.current_task()
        await self.leadership.stand_in(lambda: self.over, lambda: self.may_read)


@pytest.fixture
async def source(nursery):
    source = Stewarded()
    nursery.start_soon(source.stand_in)
    await wait_all_tasks_blocked()
    return source


async def test_the_steward_reads_at_once_if_nobody_has_waited_yet(source):
    source.put("a")
    await wait_all_tasks_blocked()
    assert source.items == ["a"]


async def test_it_yields_the_lead_to_a_waiter_after_its_step(source, nursery):
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    source.put("a")  # The steward's step takes it, for the waiter.
    await wait_all_tasks_blocked()
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    source.put("b")
    await wait_all_tasks_blocked()
    assert source.items == []
    assert source.steps_of_steward == 1
    assert source.most_readers == 1


async def test_it_lets_the_next_waiter_come_before_it_reads_again(source, autojump_clock):
    source.put("a")
    assert await source.take() == "a"
    source.put("b")
    await trio.sleep(0.9)
    assert source.items == []
    await trio.sleep(0.2)
    assert source.items == ["b"]


async def test_waiters_in_a_row_read_for_themselves_but_once_a_second(source, autojump_clock):
    source.put(0)
    await source.take()
    for number in range(1, 50):
        source.put(number)
        assert await source.take() == number
        await trio.sleep(0.3)
    assert source.steps_of_steward <= trio.current_time()
    assert source.most_readers == 1


async def test_there_is_no_timer_while_somebody_waits(source, nursery, autojump_clock):
    source.put("a")
    await source.take()
    nursery.start_soon(source.take)
    await trio.sleep(2)  # The timer that was running finds somebody waiting.
    statistics = trio.lowlevel.current_statistics()
    assert statistics.seconds_to_next_deadline == float("inf")


async def test_urged_it_reads_at_once(source, autojump_clock):
    source.put("a")
    await source.take()
    source.put("b")
    source.leadership.urge()
    await wait_all_tasks_blocked()
    assert source.items == ["b"]
    source.put("c")  # and goes on
    await wait_all_tasks_blocked()
    assert source.items == ["b", "c"]
    assert trio.current_time() == 0


async def test_urging_does_not_disturb_a_reading_task(source, nursery):
    source.put("a")
    await source.take()
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    source.leadership.urge()
    await wait_all_tasks_blocked()
    source.put("b")
    await wait_all_tasks_blocked()
    assert source.most_readers == 1


async def test_it_waits_until_it_may_read(source, autojump_clock):
    source.may_read = False
    source.put("a")
    await wait_all_tasks_blocked()
    source.put("b")  # It was in the middle of a step.
    await trio.sleep(5)
    assert source.items == ["a"]
    source.may_read = True
    source.leadership.changed()
    await wait_all_tasks_blocked()
    assert source.items == ["a", "b"]


async def test_who_may_not_read_is_served_by_it(source, nursery, autojump_clock):
    source.put("a")
    await source.take()
    source.put("b")
    with trio.fail_after(1.5):
        await source.leadership.wait_until(lambda: bool(source.items), never)
    assert source.steps_of_steward == 2


@pytest.mark.parametrize("state", ["reading", "patient", "following"])
async def test_cancelled_it_leaves_the_lead_to_others(state: str, autojump_clock):
    source = Stewarded()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def stand_in() -> None:
            with scope:
                await source.stand_in()

        nursery.start_soon(stand_in)
        await wait_all_tasks_blocked()
        if state != "reading":
            source.put("a")
            await source.take()
        if state == "following":
            nursery.start_soon(source.take)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        source.put("b")
        if state != "following":
            assert await source.take() == "b"
        await wait_all_tasks_blocked()
        assert source.items == []


async def test_it_ends_when_its_condition_is_true(autojump_clock):
    source = Stewarded()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.stand_in)
        await wait_all_tasks_blocked()
        source.put("a")
        await source.take()
        source.over = True
        source.leadership.urge()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
    assert trio.current_time() == 0


@pytest.mark.parametrize("seed", range(20))
async def test_however_consumers_come_and_are_cancelled_nothing_is_lost(seed, autojump_clock):
    chance = random.Random(seed)
    source = Stewarded()
    taken: list[object] = []
    all_taken = trio.Event()

    async def consumer() -> None:
        while len(taken) < 200:
            with trio.move_on_after(chance.choice([0, 0.01, 2])):
                await source.leadership.wait_until(lambda: bool(source.items), always)
                taken.append(source.items.pop(0))
            await trio.sleep(chance.choice([0, 0, 0.01, 1.5]))
        all_taken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.stand_in)
        for _ in range(3):
            nursery.start_soon(consumer)
        with trio.fail_after(10_000):
            for number in range(200):
                source.put(number)
                if chance.random() < 0.3:
                    await trio.sleep(chance.choice([0, 0.01, 1.2]))
            await all_taken.wait()
        nursery.cancel_scope.cancel()
    assert taken == list(range(200))
    assert source.most_readers == 1
