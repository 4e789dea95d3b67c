"""Reading the stream, and handling what has come.

`shared_reader` says which task reads. That task calls `StreamReader.read_step` again and again. The
step hands over what has come: messages to the queue, pings to the replies, pongs to the pings, and
the server's Close to the closing handshake.

Other tasks may read what has arrived, without waiting, before they decide anything (C3, what
arrived counts). The task that waits for the stream does not see what another task has read, so that
task wakes it.
"""

from __future__ import annotations

import socket
from typing import Final

import trio
from trio.lowlevel import enable_ki_protection, wait_readable

from trio_wsclient._connection.closing import ClosingHandshake
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._connection.replies import Replies
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._net.sockets import READ_SIZE, EagerStream
from trio_wsclient._protocol.closing import ClosedBy, CloseFrame
from trio_wsclient._protocol.events import Event, Ping, Pong
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, TimeSlice

# What `wait_readable` raises if the descriptor is closed, or if its number is in use elsewhere.
WAIT_ERRORS: Final = (OSError, ValueError, trio.ClosedResourceError, trio.BusyResourceError)

# Scheduler ticks for which a violation is held back, so that the reply to a message before it can
# still leave: to receive and to send takes 4. (Autobahn wants that reply: 3.2, 4.1.3, 5.15.)
_VIOLATION_TICKS: Final = 16


class StreamReader:
    """The reading side of a connection.

    Args:
        stream: The stream to read.
        protocol: Makes events of the bytes.
        reader: The role of the active reader.
        queue: The received messages.
        pings: The pings that wait for pongs.
        replies: The pongs that are due.
        closing: The closing handshake.
        time_slice: The time slice of the connection.

    Attributes:
        bytes_received: How many bytes have come.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        *,
        reader: SharedReader,
        queue: ReceiveQueue,
        pings: Pings,
        replies: Replies,
        closing: ClosingHandshake,
        time_slice: TimeSlice,
    ) -> None:
        self._stream = stream
        self._eager = stream if isinstance(stream, EagerStream) else None
        self._protocol = protocol
        self._record = protocol.closing
        self._shared_reader = reader
        self._queue = queue
        self._pings = pings
        self._replies = replies
        self._closing = closing
        self._time_slice = time_slice
        self._violation_ticks = 0
        # True while `_handle` runs. It calls observers, and their calls must not read again.
        self._is_handling = False
        # Whether `receive_nowait` wants the message under way, which is larger than the queue.
        self._reads_on = False
        self.bytes_received: int = 0

    # The background reader

    @enable_ki_protection
    async def receive_task(self) -> None:
        """Be the background reader until nothing more can be read."""
        try:
            with self._closing.scope(shield=True):
                await self._read_in_background()
        except Exception as bug:  # noqa: BLE001 every call raises it (X2)
            self._closing.note_bug(bug)
        # Outside of the scope, because `note_bug` has cancelled the scope.
        if self._closing.bug is not None:
            raise self._closing.bug  # X2 (background tasks never raise) but for a bug

    async def _read_in_background(self) -> None:
        reader, record = self._shared_reader, self._record
        rests_next = False  # because receivers are reading
        while not record.stream_ended:
            # Receivers are reading, so leave the role vacant between their calls.
            if rests_next and not reader.is_needed:
                await reader.rest()
                rests_next = False
            elif reader.is_active:
                await reader.stand_by()
                # If a receiver took the role first, it will likely come back, so rest.
                rests_next = reader.is_active
            # The queue is full, and nobody waits: TCP pushes back until a message is taken (R2).
            elif not self._may_read_ahead:
                await reader.pause()
            else:
                reader.enter_background()
                rests_next = False
                try:
                    # One step at a time, so that a receiver that has parked gets the role soon.
                    while not (rests_next or record.stream_ended) and self._may_read_ahead:
                        await self.read_step()
                        reader.serve()
                        rests_next = reader.should_yield
                finally:
                    reader.leave()

    @property
    def _may_read_ahead(self) -> bool:
        """Whether to read although no receiver reads (R2)."""
        return (
            self._queue.has_room(beside=self._protocol.partial_size)
            or self._shared_reader.has_parked
            or self._reads_on
            or self._record.closed_by is not None
            or self._protocol.violation is not None
        )

    # Reading

    async def read_step(self) -> None:
        """Read once, and handle the data. Only the active reader calls this.

        If cancelled: nothing was read. R1 (readers never write): it never writes, and waits for
        nothing but the stream.
        """
        protocol, eager = self._protocol, self._eager
        # The protocol has stopped inside the bytes of the last read, because its work budget was
        # spent. Go on with them before anything else is read.
        if not protocol.is_starved:
            if protocol.violation is None:
                await self._time_slice.checkpoint()
            else:
                await trio.lowlevel.checkpoint()  # It takes effect after `_VIOLATION_TICKS`.
            self._handle(None)
        # A user's own stream can only be read by waiting.
        elif eager is None:
            try:
                data = bytes(await self._stream.receive_some(READ_SIZE))
            except Exception as exc:  # noqa: BLE001 a user's stream may raise any exception
                self._closing.end_of_stream(exc)
            else:
                self._handle(data)
        # The last read has emptied the socket, so a system call before the wait would be in vain.
        elif eager.is_drained:
            try:
                await wait_readable(eager.socket)
            except WAIT_ERRORS as exc:
                self.note_wait_error(exc)
            else:
                self._time_slice.renew()
                self._read_nowait(eager)
        else:
            await self._time_slice.checkpoint()
            self._read_nowait(eager)

    def note_wait_error(self, error: Exception) -> None:
        """Take note that a wait for the socket has failed: the stream has ended.

        Unless `wake_reader` has woken this task, because another one has read.
        """
        assert self._eager is not None
        if not isinstance(error, trio.ClosedResourceError) or self._eager.socket.fileno() == -1:
            self._closing.end_of_stream(error)

    @property
    def socket_to_read(self) -> socket.socket | None:
        """The socket that the next `read_step` waits for; ``None`` if it waits for no socket."""
        eager = self._eager
        if eager is not None and eager.is_drained and self._protocol.is_starved:
            return eager.socket
        return None

    def read_message(self) -> str | bytes | None:
        """Read without waiting; return the message if that is all that has come.

        Anything else is handled as in `read_step`. Only the active reader calls this, after it has
        waited for `socket_to_read`. A message that passes through the queue costs more.
        """
        if self._queue.is_ready or not self._protocol.is_starved:
            return None  # Another task has read meanwhile.
        assert self._eager is not None
        data = self._receive_nowait(self._eager)
        if data is None:
            return None
        # Most reads bring one whole message. It goes to the caller, past the queue.
        try:
            message = self._protocol.read_single(data)
            if message is not None:
                self._note_received(len(data))
                self._queue.pass_message()
                return message
        except Exception as bug:  # noqa: BLE001 as in `_handle` (X2)
            self._closing.note_bug(bug)
        else:
            self._handle(data)
        return None

    def _read_nowait(self, eager: EagerStream) -> bool:
        """Read what is there; return whether there may be more."""
        if not self._protocol.is_starved:  # Another task has read meanwhile.
            self._handle(None)
            return True
        data = self._receive_nowait(eager)
        if data is None:
            # TLS may have read for a time slice without data. Then it is not drained.
            return not eager.is_drained
        # Bytes have come, so there may be more.
        self._handle(data)
        if self._record.received is not None:
            self._read_end_nowait(eager)
        return True

    def _read_end_nowait(self, eager: EagerStream) -> None:
        """Look for the end of TCP once both Closes are through: it mostly comes at once."""
        is_through = self._record.sent is not None and not self._replies.are_unwritten
        if is_through and not self._record.stream_ended:
            data = self._receive_nowait(eager)
            if data is not None:
                self._handle(data)

    def _receive_nowait(self, eager: EagerStream) -> memoryview | None:
        """Return what has come, nothing at the end of the stream, or ``None`` if nothing has."""
        try:
            size = eager.receive_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._closing.end_of_stream(exc)
            return None
        except Exception as bug:  # noqa: BLE001 as in `_handle` (X2)
            self._closing.note_bug(bug)
            return None
        return None if size is None else eager.buffer[:size]

    def _handle(self, data: bytes | memoryview | None) -> None:
        """Handle data from the stream. If ``None``: handle what the protocol has buffered."""
        self._is_handling = True
        try:
            if data is not None:
                if not data:
                    self._closing.end_of_stream(EOFError("the stream ended"))
                    return
                self._note_received(len(data))
                self._protocol.receive_data(data)
            self._handle_events(self._protocol.next_events())
        except Exception as bug:  # noqa: BLE001 whichever task it struck (X2)
            self._closing.note_bug(bug)
        finally:
            self._is_handling = False

    def _note_received(self, size: int) -> None:
        self.bytes_received += size
        if not self._pings.has_received:
            self._pings.note_received()

    def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            # The events come in the order of the bytes. Each branch only takes note: nothing is
            # written here (R1, readers never write).
            if isinstance(event, tuple):  # a batch
                messages, size = event
                self._queue.put_batch(messages, size)
            elif isinstance(event, Ping):
                self._replies.add_pong(event.payload)
            elif isinstance(event, Pong):
                self._pings.acknowledge(event.payload, trio.current_time())
            elif isinstance(event, CloseFrame):
                self._closing.receive_close(event)
            else:
                self._queue.put(event)
        if self._reads_on and self._queue.messages:
            self._reads_on = False
        is_closing = self._record.closed_by is ClosedBy.CLIENT and self._record.sent is None
        if is_closing and not self._queue.has_room(beside=self._protocol.partial_size):
            # We are closing, but a message of ours is still being written: what the server sends
            # meanwhile must not pile up.
            self._protocol.drop_data()
        # Messages before a violation are handed out first, and their replies have a few ticks to
        # leave.
        if self._protocol.violation is not None:
            self._violation_ticks += 1
            if self._violation_ticks > _VIOLATION_TICKS:
                self._closing.fail_by_violation()

    def read_on(self) -> None:
        """Let the background reader read a message to its end that exceeds the queue (R2)."""
        if not self._may_read_ahead:
            self._reads_on = True
            self._shared_reader.wake_background()

    def make_room(self) -> None:
        """Have the background reader go on if it waits for room, and there is room (R2)."""
        if self._shared_reader.paused.since is not None and self._may_read_ahead:
            self._shared_reader.wake_background()

    # What has arrived (C3)

    def read_arrived_nowait(self) -> bool:
        """Read what has arrived, without waiting; return whether that is all.

        It takes a time slice at most. It reads nothing from a user's own stream.
        """
        eager = self._eager
        if eager is None or self._is_handling:
            return True
        # One time slice at most, as the caller may be in a loop of its own.
        while (has_more := self._read_arrived_once(eager)) and not self._time_slice.is_over:
            pass
        reader = self._shared_reader
        if not reader.is_led_by_receiver:
            reader.serve()
        # The active reader may wait for data that this call has already read, so wake it. An active
        # receiver came first: the claim keeps the first message for it.
        is_concerned = not self._protocol.is_starved or self._record.closed_by is not None
        is_served = reader.is_led_by_receiver and self._queue.is_ready
        if is_served:
            self._queue.claim(True)
        if reader.is_active and (is_concerned or is_served):
            eager.wake_reader()
        elif is_concerned:
            reader.wake_background()
        return not has_more

    def _read_arrived_once(self, eager: EagerStream) -> bool:
        """Do one step of `read_arrived_nowait`; return whether there may be more."""
        protocol, record = self._protocol, self._record
        if record.stream_ended or record.received is not None or protocol.violation is not None:
            return False
        return self._may_read_ahead and self._read_nowait(eager)

    async def read_arrived(self) -> None:
        """Read what has arrived (C3), but no more bytes than the queue may hold.

        If the server never stops sending, the deadline of closing ends this.
        """
        begin = seen = self.bytes_received
        ticks = UNBLOCKED_TICKS
        while (
            self._record.closed_by is None
            and seen - begin <= self._queue.max_buffered_bytes
            and trio.current_time() < self._closing.deadline
        ):
            # The slice is over, but there is more. Let other tasks run.
            if not self.read_arrived_nowait():
                await self._time_slice.checkpoint()
            elif self._eager is not None or ticks == 0:
                break
            else:  # The background reader reads a user's stream.
                await trio.lowlevel.checkpoint()
                ticks -= 1
            if self.bytes_received != seen:
                seen, ticks = self.bytes_received, UNBLOCKED_TICKS
