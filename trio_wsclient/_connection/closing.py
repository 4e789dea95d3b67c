"""The closing handshake of an open connection: its deadline, and the tasks that wait.

Theory of operation
-------------------

How a connection ends is recorded in `trio_wsclient._protocol.closing`. This module adds what an
open stream needs: a deadline, and two events. ``known`` is set when it is known how the connection
ended. ``stream_closed`` is set when the stream is closed.

Each of the methods under "What ends the connection" records what happened. Then it tells everybody:
the receivers, the senders and the pings that wait, and the reply task, which writes our Close and
waits for the server.

C1 (leaving always ends): the deadline starts with the first of these events. Every wait during
closing, and every task of the connection, runs in a `scope` with this deadline. When it has passed,
the first of these tasks that runs closes the stream.

We close in two steps. Once closing has begun, new messages are refused. A message that is being
written may be finished, so `send_close` makes our Close after its last fragment (W3, no
interleaving).
"""

from __future__ import annotations

import math
from contextlib import suppress
from types import TracebackType
from typing import Final

import trio

from trio_wsclient._connection.close_error import close_error
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.replies import Replies
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._connection.slot import Slot
from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionClosedOK,
    WebSocketError,
    WebSocketInternalError,
    drop_tracebacks,
)
from trio_wsclient._net.connect import close_forcefully
from trio_wsclient._net.sockets import EagerStream
from trio_wsclient._protocol.closing import ClosedBy, CloseFrame
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, call_after_ticks


class _DeadlineScope:
    """A cancel scope that is in a set while its block runs."""

    __slots__ = ("_active", "_scope")

    def __init__(self, scope: trio.CancelScope, active: set[trio.CancelScope]) -> None:
        self._scope = scope
        self._active = active

    def __enter__(self) -> trio.CancelScope:
        self._active.add(self._scope)
        return self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._active.discard(self._scope)
        return self._scope.__exit__(exc_type, exc, traceback)


class ClosingHandshake:
    """How one open connection ends.

    Args:
        stream: The stream to close.
        protocol: The protocol, with the record of how the connection ends.
        reader: Where receivers wait.
        message_slot: Where senders wait.
        pings: Where pings wait.
        replies: Where the reply task waits.
        close_timeout: Seconds that closing may take.
        connection_id: The number of the connection, for its errors.

    Attributes:
        record: The side that closed, both Close frames, and the cause.
        close_timeout: Seconds that closing may take.
        deadline: When the stream is closed, whatever the server does.
        known: Set when it is known how the connection ended.
        stream_closed: Set when the stream is closed.
        bug: A bug of ours, if one has struck.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        *,
        reader: SharedReader,
        message_slot: Slot,
        pings: Pings,
        replies: Replies,
        close_timeout: float,
        connection_id: int,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._shared_reader = reader
        self._message_slot = message_slot
        self._pings = pings
        self._replies = replies
        self._connection_id = connection_id
        self._scopes: set[trio.CancelScope] = set()  # of the tasks, and of waits in closing
        self._close = CloseFrame(1000)  # that we want to send
        self._unfinished: RuntimeError | None = None  # one that a user's exception has caused
        self.record: Final = protocol.closing
        self.close_timeout: Final = close_timeout
        self.deadline: float = math.inf
        self.known: Final = trio.Event()
        self.stream_closed: Final = trio.Event()
        self.bug: BaseException | None = None

    # What ends the connection

    def decide(self, code: int, reason: str = "") -> None:
        """Decide to close; no effect if the end was decided before."""
        if self._protocol.violation is not None:
            self.fail_by_violation()
        elif self.record.closed_by is None:
            self._close = CloseFrame(code, reason)
            self._protocol.begin_close()
            self.note_end()

    def send_close(self, *, is_unfinished: bool = False) -> None:
        """Make our Close after `decide`, unless there is one.

        Args:
            is_unfinished: Whether a message was begun that will not be finished.
        """
        if self.record.closed_by is ClosedBy.CLIENT and self.record.sent is None:
            close = CloseFrame(1011) if is_unfinished else self._close
            # A pong may not follow our Close (RFC 6455 §5.5.1), so the pongs that are due are made
            # first.
            self._replies.seal()
            self._protocol.close(close.code, close.reason)
            self.note_end()

    def receive_close(self, frame: CloseFrame) -> None:
        """Take note of the server's Close."""
        self._replies.seal()
        self._protocol.receive_close(frame)
        self.note_end()

    def fail(self, cause: BaseException, code: int | None = None) -> None:
        """Fail the connection (RFC 6455 §7.1.7), with a Close if there is a code for it."""
        if code is not None:
            self._replies.seal()
        self._protocol.fail(cause, code)
        self.note_end()

    def end_of_stream(self, cause: Exception) -> None:
        """Take note that nothing more can be read."""
        self.record.stream_ended = True
        self.fail(cause)
        if isinstance(self._stream, EagerStream) and not self._replies.are_unwritten:
            self._close_nowait(self._stream)
        else:
            # Our Close may still be written, within some ticks, but no answer can come.
            call_after_ticks(UNBLOCKED_TICKS, self.expire, unless=self.stream_closed.is_set)

    def note_write_error(self, error: Exception) -> None:
        """Take note that nothing can be written any more; the server may still say why."""
        self.record.write_error = error
        self.start_deadline()
        self._message_slot.dismiss()
        self._pings.end_all()
        self._replies.want()

    def unfinished_error(self, cause: Exception | None) -> RuntimeError:
        """Make the error that says that a message was begun and will not be finished.

        Args:
            cause: The exception of the user that has ended the message, if that is why.
        """
        error = RuntimeError("a message was left unfinished")
        if cause is not None:
            error.__cause__ = cause
            self._unfinished = error
        return error

    def release(self) -> None:
        """Break the cycles of references, when the block is left.

        The record refers to the exception of a stream, its traceback to the frames of this package,
        and they to the connection. The frames of a user's exception refer to the client.
        """
        if self._unfinished is not None:
            self._unfinished.__cause__ = None
        for error in (self.record.cause, self.record.write_error):
            if error is not self.bug:  # The report of a bug needs its traceback.
                drop_tracebacks(error)

    def fail_by_violation(self) -> None:
        """Fail the connection for what the server has done wrong, which was held back until now."""
        self._replies.seal()
        self._protocol.fail_by_violation()
        self.note_end()

    def note_bug(self, bug: BaseException) -> None:
        """Take note of a bug of ours: every call raises it from now on (X2)."""
        self.bug = self.bug or bug  # Keep the first bug.
        self._protocol.fail(bug)
        self.known.set()
        self.note_end()
        self.expire()

    @property
    def has_begun(self) -> bool:
        """Whether the deadline counts."""
        return self.deadline < math.inf

    def note_end(self) -> None:
        """Tell everybody that how the connection ends has changed."""
        # The order does not matter: a task that is woken runs later, and looks at the record
        # itself.
        self.start_deadline()
        self._message_slot.dismiss()
        self._shared_reader.wake_receivers()
        self._shared_reader.wake_background()
        # The active receiver waits for the socket, not in the line. Wake it, so that it looks
        # again.
        if self._shared_reader.is_led_by_receiver and isinstance(self._stream, EagerStream):
            self._stream.wake_reader()
        self._pings.end_all()
        self._replies.want()
        if self.record.is_known:
            self.known.set()

    # The deadline

    def start_deadline(self) -> None:
        """Start the deadline, unless it is running (C1)."""
        if not self.has_begun:
            self.deadline = trio.current_time() + self.close_timeout
            # Tasks and waits that began before have no deadline yet.
            for scope in self._scopes:
                scope.deadline = self.deadline
            self._shared_reader.need()  # until the end

    def scope(self, *, shield: bool = False) -> _DeadlineScope:
        """Return a scope that is cancelled at the deadline, also if that starts later.

        Args:
            shield: Whether its block is shielded from a cancel from outside.
        """
        scope = trio.CancelScope(deadline=self.deadline, shield=shield)
        return _DeadlineScope(scope, self._scopes)

    def expire(self) -> None:
        """Make the deadline pass now."""
        self.deadline = -math.inf
        for scope in self._scopes:
            scope.cancel()

    # Waiting

    async def wait_known(self) -> None:
        """Wait until it is known how the connection ended."""
        # If this task is cancelled, raise that, not the error of a frame that the cancel has torn.
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.known.is_set():
            self._shared_reader.need()
            try:
                with self.scope():
                    await self.known.wait()
            finally:
                self._shared_reader.need_no_more()
            if not self.known.is_set():  # The deadline has passed.
                await self.close_forcefully()

    def _close_nowait(self, stream: EagerStream) -> None:
        """Close our own stream after it has ended, and nothing is left to write.

        No task needs a cancel: each one that waits is woken, and sees that the stream has ended.
        """
        self._protocol.close_stream()
        with suppress(OSError):
            stream.close()
        self.stream_closed.set()

    async def close_forcefully(self) -> None:
        """Close the stream, without waiting for anybody, and end the tasks."""
        record = self.record
        if record.stream_closed:
            return
        # Nobody has closed, but a write has failed: that is the end of the connection.
        if record.closed_by is None and record.write_error is not None:
            self._protocol.fail(record.write_error)
        # If nobody has closed yet, this side has: it takes the stream away.
        self._protocol.begin_close()
        # `is_known` depends on `stream_ended`, so the order matters.
        if not record.is_known and trio.current_time() >= self.deadline:
            record.cause = trio.TooSlowError(f"no Close within {self.close_timeout:g} s")
        record.stream_ended = True
        self._protocol.close_stream()
        try:
            self.note_end()
        finally:
            self.expire()
            try:
                await close_forcefully(self._stream)  # noqa: ASYNC102 shielded inside
            finally:
                self.stream_closed.set()

    async def wait_close_error(self, kind: type[ConnectionClosedOK]) -> WebSocketError:
        """Make the exception that says how the connection ended, once that is known.

        Args:
            kind: Its class, if nothing is wrong.
        """
        await self.wait_known()
        return self.call_error(kind)

    def call_error(self, kind: type[ConnectionClosedOK]) -> WebSocketError:
        """Make the exception that a call raises: how the connection ended, or a bug (X2)."""
        if self.bug is None:
            return self.close_error(kind)
        error = WebSocketInternalError("a bug in trio_wsclient, please report it")
        error.__cause__ = self.bug
        return error

    def close_error(self, kind: type[ConnectionClosedOK]) -> ConnectionClosed:
        """Make the exception that says how the connection ended, also after a bug."""
        error = close_error(self.record, kind)
        error.closed_by = self.record.closer
        error.connection_id = self._connection_id
        return error
