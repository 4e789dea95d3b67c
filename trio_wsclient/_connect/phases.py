"""The phases of an opening, and how long each of them took."""

from __future__ import annotations

import trio

from trio_wsclient._errors import Phase
from trio_wsclient._observe import Log


class Phases:
    """The phases of one opening.

    Args:
        log: The log of the connection, which notes the beginning of each phase.

    Attributes:
        current: The present phase; ``None`` before the first one.
        seconds: How long each phase lasted, of those that took place.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._began = trio.current_time()
        self.current: Phase | None = None
        self.seconds: dict[str, float] = {}

    def enter(self, phase: Phase, message: str, *args: object) -> None:
        """Begin a phase, which ends the one before. The log gets the message."""
        self.leave()
        self.current = phase
        self._log.debug(message, *args, phase=phase)

    def leave(self) -> None:
        """Count the time until now. What passes before the first phase counts for that one."""
        if self.current is not None:
            now = trio.current_time()
            spent = self.seconds.get(self.current, 0.0)
            self.seconds[self.current] = spent + now - self._began
            self._began = now
