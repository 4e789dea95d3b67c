"""The lead goes from waiter to waiter: L1, L2, and one reader at a time."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._connection.shared_reader import Leadership


class Source:
    """Something to read from: `step` takes one item a time, and items are put in by the test."""

    def __init__(self) -> None:
        self.readers = 0
        self.most_readers = 0
        self.steps = 0
        self.items: list[object] = []
        self._send, self._receive = trio.open_memory_channel[object](math.inf)
        self.leadership = Leadership(self.step)

    async def step(self) -> None:
        self.readers += 1
        self.most_readers = max(self.most_readers, self.readers)
        try:
            item = await self._receive.receive()
        finally:
            self.readers -= 1
        self.steps += 1
        self.items.append(item)

    def put(self, item: object) -> None:
        self._send.send_nowait(item)

    async def take(self) -> object:
        await self.leadership.wait_until(lambda: bool(self.items))
        return self.items.pop(0)


async def test_task_that_need_not_wait_does_not_read():
    source = Source()
    await source.leadership.wait_until(lambda: True)
    assert source.steps == 0


async def test_the_only_waiter_reads_for_itself(nursery):
    source = Source()
    source.put("a")
    assert await source.take() == "a"


async def test_one_of_many_waiters_reads_at_a_time(nursery):
    source = Source()
    taken = []

    async def consumer() -> None:
        taken.append(await source.take())

    for _ in range(5):
        nursery.start_soon(consumer)
    await wait_all_tasks_blocked()
    assert source.readers == 1
    for item in range(5):
        source.put(item)
        await wait_all_tasks_blocked()
    assert sorted(taken) == [0, 1, 2, 3, 4]
    assert source.most_readers == 1


async def test_a_leader_that_has_what_it_wanted_passes_the_lead_on(nursery):
    source = Source()
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    source.put("a")
    await wait_all_tasks_blocked()
    assert source.readers == 1


async def test_a_cancelled_leader_passes_the_lead_on_and_loses_nothing(nursery):
    source = Source()
    with trio.CancelScope() as scope:
        nursery.start_soon(partial(_cancel_when_blocked, scope))
        await source.take()
    assert scope.cancelled_caught
    source.put("a")
    assert await source.take() == "a"


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize("cancelled", range(3))
async def test_whichever_waiter_is_cancelled_the_others_are_served(cancelled):
    source = Source()
    taken = []
    scopes = [trio.CancelScope() for _ in range(3)]

    async def consumer(scope: trio.CancelScope) -> None:
        with scope:
            taken.append(await source.take())

    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(consumer, scope)
            await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        source.put("a")
        source.put("b")
    assert taken == ["a", "b"]


async def test_a_leader_that_is_cancelled_while_another_is_being_woken_loses_nothing(nursery):
    source = Source()
    taken = []

    async def consumer(scope: trio.CancelScope) -> None:
        with scope:
            taken.append(await source.take())

    leader, follower, third = (trio.CancelScope() for _ in range(3))
    for scope in (leader, follower, third):
        nursery.start_soon(consumer, scope)
        await wait_all_tasks_blocked()
    leader.cancel()
    await trio.lowlevel.checkpoint()
    follower.cancel()
    await wait_all_tasks_blocked()
    assert source.readers == 1
    source.put("a")
    await wait_all_tasks_blocked()
    assert taken == ["a"]


async def test_woken_task_passes_on_an_unneeded_lead(nursery):
    source = Source()
    no_need = False

    async def leaves(scope: trio.CancelScope) -> None:
        nonlocal no_need
        with scope:
            try:
                await source.leadership.wait_until(lambda: False)
            finally:
                no_need = True  # after the next one has been woken to lead, before it runs

    scope = trio.CancelScope()
    nursery.start_soon(leaves, scope)
    await wait_all_tasks_blocked()
    nursery.start_soon(source.leadership.wait_until, lambda: no_need)
    await wait_all_tasks_blocked()
    nursery.start_soon(source.take)
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    assert source.readers == 1
    source.put("a")


async def test_a_waiter_that_may_not_read_follows_until_it_is_woken(nursery):
    source = Source()
    done = trio.Event()
    ready = False

    async def passive() -> None:
        await source.leadership.wait_until(lambda: ready, may_read=lambda: False)
        done.set()

    nursery.start_soon(passive)
    await wait_all_tasks_blocked()
    assert source.readers == 0
    ready = True
    source.leadership.changed()
    with trio.fail_after(5):
        await done.wait()


async def test_a_waiter_that_may_read_again_is_woken_to_do_so(nursery):
    source = Source()
    allowed = False
    nursery.start_soon(
        partial(source.leadership.wait_until, lambda: bool(source.items), lambda: allowed)
    )
    await wait_all_tasks_blocked()
    assert not source.leadership.reading
    allowed = True
    source.leadership.changed()
    await wait_all_tasks_blocked()
    assert source.leadership.reading


async def test_a_leader_that_may_read_no_more_steps_down(nursery):
    source = Source()
    limit = 2
    nursery.start_soon(
        partial(source.leadership.wait_until, lambda: False, lambda: source.steps < limit)
    )
    for item in range(5):
        source.put(item)
    await wait_all_tasks_blocked()
    assert source.steps == 2
    assert not source.leadership.reading


async def test_a_leader_that_may_read_no_more_passes_the_lead_to_one_that_may(nursery):
    source = Source()
    nursery.start_soon(
        partial(source.leadership.wait_until, lambda: False, lambda: source.steps < 2)
    )
    await wait_all_tasks_blocked()
    nursery.start_soon(source.leadership.wait_until, lambda: source.steps == 4)
    await wait_all_tasks_blocked()
    for item in range(4):
        source.put(item)
    await wait_all_tasks_blocked()
    assert source.steps == 4
    nursery.cancel_scope.cancel()


async def test_a_step_that_fails_is_repeated_by_nobody(nursery):
    calls = 0

    async def step() -> None:
        nonlocal calls
        calls += 1
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    leadership = Leadership(step)
    ready = False
    with pytest.raises(ZeroDivisionError):
        await leadership.wait_until(lambda: False)
    nursery.start_soon(leadership.wait_until, lambda: ready)
    await wait_all_tasks_blocked()
    assert calls == 1
    ready = True
    leadership.changed()


async def test_idle_seconds_are_those_in_which_nobody_reads(nursery, autojump_clock):
    source = Source()
    await trio.sleep(3)
    assert source.leadership.idle_seconds == 0  # Asked for first: so it begins to count.
    await trio.sleep(3)
    assert source.leadership.idle_seconds == 3
    nursery.start_soon(source.take)
    await trio.sleep(5)
    assert source.leadership.idle_seconds == 3
    source.put("a")
    await trio.sleep(2)
    assert source.leadership.idle_seconds == 5
