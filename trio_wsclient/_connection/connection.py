"""The open connection on a stream: reading, writing, replying, closing.

Theory of operation
-------------------

Two tasks of the connection run in the background, and a third one on request. The receive task is
the background reader, see `shared_reader`. The reply task writes what is due while no other task
writes, and closes the stream at the end. The keepalive task pings. Everything else runs in the
caller's task.

The tasks are shielded: after the block is cancelled, its body may continue in a shielded scope, and
still needs them. Leaving the block closes the stream, which ends them. The code cites these
invariants:

R1 (readers never write): the step that reads never writes, and waits for nothing but the stream. A
    server that writes before it reads would stall both sides. The reply task, or the next task that
    writes, sends the replies. While a write is blocked, the background reader reads, as long as the
    queue has room.
R2 (control frames are always handled): the background reader reads even if no task receives, until
    the queue is full. Then TCP pushes back, and the keepalive's clock stops.
R3 (pongs are bounded): see `replies`.
W1 (order), W2 (no torn frames): see `writer`. W3 (no interleaving): see `sending`.
C1 (leaving always ends): see `closing`.
C2 (cancel closes at once): `close_nowait` waits for nobody.
C3 (what arrived counts): before the client decides to close, it handles everything that it can read
    without waiting. The user can still take those messages. A Close among them counts.
X2 (background tasks never raise): the end of the connection is recorded, and the next call raises
    it. Any other exception is a bug of ours: then the receive task raises it, which cancels the
    block, and calls raise `WebSocketInternalError`.
N1 (linear cost): each waiting task has its own place in a queue, or its own event. Serving one task
    does not wake the others.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import enable_ki_protection, wait_readable

from trio_wsclient._connection.closing import ClosingHandshake
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._connection.replies import Replies
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._connection.slot import Slot
from trio_wsclient._connection.writer import FrameWriter
from trio_wsclient._errors import ClosedOnSend
from trio_wsclient._net.sockets import READ_SIZE, EagerStream
from trio_wsclient._observe import Log
from trio_wsclient._protocol.closing import ClosedBy, CloseFrame
from trio_wsclient._protocol.events import Event, Ping, Pong
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, TimeSlice

# Scheduler ticks for which a violation is held back, so that the reply to a message before it can
# still leave: to receive and to send takes 4. (Autobahn wants that reply: 3.2, 4.1.3, 5.15.)
_VIOLATION_TICKS: Final = 16

# Seconds to wait for the end of TCP after both Close frames. Then the client ends its side, because
# some servers wait for that.
_HALF_CLOSE_PATIENCE: Final = 0.5


class Connection:
    """A WebSocket connection after the handshake.

    Args:
        stream: The stream that it runs on, and closes.
        protocol: The protocol, with the record of how the connection ends.
        queue: The received messages.
        log: The log of the connection.
        close_timeout: Seconds that a closing handshake may take.
        shares_reading: Whether callers may read the stream. False for a user's own stream, which
            may require that one task does all reads.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        queue: ReceiveQueue,
        log: Log,
        *,
        close_timeout: float,
        shares_reading: bool,
    ) -> None:
        self._stream = stream
        self._eager = stream if isinstance(stream, EagerStream) else None
        self._violation_ticks = 0
        # True while `_handle` runs. It calls observers, and their calls must not read again.
        self._is_handling = False
        # Whether `receive_nowait` wants the message under way, which is larger than the queue.
        self._reads_on = False
        self.time_slice: Final = TimeSlice() if self._eager is None else self._eager.time_slice
        self.protocol: Final = protocol
        self.record: Final = protocol.closing
        self.log: Final = log
        self.queue: Final = queue
        self.reader: Final = SharedReader(queue, is_shared=shares_reading)
        self.pings: Final = Pings(self.reader.paused)
        self.replies: Final = Replies(protocol, self.pings)
        self.message_slot: Final = Slot()
        self.closing: Final = ClosingHandshake(
            stream,
            protocol,
            reader=self.reader,
            message_slot=self.message_slot,
            pings=self.pings,
            replies=self.replies,
            close_timeout=close_timeout,
            connection_id=log.connection_id,
        )
        self.writer: Final = FrameWriter(
            stream,
            protocol,
            reader=self.reader,
            pings=self.pings,
            replies=self.replies,
            closing=self.closing,
            time_slice=self.time_slice,
        )
        self.bytes_received: int = 0

    # Reading

    @enable_ki_protection
    async def receive_task(self) -> None:
        """Be the background reader until nothing more can be read."""
        try:
            with self.closing.scope(shield=True):
                await self._read_in_background()
        except Exception as bug:  # noqa: BLE001 every call raises it (X2)
            self.closing.note_bug(bug)
        # Outside of the scope, because `note_bug` has cancelled the scope.
        if self.closing.bug is not None:
            raise self.closing.bug  # X2 (background tasks never raise) but for a bug

    async def _read_in_background(self) -> None:
        reader, record = self.reader, self.record
        rests_next = False  # because receivers are reading
        while not record.stream_ended:
            if rests_next and not reader.is_needed:
                await reader.rest()
                rests_next = False
            elif reader.is_active:
                await reader.stand_by()
                # If a receiver took the role first, it will likely come back, so rest.
                rests_next = reader.is_active
            elif not self._may_read_ahead:
                await reader.pause()
            else:
                reader.enter_background()
                rests_next = False
                try:
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
            self.queue.has_room(beside=self.protocol.partial_size)
            or self.reader.has_parked
            or self._reads_on
            or self.record.closed_by is not None
            or self.protocol.violation is not None
        )

    async def read_step(self) -> None:
        """Read once, and handle the data. Only the active reader calls this.

        If cancelled: nothing was read. R1 (readers never write): it never writes, and waits for
        nothing but the stream.
        """
        protocol, eager = self.protocol, self._eager
        if not protocol.is_starved:
            if protocol.violation is None:
                await self.time_slice.checkpoint()
            else:
                await trio.lowlevel.checkpoint()  # It takes effect after `_VIOLATION_TICKS`.
            self._handle(None)
        elif eager is None:
            try:
                data = bytes(await self._stream.receive_some(READ_SIZE))
            except Exception as exc:  # noqa: BLE001 a user's stream may raise any exception
                self.closing.end_of_stream(exc)
            else:
                self._handle(data)
        elif eager.is_drained:
            try:
                await wait_readable(eager.socket)
            except trio.ClosedResourceError as exc:
                if eager.socket.fileno() == -1:
                    self.closing.end_of_stream(exc)
                    return
                # Otherwise `wake_reader` has woken this task, because another one has read.
            except (OSError, ValueError, trio.BusyResourceError) as exc:
                # The descriptor is closed, or its number is in use elsewhere.
                self.closing.end_of_stream(exc)
                return
            self.time_slice.renew()
            self._read_nowait(eager)
        else:
            await self.time_slice.checkpoint()
            self._read_nowait(eager)

    def _read_nowait(self, eager: EagerStream) -> bool:
        """Read what is there; return whether there was something."""
        if not self.protocol.is_starved:  # Another task has read meanwhile.
            self._handle(None)
            return True
        try:
            data = eager.receive_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.closing.end_of_stream(exc)
            return False
        if data is not None:
            self._handle(data)
        return data is not None

    def _handle(self, data: bytes | None) -> None:
        """Handle data from the stream. If ``None``: handle what the protocol has buffered."""
        self._is_handling = True
        try:
            if data is not None:
                if not data:
                    self.closing.end_of_stream(EOFError("the stream ended"))
                    return
                self.bytes_received += len(data)
                if not self.pings.has_received:
                    self.pings.note_received()
                self.protocol.receive_data(data)
            self._handle_events(self.protocol.next_events())
        except Exception as bug:  # noqa: BLE001 whichever task it struck (X2)
            self.closing.note_bug(bug)
        finally:
            self._is_handling = False

    def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, tuple):  # a batch
                messages, size = event
                self.queue.put_batch(messages, size)
            elif isinstance(event, Ping):
                self.replies.add_pong(event.payload)
            elif isinstance(event, Pong):
                self.pings.acknowledge(event.payload, trio.current_time())
            elif isinstance(event, CloseFrame):
                self.closing.receive_close(event)
            else:
                self.queue.put(event)
        if self._reads_on and self.queue.messages:
            self._reads_on = False
        is_closing = self.record.closed_by is ClosedBy.CLIENT and self.record.sent is None
        if is_closing and not self.queue.has_room(beside=self.protocol.partial_size):
            # We are closing, but a message of ours is still being written: what the server sends
            # meanwhile must not pile up.
            self.protocol.drop_data()
        if self.protocol.violation is not None:
            self._violation_ticks += 1
            if self._violation_ticks > _VIOLATION_TICKS:
                self.closing.fail_by_violation()

    def read_on(self) -> None:
        """Let the background reader read a message to its end that exceeds the queue (R2)."""
        if not self._may_read_ahead:
            self._reads_on = True
            self.reader.wake_background()

    def make_room(self) -> None:
        """Have the background reader go on if it waits for room, and there is room (R2)."""
        if self.reader.paused.since is not None and self._may_read_ahead:
            self.reader.wake_background()

    # What has arrived (C3)

    def read_arrived_nowait(self) -> bool:
        """Read what has arrived, without waiting; return whether that is all.

        It takes a time slice at most. It reads nothing from a user's own stream.
        """
        eager = self._eager
        if eager is None or self._is_handling:
            return True
        while (has_more := self._read_arrived_once(eager)) and not self.time_slice.is_over:
            pass
        reader = self.reader
        if not reader.is_led_by_receiver:
            reader.serve()
        # The active reader may wait for data that this call has already read, so wake it. An active
        # receiver came first: the claim keeps the first message for it.
        is_concerned = not self.protocol.is_starved or self.record.closed_by is not None
        is_served = reader.is_led_by_receiver and self.queue.is_ready
        if is_served:
            self.queue.claim(True)
        if reader.is_active and (is_concerned or is_served):
            eager.wake_reader()
        elif is_concerned:
            reader.wake_background()
        return not has_more

    def _read_arrived_once(self, eager: EagerStream) -> bool:
        """Do one step of `read_arrived_nowait`; return whether there may be more."""
        protocol, record = self.protocol, self.record
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
            self.record.closed_by is None
            and seen - begin <= self.queue.max_buffered_bytes
            and trio.current_time() < self.closing.deadline
        ):
            if not self.read_arrived_nowait():
                await self.time_slice.checkpoint()
            elif self._eager is not None or ticks == 0:
                break
            else:  # The background reader reads a user's stream.
                await trio.lowlevel.checkpoint()
                ticks -= 1
            if self.bytes_received != seen:
                seen, ticks = self.bytes_received, UNBLOCKED_TICKS

    # Replies

    @enable_ki_protection
    async def reply_task(self) -> None:
        """Write what is due, and see a closing connection to its end."""
        closing = self.closing
        try:
            with closing.scope(shield=True):
                await self._reply()
        except Exception as bug:  # noqa: BLE001 `receive_task` raises it (X2)
            closing.note_bug(bug)
        finally:
            await closing.close_forcefully()  # noqa: ASYNC102 shielded inside

    async def _reply(self) -> None:
        record = self.record
        has_ended = has_half_closed = False
        while not has_ended:
            if has_half_closed or record.received is None or record.sent is None:
                await self.replies.wait_wanted()
            else:
                with trio.move_on_after(_HALF_CLOSE_PATIENCE) as patience:
                    await self.replies.wait_wanted()
                if patience.cancelled_caught:
                    has_half_closed = True
                    await self._half_close()
            # Replies that were due before the end may still be written, so write once more.
            has_ended = record.stream_ended
            await self.writer.write_replies()

    async def _half_close(self) -> None:
        """End our side of TCP, after both Closes: some servers wait for the client to do so."""
        self.log.debug("waiting for the server to end TCP")
        if self._eager is not None:
            self._eager.half_close()
        elif isinstance(self._stream, trio.abc.HalfCloseableStream):
            with suppress(Exception):  # A user's stream may raise anything.
                await self._stream.send_eof()

    # Pings

    def request_ping(self, payload: bytes) -> None:
        """Have a ping written as soon as that is possible."""
        self.pings.request(payload)
        self.replies.want()
        self.reader.wake_background()  # The latency includes the time until the pong is read.

    async def ping(self, payload: bytes) -> float:
        """Send a ping and wait for its pong; return after how many seconds it came."""
        ping = self.pings.reserve(payload)

        def make() -> list[bytes]:
            self.pings.mark_sent(payload, ping, trio.current_time())
            return [self.protocol.send_ping(payload)]

        try:
            if self.record.closed_by is None and await self.writer.write(make):
                self.reader.need()
                try:
                    await ping.wait()
                finally:
                    self.reader.need_no_more()
        finally:
            self.pings.forget(payload, ping)
        if ping.seconds is None:
            raise await self.closing.wait_close_error(ClosedOnSend)
        return ping.seconds

    # Closing

    async def fail_nowait(self, cause: BaseException, code: int, *, linger: bool) -> None:
        """Fail the connection, with a Close only if that can be written without waiting.

        Args:
            cause: Why.
            code: The code of the Close.
            linger: Whether to give the server time to end TCP after our Close was written.
        """
        if self.record.closed_by is None:
            self.read_arrived_nowait()  # C3 (what arrived counts)
        if self.record.closed_by is not None:
            return  # Another call has already ended the connection.
        self.closing.fail(cause, code)
        is_written = False
        try:
            is_written = await self.writer.write_replies_nowait()
        finally:
            if not (is_written and linger):
                await self.closing.close_forcefully()  # noqa: ASYNC102 shielded inside

    async def close(self, code: int, reason: str = "") -> None:
        """Close (RFC 6455 §7.1.2); cancelled, close the stream at once.

        It returns when the server has ended TCP (RFC 6455 §7.1.1), or after ``close_timeout``.
        If the connection is closing already, it waits until that is done.
        """
        closing = self.closing
        try:
            closing.start_deadline()
            try:
                await self.read_arrived()
            finally:
                closing.decide(code, reason)  # also if cancelled
            with closing.scope():
                await self._finish_message()
                await self.writer.write_replies()
                await closing.stream_closed.wait()
        finally:
            await closing.close_forcefully()  # noqa: ASYNC102 shielded inside

    async def _finish_message(self) -> None:
        """Wait up to half of ``close_timeout`` for the message under way; then make our Close."""
        slot, closing, record = self.message_slot, self.closing, self.record
        with trio.move_on_after(closing.close_timeout / 2):
            # Whatever changes how the connection ends dismisses the line of the slot, and this task
            # with it. Then it lines up again.
            while record.may_send and slot.owner not in {None, trio.lowlevel.current_task()}:
                if await slot.acquire():
                    closing.send_close()
                    slot.release()
        closing.send_close(is_unfinished=slot.owner is not None)

    async def close_nowait(self) -> None:
        """Close without waiting for anybody (C2)."""
        if self.record.closed_by is None:
            self.read_arrived_nowait()  # C3 (what arrived counts)
        self.closing.decide(1001)
        self.closing.send_close(is_unfinished=self.message_slot.owner is not None)
        try:
            await self.writer.write_replies_nowait()
        finally:
            await self.closing.close_forcefully()  # noqa: ASYNC102 shielded inside
