"""Control frames that the connection owes: pongs, the keepalive's ping, and our Close."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_wsclient._connection.pings import Pings
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, call_after_ticks


class Replies:
    """The control frames that are due on one connection.

    The reader notes what is due, and never writes (R1). The next task that writes sends all of it
    with its own data. If no task writes, the reply task does.

    Most connections owe nothing until they are closed, so the reply task is started when something
    is due. If the client closes first, the task that closes does the work of the reply task.

    R3 (pongs are bounded): of the pings that come while a write is blocked, only the latest is
    answered (RFC 6455 §5.5.3). Otherwise the client would hold every pong for a server that pings
    and never reads.

    Args:
        protocol: Makes the frames.
        pings: Has the keepalive's ping.

    Attributes:
        pings_received: How many pings have come.
    """

    def __init__(self, protocol: Protocol, pings: Pings) -> None:
        self._protocol = protocol
        self._pings = pings
        self._payloads: list[bytes] = []  # of the pongs that are due
        self._sealed = b""  # frames that were made before our Close, and go before it
        self._wanted = trio.Event()
        self._start: Callable[[], object] | None = None  # of the reply task, until it is called
        self._writes = 0  # that have been begun
        self._is_writing = False
        self._is_blocked = False  # whether the write under way takes longer than a few ticks
        self._watched = 0  # the number of the write that `_note_blocked` will check
        self.pings_received: int = 0

    # Noting control frames

    def add_pong(self, payload: bytes) -> None:
        """Note that a ping has to be answered."""
        self.pings_received += 1
        if not self._protocol.closing.may_send:
            return
        if self._is_blocked:
            self._payloads.clear()  # R3 (pongs are bounded)
        self._payloads.append(payload)
        self.want()
        if self._is_writing and self._watched != self._writes:
            self._watched = writes = self._writes
            call_after_ticks(
                UNBLOCKED_TICKS, self._note_blocked, unless=lambda: self._writes != writes
            )

    def _note_blocked(self) -> None:
        if self._is_writing:
            self._is_blocked = True
            del self._payloads[:-1]  # R3 (pongs are bounded)

    def want(self) -> None:
        """Have the reply task look at what is due; start it unless it runs."""
        self._wanted.set()
        if self._start is not None:
            start, self._start = self._start, None
            start()

    def start_with(self, start: Callable[[], object]) -> None:
        """Take the function that starts the reply task."""
        self._start = start

    def become_reply_task(self) -> bool:
        """Make the calling task the reply task, if that does not run.

        Returns:
            Whether it has to do the work of the reply task now.
        """
        is_free, self._start = self._start is not None, None
        return is_free

    @property
    def are_wanted(self) -> bool:
        """Whether something is due, or the reply task has to look at it."""
        return self._wanted.is_set()

    async def wait_wanted(self) -> None:
        """Wait until something is due, for the reply task."""
        if not self._wanted.is_set():
            await self._wanted.wait()
        self._wanted = trio.Event()

    # Making the frames

    def seal(self) -> None:
        """Make the pongs that are due: call this before a Close is made.

        RFC 6455 §5.5.1: nothing can be made after the Close.
        """
        if self._protocol.closing.may_send:
            self._sealed += self._take_pongs()

    def take(self) -> bytes:
        """Make and take all frames that are due."""
        data, self._sealed = self._sealed, b""
        if not self._protocol.closing.may_send:
            return data + self._protocol.take_close()
        data += self._take_pongs()
        if self._pings.due is not None:
            data += self._protocol.send_ping(self._pings.take_due())
        return data

    def _take_pongs(self) -> bytes:
        payloads, self._payloads = self._payloads, []
        return b"".join(map(self._protocol.send_pong, payloads))

    @property
    def are_unwritten(self) -> bool:
        """Whether a frame is due, or a write is under way."""
        return self._is_writing or bool(self._sealed or self._payloads) or self._protocol.has_close

    # R3 (pongs are bounded)

    def note_write_begins(self) -> None:
        """Take note that a write begins; pings may come during it."""
        self._writes += 1
        self._is_writing = True

    def note_write_ends(self) -> None:
        """Take note that the write is over."""
        self._is_writing = self._is_blocked = False
