"""The open connection on a stream: its parts, its replies, and how it closes.

Theory of operation
-------------------

One task of the connection always runs in the background, and two more if they are needed. The
receive task is the background reader, see `stream_reader`. The reply task writes what is due while
no other task writes, and closes the stream at the end. It is started when something is due, see
`replies`. The keepalive task pings. Everything else runs in the caller's task.

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
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection.closing import ClosingHandshake
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._connection.replies import Replies
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._connection.slot import Slot
from trio_wsclient._connection.stream_reader import StreamReader
from trio_wsclient._connection.writer import FrameWriter
from trio_wsclient._errors import ClosedOnSend
from trio_wsclient._net.sockets import EagerStream
from trio_wsclient._observe import Log
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import TimeSlice

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
        self.time_slice: Final = (
            stream.time_slice if isinstance(stream, EagerStream) else TimeSlice()
        )
        self.protocol: Final = protocol
        self.record: Final = protocol.closing
        self.log: Final = log
        self.queue: Final = queue
        self.shared_reader: Final = SharedReader(queue, is_shared=shares_reading)
        self.pings: Final = Pings(self.shared_reader.paused)
        self.replies: Final = Replies(protocol, self.pings)
        self.message_slot: Final = Slot()
        self.closing: Final = ClosingHandshake(
            stream,
            protocol,
            reader=self.shared_reader,
            message_slot=self.message_slot,
            pings=self.pings,
            replies=self.replies,
            close_timeout=close_timeout,
            connection_id=log.connection_id,
        )
        self.writer: Final = FrameWriter(
            stream,
            protocol,
            reader=self.shared_reader,
            pings=self.pings,
            replies=self.replies,
            closing=self.closing,
            time_slice=self.time_slice,
        )
        self.stream_reader: Final = StreamReader(
            stream,
            protocol,
            reader=self.shared_reader,
            queue=queue,
            pings=self.pings,
            replies=self.replies,
            closing=self.closing,
            time_slice=self.time_slice,
        )

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
            # Before both Closes are through, there is no reason to hurry the server.
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
        if isinstance(self._stream, EagerStream):
            self._stream.half_close()
        elif isinstance(self._stream, trio.abc.HalfCloseableStream):
            with suppress(Exception):  # A user's stream may raise anything.
                await self._stream.send_eof()

    # Pings

    def request_ping(self, payload: bytes) -> None:
        """Have a ping written as soon as that is possible."""
        self.pings.request(payload)
        self.replies.want()
        # The latency includes the time until the pong is read.
        self.shared_reader.wake_background()

    async def ping(self, payload: bytes) -> float:
        """Send a ping and wait for its pong; return after how many seconds it came."""
        ping = self.pings.reserve(payload)

        def make() -> list[bytes]:
            self.pings.mark_sent(payload, ping, trio.current_time())
            return [self.protocol.send_ping(payload)]

        try:
            # The latency begins when the frame is made, not when this task begins to wait for the
            # stream.
            if self.record.closed_by is None and await self.writer.write(make):
                self.shared_reader.need()
                # Somebody has to read the pong, also during a rest of the background reader.
                try:
                    await ping.wait()
                finally:
                    self.shared_reader.need_no_more()
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
            self.stream_reader.read_arrived_nowait()  # C3 (what arrived counts)
        if self.record.closed_by is not None:
            return  # Another call has already ended the connection.
        # Now it is known how the connection ends. The rest only tells the server.
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
                await self.stream_reader.read_arrived()
            finally:
                # While this task waits for a message under way, it can't reply.
                replies_here = self.message_slot.owner is None and self.replies.become_reply_task()
                closing.decide(code, reason)  # also if cancelled
            # Everything below waits for the server: the deadline ends it (C1, leaving always ends).
            with closing.scope():
                await self._finish_message()
                # This task does the work of the reply task, which saves a task for each connection.
                if replies_here:
                    await self._reply()
                else:
                    await self.writer.write_replies()
                    await closing.stream_closed.wait()
        except Exception as bug:  # noqa: BLE001 each call raises it (X2)
            closing.note_bug(bug)
        finally:
            await closing.close_forcefully()  # noqa: ASYNC102 shielded inside

    async def _finish_message(self) -> None:
        """Wait up to half of ``close_timeout`` for the message under way; then make our Close."""
        slot, closing, record = self.message_slot, self.closing, self.record
        if slot.owner is not None:
            with trio.move_on_after(closing.close_timeout / 2):
                # Whatever changes how the connection ends dismisses the line of the slot, and this
                # task with it. Then it lines up again.
                while record.may_send and slot.owner not in {None, trio.lowlevel.current_task()}:
                    if await slot.acquire():
                        closing.send_close()
                        slot.release()
        closing.send_close(is_unfinished=slot.owner is not None)

    async def close_nowait(self) -> None:
        """Close without waiting for anybody (C2)."""
        if self.record.closed_by is None:
            self.stream_reader.read_arrived_nowait()  # C3 (what arrived counts)
        self.closing.decide(1001)
        self.closing.send_close(is_unfinished=self.message_slot.owner is not None)
        try:
            await self.writer.write_replies_nowait()
        finally:
            await self.closing.close_forcefully()  # noqa: ASYNC102 shielded inside
