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

The receive task is a waiter like any other. It comes first, so as a rule it leads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

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
        self._is_broken = False  # whether a step has raised, which is a bug: nobody repeats it
        self.reading = False
        self._idle_since = trio.current_time()
        self._idle_seconds = 0.0  # before that

    @property
    def _has_vacancy(self) -> bool:
        return not (self.reading or self._is_broken)

    @property
    def idle_seconds(self) -> float:
        """For how many seconds in all nobody was reading."""
        if self.reading:
            return self._idle_seconds
        return self._idle_seconds + trio.current_time() - self._idle_since

    async def wait_until(self, ready: Condition, may_read: Condition = always) -> None:
        """Wait until a condition is true; a checkpoint only if it has to wait.

        Args:
            ready: The condition. It may be false again as soon as another task has run.
            may_read: Whether this waiter may read at the moment; while not, it only follows.
        """
        try:
            while not ready():
                if self._has_vacancy and may_read():
                    await self._lead(ready, may_read)
                else:
                    await self._follow(ready, may_read)
        finally:
            self.changed()  # L1

    def changed(self) -> None:
        """Wake whoever waits for what has become true, and a reader if there is none."""
        leaderless = self._has_vacancy
        for event, (ready, may_read) in self._followers.items():
            if ready():
                event.set()
            elif leaderless and may_read():
                event.set()
                leaderless = False

    async def _lead(self, ready: Condition, may_read: Condition) -> None:
        self._idle_seconds = self.idle_seconds
        self.reading = True
        self.changed()
        try:
            while not ready() and may_read():
                await self._step()
                self.changed()
        except Exception:
            self._is_broken = True
            raise
        finally:
            self.reading = False
            self._idle_since = trio.current_time()
            self.changed()  # L1: also if this one stays, and follows.

    async def _follow(self, ready: Condition, may_read: Condition) -> None:
        event = trio.Event()
        self._followers[event] = (ready, may_read)
        try:
            await event.wait()
        finally:
            del self._followers[event]
