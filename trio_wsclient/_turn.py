"""Turns: how long a task runs before the others have theirs.

In Trio a call that may wait is a checkpoint: a cancelled task is told there, and the scheduler
makes a pass, in which each of the other tasks runs. A pass costs ten times what a small message
does. So each call here looks for a cancel, but makes a pass only if none was made for a while.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

_TURN: Final = 0.0003  # seconds


class Turn:
    """The turn of whoever runs on one connection.

    Attributes:
        ends: Until when it lasts, on ``time.perf_counter``.
    """

    __slots__ = ("ends",)

    def __init__(self) -> None:
        self.ends: float = 0.0

    @property
    def is_over(self) -> bool:
        return perf_counter() >= self.ends

    def renew(self) -> None:
        """Take note that a pass was made just now."""
        self.ends = perf_counter() + _TURN

    async def checkpoint(self) -> None:
        """Raise if cancelled; make a pass if the turn is over."""
        if perf_counter() < self.ends:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
            self.renew()

    async def cancel_shielded_checkpoint(self) -> None:
        """Make a pass if the turn is over."""
        if perf_counter() >= self.ends:
            await cancel_shielded_checkpoint()
            self.renew()
