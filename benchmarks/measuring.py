"""How a workload is timed: messages a second, CPU a message, percentiles."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

WARM_UP = 0.2  # seconds
DURATION = 0.8  # seconds
_BURST = 0.005  # seconds that messages between two looks at the clock take, at least

Figures = dict[str, float]
Burst = Callable[[int], Awaitable[int]]  # Takes that many steps; returns how many messages.


class Stopwatch:
    """Measures the time of a block, and the CPU time that this process has used in it."""

    def __enter__(self) -> Self:
        self._start, self._start_cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._seconds = time.perf_counter() - self._start
        self._cpu = time.process_time() - self._start_cpu

    def rate(self, count: int) -> Figures:
        """Return messages a second and microseconds of CPU a message."""
        return {"per_second": count / self._seconds, "cpu_us": 1e6 * self._cpu / count}


def one_by_one(step: Callable[[], Awaitable[object]]) -> Burst:
    """Return bursts of a step that is one message."""

    async def burst(size: int) -> int:
        for _ in range(size):
            await step()
        return size

    return burst


async def warm_up(burst: Burst) -> int:
    """Repeat bursts for a while; return how large one has to be that clocks cost nothing."""
    size = 1
    end = time.perf_counter() + WARM_UP
    while (now := time.perf_counter()) < end:
        await burst(size)
        if time.perf_counter() - now < _BURST:
            size *= 2
    return size


async def measure(
    burst: Burst, size: int, finish: Callable[[], Awaitable[None]] | None = None
) -> Figures:
    """Repeat bursts until the time is over; what `finish` takes counts as well."""
    count = 0
    with Stopwatch() as watch:
        end = time.perf_counter() + DURATION
        while time.perf_counter() < end:
            count += await burst(size)
        if finish is not None:
            await finish()
    return watch.rate(count)


def percentiles(seconds: list[float]) -> Figures:
    """Return the median, the 99th percentile and the largest, in microseconds."""
    ordered = sorted(seconds)
    return {
        "p50_us": 1e6 * ordered[len(ordered) // 2],
        "p99_us": 1e6 * ordered[len(ordered) * 99 // 100],
        "max_us": 1e6 * ordered[-1],
    }
