"""The open connection on a stream: reading, writing, replying, closing.

Theory of operation
-------------------

``Connection`` is the sole owner of the stream. Two tasks of it run in the background,
``receive_task`` and ``reply_task``; all else runs in the tasks of whoever calls. The invariants,
which the code cites:

R1  Whoever reads never writes and never waits for a lock: a server that writes before it reads
    would stall both sides. Replies are left for the reply task, or for the next one that writes.
R2  The receive task reads, though nobody wants a message, so that pings are answered, until the
    inbox is full. Then TCP pushes back and the keepalive clock stands. Whoever waits for a
    message reads on all the same: it may be larger than the inbox. After an ending what is read
    is dropped.
R3: see ``pongs``; W1, W2: see ``writer``; W3: see ``sending``.
C1  ``close`` ends within ``close_timeout``, whatever the server does.
C2  ``abandon`` waits for nobody: a Close goes only if it can be written at once.
C3  What has arrived before we decide to close is handled first, as far as it can be read without
    waiting. So messages can still be taken, and a Close of the server counts.
X2  The tasks never raise. What ends the connection is a fact in the protocol, and ``closed``
    makes it an exception in the next call. As an outer cancel may end the receive task while the
    user's code still runs shielded, everything works without it.
"""

from __future__ import annotations

import math
from typing import Final

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection.outcome import outcome
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.queue import Inbox
from trio_wsclient._connection.shared_reader import Leadership
from trio_wsclient._connection.writer import Outbox
from trio_wsclient._errors import (
    ClosedOnSend,
    ConnectionClosed,
    ConnectionClosedOK,
)
from trio_wsclient._net.sockets import READ_SIZE, EagerStream
from trio_wsclient._observe import Log
from trio_wsclient._protocol.closing import ClosedBy, CloseFrame, State
from trio_wsclient._protocol.events import Event, Ping, Pong
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, Stopwatch, TimeSlice, call_after_ticks
from trio_wsclient._transport import cut

# Scheduler ticks in which a task that waits for the stream takes what has arrived: in the first one
# the system says that there is something, and in the second one that task has run for sure.
_READ_TICKS: Final = 2

# Scheduler ticks for which a violation is held back, so that the reply to a message before it can
# still leave: to receive and to send takes 4. (Autobahn wants that reply: 3.2, 4.1.3, 5.15.)
_VIOLATION_TICKS: Final = 16


class Connection:
    """A WebSocket connection after the handshake.

    Args:
        stream: Where it runs; closed with it.
        protocol: What the bytes mean.
        inbox: Where messages wait.
        log: Where frames are told of.
        close_timeout: Seconds that a closing handshake may take.
        shares_reading: Whether callers may read, too; otherwise the receive task alone does, while
            it lives, as a user's own stream may not bear a change of tasks.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        inbox: Inbox,
        log: Log,
        *,
        close_timeout: float,
        shares_reading: bool,
    ) -> None:
        self._stream = stream
        self._read_size = None if isinstance(stream, EagerStream) else READ_SIZE
        self._shares_reading = shares_reading
        self._close_timeout = close_timeout
        self._leadership = Leadership(self._read_once)
        self._violation_ticks = 0
        # Shielded: a cancel must not tear a pong, as the user's code may outlive it (X2). The task
        # ends with the connection.
        self._reply_scope = trio.CancelScope(shield=True)
        self._reads_on = False  # whether somebody polls for a message beyond the inbox
        self._ended = False  # whether the server's stream has ended, or ours is closed
        self.time_slice: Final = (
            stream.time_slice if isinstance(stream, EagerStream) else TimeSlice()
        )
        self.wait_until: Final = self._leadership.wait_until
        self.changed: Final = self._leadership.changed
        self.protocol: Final = protocol
        self.closing: Final = protocol.closing
        self.inbox: Final = inbox
        self.log: Final = log
        self.pings: Final = Pings()
        self.outbox: Final = Outbox(
            stream,
            protocol,
            self.pings,
            clock=self.clock,
            tear=self._tear,
            broken=self._note_ending,
            slow=self._leadership.urge,
            time_slice=self.time_slice,
        )
        self.bytes_received: int = 0
        self.time_full: Final = Stopwatch()  # runs while the inbox has no room, so nothing is read

    # Facts

    @property
    def outcome_known(self) -> bool:
        """Whether it is known how the connection ended: after our Close, the server has its say."""
        closing = self.closing
        if closing.closed_by is ClosedBy.CLIENT:
            return closing.received is not None or self._ended
        return closing.closed_by is not None

    @property
    def _is_over(self) -> bool:
        """Whether nothing is left but to close the stream, if that is not done yet."""
        return self.closing.state is State.CLOSED or (self._ended and self.outbox.is_done)

    async def closed(self, kind: type[ConnectionClosedOK]) -> ConnectionClosed:
        """Make the exception that says how the connection ended, once that is known.

        Args:
            kind: Its class, if nothing is wrong.
        """
        # Who is cancelled is not told of the tear that the cancel has caused in another task.
        await trio.lowlevel.checkpoint_if_cancelled()
        # C1: the reply task sees to it that it is known in time. After a failed write the server
        # may still say why.
        await self.wait_until(lambda: self.outcome_known, self.may_read)
        return self.closed_now(kind)

    def closed_now(self, kind: type[ConnectionClosedOK]) -> ConnectionClosed:
        """Make the exception that says how the connection ended, from what is known."""
        error = outcome(self.closing, kind)
        error.connection_id = self.log.connection_id
        return error

    # Reading

    def may_read(self) -> bool:
        """Tell whether to read though nobody wants a message (R2)."""
        protocol = self.protocol
        may = (
            protocol.violation is not None
            or self.closing.closed_by is not None
            or self._reads_on
            or self.inbox.has_room(beside=protocol.partial_size)
        )
        if not may and self.time_full.since is None:
            self.time_full.start()
        elif may and self.time_full.since is not None:
            self.time_full.stop()
        return may

    def read_on(self) -> None:
        """Have the message under way read to its end, for somebody who does not wait (R2)."""
        if not self.may_read():
            self._reads_on = True
            self.changed()

    @property
    def is_reading(self) -> bool:
        return self._leadership.reading

    def clock(self) -> float:
        """Return seconds on a clock that stands while nobody reads (R2)."""
        return trio.current_time() - self._leadership.idle_seconds

    @enable_ki_protection
    async def receive_task(self) -> None:
        """Read until the server's stream ends."""
        wait = self._leadership.stand_in if self._shares_reading else self.wait_until
        await wait(lambda: self._ended, self.may_read)

    async def _read_once(self) -> None:
        # R1: never write here, and never wait for a lock.
        protocol = self.protocol
        if protocol.violation is not None:
            await trio.lowlevel.checkpoint()
            self._take_events([])
        elif protocol.has_input:
            await self.time_slice.checkpoint()
            self._take_events(protocol.next_events())
        else:
            try:
                data = await self._stream.receive_some(self._read_size)
            except Exception as exc:  # noqa: BLE001 a user's stream may raise anything: it is over
                self._end_of_stream(exc)
            else:
                self._take_data(data)

    def _take_data(self, data: bytes | bytearray) -> None:
        if not data:
            self._end_of_stream(EOFError("the stream ended"))
            return
        self.bytes_received += len(data)
        self.pings.heard = True
        if self.pings.due is not None:
            self.pings.moved(self.clock())
        self.protocol.receive_data(bytes(data))
        self._take_events(self.protocol.next_events())

    def read_nowait(self) -> bool:
        """Read what has arrived, without waiting; return whether that is all.

        It takes a time slice at most. If another task waits for the stream, or the stream is a
        user's, nothing is read: that task reads in the next scheduler ticks.
        """
        stream = self._stream
        if self.is_reading or not isinstance(stream, EagerStream):
            return True
        while (has_more := self._read_once_nowait(stream)) and not self.time_slice.is_over:
            pass
        self.changed()
        return not has_more

    def _read_once_nowait(self, stream: EagerStream) -> bool:
        """Do one step of `read_nowait`; return whether there may be more."""
        protocol = self.protocol
        if self._ended or self.closing.received is not None or protocol.violation is not None:
            return False
        if not self.may_read():
            return False
        if protocol.has_input:
            self._take_events(protocol.next_events())
            return True
        try:
            data = stream.receive_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._end_of_stream(exc)
            return False
        if data is None:
            return False
        self._take_data(data)
        return True

    async def _read_arrived(self) -> None:
        """Read what has arrived (C3), but no more bytes than the inbox may hold.

        That still takes long if the server sends on and on, so the deadline of closing holds, too.
        """
        self._start_deadline()
        ticks = _READ_TICKS if isinstance(self._stream, EagerStream) else UNBLOCKED_TICKS
        begin = seen = self.bytes_received
        left = ticks
        while (
            self.closing.closed_by is None
            and seen - begin <= self.inbox.max_buffered_bytes
            and trio.current_time() < self._reply_scope.deadline
        ):
            if not self.read_nowait():
                await self.time_slice.checkpoint()
            elif not self.is_reading or left == 0:
                break
            else:
                await trio.lowlevel.checkpoint()
                left -= 1
            if self.bytes_received != seen:
                seen, left = self.bytes_received, ticks

    def _take_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, tuple):
                messages, size = event
                self.inbox.put_batch(messages, size)
            elif isinstance(event, Ping):
                self.outbox.add_pong(event.payload)
            elif isinstance(event, Pong):
                self.pings.answered(event.payload, trio.current_time())
            elif isinstance(event, CloseFrame):
                self.outbox.prepare_for_close()
                self.protocol.receive_close(event)
            else:
                self.inbox.put(event)
        self._reads_on = self._reads_on and not self.inbox.messages
        if self.protocol.violation is not None:
            self._violation_ticks += 1
            if self._violation_ticks > _VIOLATION_TICKS:
                self.protocol.fail_by_violation()
        if self.closing.closed_by is not None:
            self._note_ending()

    def _end_of_stream(self, cause: Exception) -> None:
        self.protocol.fail(cause)
        self._ended = True
        self._leadership.urge()  # The receive task has nothing left to do.
        self._note_ending()
        # A Close that is due may still leave, but nobody is left to wait for.
        if not self.outbox.is_done:
            call_after_ticks(
                UNBLOCKED_TICKS, self._reply_scope.cancel, unless=lambda: self._is_over
            )

    # Replies

    @enable_ki_protection
    async def reply_task(self) -> None:
        """Write pongs and pings, and after an ending see the connection closed."""
        try:
            with self._reply_scope:
                has_ended = False
                while not has_ended:
                    await self.outbox.wait_wanted()
                    has_ended = self._ended  # What was due before that may still leave.
                    if not self._is_over:
                        await self.outbox.write_replies()
            if self.outbox.error is not None:
                self.fail(self.outbox.error)
        finally:
            await self._cut()  # noqa: ASYNC102 shielded inside

    def dismiss_reply_task(self) -> None:
        """End the reply task, whatever it does; the stream is closed with it."""
        self._reply_scope.cancel()

    def _note_ending(self) -> None:
        """Have the reply task see to an ending in time, and wake whom it concerns."""
        self._start_deadline()
        self.outbox.want_replies()
        self.changed()

    def _start_deadline(self) -> None:
        """Begin to count ``close_timeout``, unless that was begun before (C1)."""
        if self._reply_scope.deadline == math.inf:
            self._reply_scope.deadline = trio.current_time() + self._close_timeout

    # Pings

    def request_ping(self, payload: bytes) -> None:
        """Have a ping written as soon as that is possible."""
        self.pings.request(payload, self.clock())
        self._leadership.urge()
        self.outbox.want_replies()

    async def ping(self, payload: bytes) -> float:
        """Send a ping and wait for its pong; return after how many seconds it came."""
        flight = self.pings.reserve(payload)

        def serialize() -> list[bytes]:
            self.pings.depart(payload, flight, trio.current_time())
            return [self.protocol.send_ping(payload)]

        try:
            await self.outbox.write(serialize)
            await self.wait_until(
                lambda: flight.seconds is not None or not self.outbox.is_open, self.may_read
            )
        finally:
            self.pings.forget(payload, flight)
        if flight.seconds is None:
            raise await self.closed(ClosedOnSend)
        return flight.seconds

    # Closing

    def fail(self, cause: BaseException, code: int | None = None) -> None:
        """Fail the connection (RFC 6455 §7.1.7); the reply task does the rest."""
        self.protocol.fail(cause, code)
        self._note_ending()

    async def fail_at_once(self, cause: BaseException, code: int, *, linger: bool) -> None:
        """Fail the connection, with a Close only if that can be written without waiting.

        Args:
            cause: Why.
            code: What the Close says.
            linger: Whether the server, if the Close was written, is left the time to end TCP.
        """
        if self.closing.closed_by is None:
            self.read_nowait()  # C3 (what arrived counts)
        if self.closing.closed_by is not None:
            return  # Whoever ended it sees to it.
        self.fail(cause, code)
        is_written = False
        try:
            is_written = await self.outbox.write_replies_at_once()
        finally:
            if not (is_written and linger):
                await self._cut()  # noqa: ASYNC102 shielded inside

    def _decide(self, code: int, reason: str = "") -> None:
        """Decide to close, unless what has arrived has decided how the connection ends (C3)."""
        if self.protocol.violation is not None:  # It was held back until now.
            self.protocol.fail_by_violation()
        self.outbox.prepare_for_close()
        self.protocol.close(code, reason)

    async def close(self, code: int, reason: str = "") -> None:
        """Close (RFC 6455 §7.1.2); cancelled, close the stream at once.

        It returns when the server has ended TCP (RFC 6455 §7.1.1), or after ``close_timeout``. A
        closing that has begun in another way already is seen to its end.
        """
        try:
            try:
                await self._read_arrived()
            finally:
                self._decide(code, reason)  # also if cancelled
            self.outbox.write_close_at_once()
            self._note_ending()
            if self._is_over:
                await trio.lowlevel.checkpoint()
            await self.wait_until(lambda: self._is_over, may_read=lambda: not self._ended)
        finally:
            await self._cut()  # noqa: ASYNC102 shielded inside

    async def abandon(self) -> None:
        """Close without waiting for anybody (C2)."""
        if self.closing.closed_by is None:
            self.read_nowait()  # C3 (what arrived counts)
        self._decide(1001)
        try:
            await self.outbox.write_replies_at_once()
        finally:
            await self._cut()  # noqa: ASYNC102 shielded inside

    async def _tear(self) -> None:
        """Give the connection up, because a frame is torn (W2)."""
        torn = trio.BrokenResourceError("a write was cancelled halfway, so a frame is torn")
        self.fail(torn)
        await self._cut()

    async def _cut(self) -> None:
        """Close the stream, without waiting for anything."""
        if self.closing.state is State.CLOSED:
            return
        self.protocol.close_stream()
        self._ended = True
        self._reply_scope.cancel()
        self._leadership.urge()
        await cut(self._stream)
