"""Every call looks for a cancel; it makes a pass of the scheduler if none was made for a while."""

from __future__ import annotations

import pytest
import trio
import wire
from recorder import Recorder, opened
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_wsclient import _turn
from trio_wsclient._turn import Turn

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
    """Stand in for `perf_counter`: seconds, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(_turn, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_after_a_while_every_call_makes_a_pass(call, clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") * 2)
        await wait_all_tasks_blocked()
        await call(ws)
        clock[0] += 0.001
        with assert_checkpoints():
            await call(ws)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_cancelled_task_is_told_so_by_every_call(call, clock):
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


class Passes:
    """Counts the passes of the scheduler."""

    count = 0

    async def __call__(self) -> None:
        while True:
            self.count += 1
            await trio.lowlevel.checkpoint()


async def test_until_then_a_message_that_is_here_costs_no_pass(clock, nursery):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") * 2)
        await wait_all_tasks_blocked()
        assert await ws.receive() == "a"
        passes = Passes()
        nursery.start_soon(passes)
        assert await ws.receive() == "a"
        assert passes.count == 0


@pytest.mark.parametrize("name", ["checkpoint", "cancel_shielded_checkpoint"])
async def test_a_turn_ends_and_is_renewed_by_a_pass(name: str, clock, monkeypatch):
    turn = Turn()
    passes = []

    async def make_a_pass() -> None:
        passes.append(clock[0])

    monkeypatch.setattr(_turn, name, make_a_pass)
    assert turn.is_over
    counts = []
    for seconds in (0, 0.0002, 0.0002, 0.0002, 0.0002):
        clock[0] += seconds
        await getattr(turn, name)()
        counts.append(len(passes))
    assert counts == [1, 1, 2, 2, 3]
