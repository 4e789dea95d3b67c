"""The pauses that other tasks see while the client works, in seconds of CPU.

A ticking task asks for one scheduler pass after the other. It reads the CPU time of its thread at
each step. The time between two steps is a pause: in it, the client's tasks have kept the CPU for
themselves. A server in another thread or process does not count.

CPU time does not run while other processes have the CPU, but it is not free of noise: caches are
shared, and page faults count. So a situation is run several times, and its best run counts. The
noise differs from run to run, while a fault is in all of them. No margin is added to the promise.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

PROMISE = 0.005  # seconds of CPU between two steps of another task (E32, E45)
TRACED = 5  # times as slow is a Python that measures coverage, at the most
RUNS = 20


def allowed(pause: float) -> float:
    """Return the longest pause that is allowed here instead of one, in seconds."""
    return pause if sys.gettrace() is None else pause * TRACED


def promised() -> float:
    """Return the longest pause that the promise allows here, in seconds."""
    return allowed(PROMISE)


class Ticks:
    """The steps of the ticking task.

    Attributes:
        worst: The longest pause so far, in seconds of CPU.
        count: The number of steps so far.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self.count = 0

    async def tick(self) -> None:
        last = time.thread_time()
        while True:
            self.count += 1
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            self.worst = max(self.worst, now - last)
            last = now

    async def step(self) -> None:
        """Wait for the next step."""
        before = self.count
        while True:
            await trio.lowlevel.checkpoint()
            if self.count > before:
                return


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticks]:
    """Run a ticking task beside the block.

    The cycle collector rests meanwhile: its pauses depend on what the other tests have left.
    """
    ticks = Ticks()
    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticks.tick)
            await ticks.step()  # From here on a pause counts,
            yield ticks
            await ticks.step()  # also if it lasts until the end of the block.
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()


async def best_of_runs(run: Callable[[], Awaitable[Ticks]]) -> float:
    """Return the worst pause of the best run; one that keeps the promise is the last."""
    best = float("inf")
    for _ in range(RUNS):
        best = min(best, (await run()).worst)
        if best <= promised():
            break
    return best


def check_pause(pause: float) -> None:
    """Check that a pause keeps the promise."""
    assert pause <= promised(), f"other tasks waited for {pause * 1e3:.1f} ms of CPU"
