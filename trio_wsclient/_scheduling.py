"""Scheduling: time slices, scheduler ticks, and a stopwatch.

Time slices
-----------

Trio has two kinds of points in a call that may wait. At a cancellation point a cancelled task gets
``trio.Cancelled``. At a schedule point the other tasks run. ``trio.lowlevel.checkpoint`` is both.

A schedule point costs a *scheduler tick*: one round of Trio's loop, in which each task that can run
runs once. A tick costs ten times what a small message costs. So each call of this library is a
cancellation point, but it is a schedule point only after the task has run for a *time slice*
without one. No other task waits longer than a slice, however fast the server sends.

Scheduler ticks
---------------

Some limits depend on how often the other tasks have run, not on seconds. A write that need not wait
for the network is done after a few ticks, on a slow machine and on a fast one. A timeout in seconds
would be a guess about the machine.

Imports
-------

The import of a large module takes 10 to 20 ms. If few programs need the module, a thread imports it
when it is needed, and the other tasks run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from time import perf_counter
from typing import Final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

# A tick costs some 5 µs, so ticks take less than 2 % of the time of a task that never waits.
SLICE_SECONDS: Final = 0.0003

# Ticks in which a write that need not wait is done, on TCP, TLS or a memory stream.
UNBLOCKED_TICKS: Final = 8


class TimeSlice:
    """How long the tasks of one connection may run before the other tasks run.

    Attributes:
        ends: When the slice ends, on the clock of ``time.perf_counter``. The hot paths of
            ``receive`` and ``send`` compare it directly, which saves them a call.
    """

    __slots__ = ("ends",)

    def __init__(self) -> None:
        self.ends: float = 0.0  # A new slice is over: the first call is a schedule point.

    @property
    def is_over(self) -> bool:
        return perf_counter() >= self.ends

    def renew(self) -> None:
        """Begin a new slice: call this right after the other tasks have run."""
        self.ends = perf_counter() + SLICE_SECONDS

    async def checkpoint(self) -> None:
        """Be a cancellation point; be a schedule point if the slice is over."""
        if perf_counter() < self.ends:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
            self.renew()

    async def cancel_shielded_checkpoint(self) -> None:
        """Be a schedule point if the slice is over, but never a cancellation point."""
        if perf_counter() >= self.ends:
            await cancel_shielded_checkpoint()
            self.renew()


def call_after_ticks(
    ticks: int, function: Callable[[], object], *, unless: Callable[[], bool]
) -> None:
    """Call a function after some scheduler ticks.

    If the run of Trio ends before, the function is not called.

    Args:
        ticks: How many ticks to wait.
        function: The function to call.
        unless: Asked in each tick. As soon as it returns ``True``, the call is dropped.
    """
    _count_down(trio.lowlevel.current_trio_token(), ticks, function, unless)


def _count_down(
    token: trio.lowlevel.TrioToken,
    left: int,
    function: Callable[[], object],
    unless: Callable[[], bool],
) -> None:
    if unless():
        return
    if left == 0:
        function()
        return
    with suppress(trio.RunFinishedError):  # There are no more ticks.
        token.run_sync_soon(_count_down, token, left - 1, function, unless)


_importing: Final[set[str]] = set()  # the modules that a thread imports


async def import_in_thread(name: str) -> None:
    """Import a module, in a thread unless that was done before.

    Args:
        name: The full name. An ``import`` of it costs nothing afterwards.
    """
    # A module is in `sys.modules` before its import is done, and then an import waits for that.
    if name in sys.modules and name not in _importing:
        return
    _importing.add(name)
    # Each thread of the default limiter may be waiting for the task that calls this.
    limiter = trio.CapacityLimiter(1)
    try:
        await trio.to_thread.run_sync(import_module, name, limiter=limiter)
    finally:
        _importing.discard(name)


class Stopwatch:
    """Count the seconds in which something was so, on Trio's clock.

    Attributes:
        since: When the stopwatch was started; ``None`` while it is stopped.
    """

    __slots__ = ("_seconds", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self._seconds = 0.0  # of the periods that have ended

    @property
    def seconds(self) -> float:
        """The seconds counted so far, the present period included."""
        if self.since is None:
            return self._seconds
        return self._seconds + trio.current_time() - self.since

    def start(self) -> None:
        """Begin to count; the stopwatch must be stopped."""
        self.since = trio.current_time()

    def stop(self) -> None:
        """Stop counting. Stopping a stopped stopwatch changes nothing."""
        if self.since is not None:
            self._seconds += trio.current_time() - self.since
            self.since = None
