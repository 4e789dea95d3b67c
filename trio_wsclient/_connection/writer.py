"""The writing side: frames in their order, with replies before and between them.

W1 (order): bytes leave in the order in which they were made, because frames are made while the
stream is owned. A Close is made when it is decided; the protocol makes nothing after it.

W2 (no torn frames): if cancelled before its frame is made, a write has no effect. If cancelled
later, the frame is torn: nothing more is written, and the connection has failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain
from typing import Final

import trio

from trio_wsclient._connection.closing import ClosingHandshake
from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.replies import Replies
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._connection.slot import Slot
from trio_wsclient._net.sockets import EagerStream
from trio_wsclient._protocol.events import Opcode
from trio_wsclient._protocol.frames import PIECE_SIZE
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, Stopwatch, TimeSlice, call_after_ticks

# Bytes that a user's own stream gets at a time. The keepalive sees a slow upload move once for each
# piece; with our own streams it sees each system call.
_USER_PIECE_SIZE: Final = 65_536


class FrameWriter:
    """The writing side of a connection.

    The stream is free, or one task owns it during a write. Other tasks wait, first come, first
    served.

    Args:
        stream: Where to write.
        protocol: What makes frames.
        reader: Where a blocked write asks for an active reader (R1).
        pings: Where progress is noted for the keepalive.
        replies: The control frames that are due.
        closing: Where a failed or torn write is noted.
        time_slice: The time slice of the connection.

    Attributes:
        bytes_sent: How many bytes the stream has taken.
        time_blocked: Runs while a write is under way.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        *,
        reader: SharedReader,
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
        self._pings = pings
        self._replies = replies
        self._closing = closing
        self._time_slice = time_slice
        self._slot = Slot()
        self._unflushed = 0  # bytes of a write without waiting that the stream has not taken
        self.bytes_sent: int = 0
        self.time_blocked: Final = Stopwatch()

    # Frames of the user

    async def write(self, make: Callable[[], Iterable[bytes | bytearray]]) -> bool:
        """Make and write a frame; return whether that was done, or the connection is over.

        Args:
            make: Called once the stream is owned; not at all if the frame can't be written, or the
                call is cancelled first. The first piece has the header of the frame.
        """
        await self._time_slice.checkpoint()
        await self._slot.acquire()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # W2 (no torn frames)
            if not self._record.may_send:
                return False
            # A ping that came before this message is answered before it.
            replies = self._replies.take()
            pieces = iter(make())
            first = replies + next(pieces)
            if not self._record.may_send:
                self._closing.note_end()  # An extension has failed: no part of this is written.
                return False
            return await self._write_all(first, pieces)
        finally:
            self._slot.release()

    def write_nowait(self, opcode: Opcode, payload: bytes) -> bool | None:
        """Write a message if that is possible without waiting.

        Returns:
            Whether it was written; ``None`` if the stream has taken only a part of it. Then this
            task owns the stream, and has to call `finish` next.
        """
        # Any of these makes the frame wait: another writer, a stream that can't be tried, a
        # connection that is ending, or a reply that has to go first.
        if (
            self._slot.owner is not None
            or self._eager is None
            or self._record.closed_by is not None
            or self._record.write_error is not None
            or self._replies.are_wanted
        ):
            return False
        # From here on the frame is part of the order of bytes (W1, order): it must be written.
        data = self._protocol.send_data(opcode, payload)
        if not data:
            self._closing.note_end()  # An extension has failed.
            return False
        try:
            is_gone = self._eager.send_nowait(data)
        except Exception as exc:  # noqa: BLE001 as in `_finish`
            return self._fail(exc)
        if is_gone:
            self.bytes_sent += len(data)
            return True
        # The stream has taken a part, so this task owns it until `finish` has written the rest.
        self._slot.line_up()
        self._unflushed = len(data)
        return None

    async def finish(self) -> bool:
        """Have the stream take the rest of a message after `write_nowait`."""
        try:
            return await self._finish(self._flush(self._unflushed))
        finally:
            self._slot.release()

    # Replies

    async def write_replies(self) -> None:
        """Write the control frames that are due."""
        await self._slot.acquire()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # W2 (no torn frames)
            if self._record.write_error is not None:
                return
            could_send = self._record.may_send
            data = self._replies.take()
            if could_send and not self._record.may_send:
                self._closing.note_end()  # An extension has failed: only our Close is left.
                data = self._replies.take()
            if data:
                await self._write_all(data)
        finally:
            self._slot.release()

    async def write_replies_nowait(self) -> bool:
        """Write what is due if the stream takes it within a few ticks; return whether it did."""
        with trio.CancelScope(shield=True) as scope:
            is_done = False
            call_after_ticks(UNBLOCKED_TICKS, scope.cancel, unless=lambda: is_done)
            await self.write_replies()
            is_done = True
            return self._record.write_error is None
        return False  # The ticks ran out. If a frame was under way, it is torn.

    # Writing

    async def _write_all(self, first: bytes, rest: Iterable[bytes | bytearray] = ()) -> bool:
        """Write while the stream is owned; return whether the stream has taken it all."""
        return await self._finish(self._send(chain((first,), rest)))

    async def _finish(self, sending: Awaitable[None]) -> bool:
        # While this runs, only the latest ping is kept for an answer (R3, pongs are bounded).
        self.time_blocked.start()
        self._replies.note_write_begins()
        try:
            await sending
        except Exception as exc:  # noqa: BLE001 a user's stream may raise any exception
            return self._fail(exc)
        except BaseException:  # W2 (no torn frames): cancelled
            torn = trio.BrokenResourceError("a write was cancelled halfway, so a frame is torn")
            self._closing.fail(torn)
            await self._closing.close_forcefully()  # noqa: ASYNC102 shielded inside
            raise
        finally:
            self._replies.note_write_ends()
            self.time_blocked.stop()
        return True

    def _fail(self, error: Exception) -> bool:
        self._closing.note_write_error(error)
        return False

    async def _send(self, data: Iterable[bytes | bytearray]) -> None:
        is_first = True
        size = PIECE_SIZE if self._eager is not None else _USER_PIECE_SIZE
        for piece in chain.from_iterable(_split(each, size) for each in data):
            if self._eager is None:
                # C1 (leaving always ends): a stream may not wake its writer when it is closed. It
                # needs no `need`, because its background reader never rests.
                with self._closing.scope() as scope:
                    await self._stream.send_all(piece)
                if scope.cancelled_caught:
                    raise trio.ClosedResourceError("the connection was closed")
                self._note_sent(len(piece))
                continue
            if not is_first:
                await self._time_slice.checkpoint()
            is_first = False
            if self._eager.send_nowait(piece):
                self._note_sent(len(piece))
            else:
                await self._flush(len(piece))

    async def _flush(self, size: int) -> None:
        assert self._eager is not None
        # R1 (readers never write): the server may want to be read first.
        self._shared_reader.need()
        try:
            while not await self._eager.flush_some():
                self._pings.note_written()
        finally:
            self._shared_reader.need_no_more()
        self._note_sent(size)

    def _note_sent(self, size: int) -> None:
        self.bytes_sent += size
        self._pings.note_written()


def _split(data: bytes | bytearray, size: int) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), size):
        yield view[start : start + size]
