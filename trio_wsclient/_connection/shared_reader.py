"""One reader at a time: whoever waits for something leads, and reads, or follows, and is woken.

Theory of operation
-------------------

All that can be waited for comes out of the same stream, and any waiter may be cancelled at any
time; so reading is not the duty of one task, but a lead that goes from waiter to waiter.

* At most one task is inside ``step`` at any time: the leader.
* L1: whenever somebody waits who may read, somebody reads or has been woken to do so. Whoever
  leaves, for whatever reason, passes the lead on.
* L2: whoever's condition may have come true is woken: after each step, and by ``changed``, which is
  to be called after every change from outside.
* A step has one ``await`` and takes its effect after that, without another: so a cancelled step has
  taken nothing.
* L3: while nobody waits, the steward leads, which is the receive task. To a waiter it yields the
  lead after its step, and then rests for a while, in which the lead may be left vacant: as a rule
  those who wait come again, and read for themselves, without a hop from task to task. It rests too
  if it comes for a vacancy that is gone already. So there is a hop and a timer a second at most,
  and no timer for more than that while somebody waits. ``urge`` ends the rest: a write that is
  blocked may wait for a server that wants to be read, and a ping wants to know when its pong comes.
  Who rests is no follower, so that nobody who leads has to ask for its conditions.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trio_wsclient._scheduling import Stopwatch

_REST: Final = 1.0  # seconds for which the lead may be vacant: a server's ping may wait as long

Condition = Callable[[], bool]


def always() -> bool:
    """Tell that this waiter may read at any time."""
    return True


def never() -> bool:
    """Tell that this waiter leaves it to others whether to read."""
    return False


class Leadership:
    """The lead over one stream.

    Args:
        step: Reads once, and does what follows from that.
    """

    def __init__(self, step: Callable[[], Awaitable[None]]) -> None:
        self._step = step
        self._followers: Final[dict[trio.Event, tuple[Condition, Condition]]] = {}
        self._steward: trio.Event | None = None  # what wakes the steward, where it does not lead
        self._is_resting = False  # whether the steward rests
        self._is_broken = False  # whether a step has raised, which is a bug: nobody repeats it
        self.reading = False
        self._time_idle: Stopwatch | None = None  # None until somebody asks for `idle_seconds`
        self._is_urgent = False  # whether the steward has been urged not to rest

    @property
    def _has_vacancy(self) -> bool:
        return not (self.reading or self._is_broken)

    @property
    def idle_seconds(self) -> float:
        """For how many seconds in all nobody was reading, since this was asked for first."""
        if self._time_idle is None:
            self._time_idle = Stopwatch()
            if not self.reading:
                self._time_idle.start()
        return self._time_idle.seconds

    async def wait_until(self, ready: Condition, may_read: Condition = always) -> bool:
        """Wait until a condition is true; a checkpoint only if it has to wait.

        Args:
            ready: The condition. It may be false again as soon as another task has run.
            may_read: Whether this waiter may read at the moment; while not, it only follows.

        Returns:
            Whether it had to wait.
        """
        if ready():
            return False
        has_followed = False
        try:
            while True:
                has_followed = self.reading or self._is_broken or not may_read()
                if has_followed:
                    await self._follow(ready, may_read)
                    if ready():
                        return True
                elif await self._lead(ready, may_read):
                    return True
        finally:
            if has_followed:
                self.changed()  # L1

    async def stand_in(self, ready: Condition, may_read: Condition) -> None:
        """Be the steward until a condition is true (L3)."""

        def nobody_else() -> bool:
            return may_read() and not self._somebody_may_read()

        def is_urged() -> bool:
            return self._is_urgent and nobody_else()

        rest_ends = -math.inf
        try:
            while not ready():
                rest = rest_ends - trio.current_time()
                if rest > 0 and not is_urged():
                    await self._rest(rest)
                elif self._has_vacancy and nobody_else():
                    self._is_urgent = False
                    await self._lead(ready, nobody_else)
                    rest_ends = trio.current_time() + _REST
                else:
                    await self._follow(ready, nobody_else, is_steward=True)
                    if not self._has_vacancy:
                        rest_ends = trio.current_time() + _REST
        finally:
            self.changed()  # L1

    def urge(self) -> None:
        """Have the steward lead, if nobody else does, or end, without waiting for a waiter."""
        self._is_urgent = True
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for what has become true, and a reader if there is none."""
        if not (self._followers or self._is_urgent):
            return
        leaderless = self._has_vacancy
        for event, (ready, may_read) in self._followers.items():
            if ready():
                event.set()
            elif leaderless and may_read():
                event.set()
                leaderless = False
        if leaderless and self._is_urgent and self._is_resting and self._steward is not None:
            self._steward.set()

    def _somebody_may_read(self) -> bool:
        return any(
            may_read()
            for event, (_, may_read) in self._followers.items()
            if event is not self._steward
        )

    async def _lead(self, ready: Condition, may_read: Condition) -> bool:
        """Read until a condition is true, or this one may not read; return whether it is true."""
        if self._time_idle is not None:
            self._time_idle.stop()
        self.reading = True
        if self._followers:
            self.changed()
        try:
            await self._step()
            while not (is_ready := ready()) and may_read():
                self.changed()
                await self._step()
        except Exception:
            self._is_broken = True
            raise
        finally:
            self.reading = False
            if self._time_idle is not None:
                self._time_idle.start()
            self.changed()  # L1: also if this one stays, and follows.
        return is_ready

    async def _follow(
        self, ready: Condition, may_read: Condition, *, is_steward: bool = False
    ) -> None:
        event = trio.Event()
        self._followers[event] = (ready, may_read)
        if is_steward:
            self._steward = event
        try:
            await event.wait()
        finally:
            del self._followers[event]
            if is_steward:
                self._steward = None

    async def _rest(self, seconds: float) -> None:
        self._steward = trio.Event()
        self._is_resting = True
        try:
            with trio.move_on_after(seconds):
                await self._steward.wait()
        finally:
            self._steward = None
            self._is_resting = False
