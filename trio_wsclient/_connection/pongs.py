"""Pongs that wait to be sent (RFC 6455 §5.5.3).

R3  Of the pings that come while a write is blocked only the latest is answered. Otherwise a server
    that sends pings, and reads nothing, would have them all held.
"""

from __future__ import annotations

from collections.abc import Callable

from trio_wsclient._scheduling import UNBLOCKED_TICKS, call_after_ticks


class Pongs:
    """The pongs of one connection.

    Args:
        is_writing: Whether a write is under way.
    """

    def __init__(self, is_writing: Callable[[], bool]) -> None:
        self._is_writing = is_writing
        self._payloads: list[bytes] = []
        self._writes = 0  # that have been begun; each is one in whose course pings may come
        self._watched = 0  # the one of which it will be seen if it is blocked
        self._is_blocked = False

    def add(self, payload: bytes) -> None:
        """Have a ping answered."""
        if self._is_blocked:
            self._payloads.clear()  # R3
        self._payloads.append(payload)
        if self._is_writing() and self._watched != self._writes:
            self._watched = writes = self._writes
            call_after_ticks(
                UNBLOCKED_TICKS, self._note_blocked, unless=lambda: self._writes != writes
            )

    def _note_blocked(self) -> None:
        if self._is_writing():
            self._is_blocked = True
            del self._payloads[:-1]  # R3

    def take(self) -> list[bytes]:
        """Take the payloads of those that are due."""
        payloads, self._payloads = self._payloads, []
        return payloads

    def write_begins(self) -> None:
        """Take note of a write."""
        self._writes += 1

    def write_ends(self) -> None:
        """Take note of its end."""
        self._is_blocked = False
