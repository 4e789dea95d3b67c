"""What is written to the stream: messages in their turn, and replies with them or in between.

Of the invariants in ``_connection`` these are held here:

W1  Bytes leave in the order in which they were serialised: that is done under the write lock. A
    Close is serialised when it is decided; the protocol refuses to serialise anything behind it.
W2  Cancelled before it is serialised, a write has not happened. Cancelled later, the frame is torn:
    nothing more is written, and the connection has failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain
from typing import Final

import trio

from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.pongs import Pongs
from trio_wsclient._net.sockets import EagerStream
from trio_wsclient._protocol.closing import State
from trio_wsclient._protocol.events import Opcode
from trio_wsclient._protocol.frames import PIECE_SIZE
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, Stopwatch, TimeSlice, call_after_ticks

_QUICK: Final = 4096  # bytes that a socket has room for, unless the server is slow


class Outbox:
    """The writing side of a connection.

    Args:
        stream: Where to write.
        protocol: What serialises.
        pings: Where the keepalive's ping is due.
        clock: Seconds, on the clock of the keepalive.
        tear: Called when a frame is torn (W2), to fail the connection and close the stream.
        broken: Called when the stream has failed to take something, or an extension to make it.
        slow: Called before a write that the server may let wait until it is read.
        time_slice: The time slice of the connection.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        pings: Pings,
        *,
        clock: Callable[[], float],
        tear: Callable[[], Awaitable[None]],
        broken: Callable[[], None],
        slow: Callable[[], None],
        time_slice: TimeSlice,
    ) -> None:
        self._stream = stream
        self._eager = stream if isinstance(stream, EagerStream) else None
        self._protocol = protocol
        self._closing = protocol.closing
        self._pings = pings
        self._clock = clock
        self._tear = tear
        self._broken = broken
        self._slow = slow
        self._time_slice = time_slice
        self._lock = trio.Lock()
        self._wanted = trio.Event()
        self._last_pongs = b""  # those that go before our Close
        self.error: Exception | None = None  # why nothing can be written any more
        self.unflushed: int = 0  # bytes of a write at once that the stream has not taken as a whole
        self.bytes_sent: int = 0
        self.pings_received: int = 0
        self._pongs = Pongs(is_writing=self._lock.locked)
        self.time_blocked: Final = Stopwatch()  # runs while a write waits for the stream

    @property
    def is_open(self) -> bool:
        return self.error is None and self._closing.state is State.OPEN

    @property
    def is_done(self) -> bool:
        """Whether the connection is over, and there is nothing more to write."""
        is_writing = self._lock.locked() or self.unflushed
        return not (self.is_open or is_writing or self._protocol.close_is_due)

    async def write(self, serialize: Callable[[], Iterable[bytes | bytearray]]) -> bool:
        """Serialise and write; return whether that was done, or the connection is over.

        Args:
            serialize: Called once it can be written; not at all if it can't, or is cancelled first.
                The first of the pieces has the header of the frame, and the last may come late.
        """
        await self._time_slice.checkpoint()
        await self._acquire()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # W2
            if not self.is_open:
                return False
            # What came first is answered first: a ping, before the message behind it.
            replies = self._take_replies()
            pieces = iter(serialize())
            first = replies + next(pieces)
            if not self.is_open:
                self._broken()  # An extension has failed: nothing of this is written.
                return False
            return await self._write_all(first, pieces)
        finally:
            self._lock.release()

    async def _acquire(self) -> None:
        if self._lock.locked():
            await self._lock.acquire()
        else:
            self._lock.acquire_nowait()

    @property
    def may_write_at_once(self) -> bool:
        """Whether a message need not wait for anything but the stream."""
        return (
            self._eager is not None
            and self._closing.closed_by is None
            and self.error is None
            and not (self._lock.locked() or self._wanted.is_set())
        )

    def write_at_once(self, opcode: Opcode, payload: bytes) -> bool:
        """Write a message that may be written at once; return as ``write``.

        If something of it is ``unflushed`` then, ``flush`` has to be awaited, and nothing else
        before.
        """
        data = self._protocol.send_data(opcode, payload)
        if not data:
            self._broken()  # An extension has failed.
            return False
        return self._write_at_once(data)

    def _write_at_once(self, data: bytes) -> bool:
        assert self._eager is not None
        try:
            is_gone = self._eager.send_nowait(data)
        except Exception as exc:  # noqa: BLE001 as in `_finish`
            return self._fail(exc)
        if is_gone:
            self.bytes_sent += len(data)
        else:
            self.unflushed = len(data)
        return True

    async def flush(self) -> bool:
        """Have the stream take the rest of a message that was written at once."""
        self._lock.acquire_nowait()  # Nothing was awaited since: it is free still.
        try:
            return await self._finish_flushing()
        finally:
            self._lock.release()

    async def _finish_flushing(self) -> bool:
        size, self.unflushed = self.unflushed, 0
        return await self._finish(self._flush(size))

    def prepare_for_close(self) -> None:
        """Serialise the pongs that are due: behind a Close nothing can be (RFC 6455 §5.5.1)."""
        if self.is_open:
            self._last_pongs = self._serialize_pongs()

    def want_replies(self) -> None:
        """Have the replies that are due written soon, by whoever writes next."""
        self._wanted.set()

    async def wait_wanted(self) -> None:
        """Wait until replies are due."""
        if not self._wanted.is_set():
            await self._wanted.wait()
        self._wanted = trio.Event()

    async def write_replies(self) -> None:
        """Write pongs, pings and Close, in their turn."""
        await self._acquire()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # W2
            if self.unflushed:
                await self._finish_flushing()
            if self.error is None:
                was_open = self.is_open
                data = self._take_replies()
                if was_open and not self.is_open:
                    self._broken()  # An extension has failed: the Close is what is left to say.
                    data = self._take_replies()
                if data:
                    await self._write_all(data)
        finally:
            self._lock.release()

    def write_close_at_once(self) -> None:
        """Write the Close if that need not wait for anything; else ``write_replies`` has to."""
        if self._eager is None or self._lock.locked() or self.error is not None:
            return
        data = self._take_replies()
        if data:
            self._write_at_once(data)

    async def write_replies_at_once(self) -> bool:
        """Write them if that need not wait for the server; return whether it is done."""
        with trio.CancelScope(shield=True) as scope:
            is_done = False
            call_after_ticks(UNBLOCKED_TICKS, scope.cancel, unless=lambda: is_done)
            await self.write_replies()
            is_done = True
            return self.error is None
        return False

    def add_pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.pings_received += 1
        if not self.is_open:
            return
        self._pongs.add(payload)
        self._wanted.set()

    async def _write_all(self, first: bytes, rest: Iterable[bytes | bytearray] = ()) -> bool:
        """Write, under the lock; return whether the stream has taken it all."""
        return await self._finish(self._send(chain((first,), rest)))

    async def _finish(self, sending: Awaitable[None]) -> bool:
        self.time_blocked.start()
        self._pongs.write_begins()
        try:
            await sending
        except Exception as exc:  # noqa: BLE001 a user's stream may raise anything: it is over
            return self._fail(exc)
        except BaseException:  # W2: cancelled
            await self._tear()  # noqa: ASYNC102 shielded inside
            raise
        finally:
            self._pongs.write_ends()
            self.time_blocked.stop()
        return True

    def _fail(self, error: Exception) -> bool:
        self.error = error
        self._broken()
        return False

    async def _send(self, data: Iterable[bytes | bytearray]) -> None:
        is_first = True
        for piece in chain.from_iterable(map(_cut, data)):
            if self._eager is None:
                if len(piece) > _QUICK:
                    self._slow()
                await self._stream.send_all(piece)
                self._moved(len(piece))
                continue
            if not is_first:
                await self._time_slice.checkpoint()
            is_first = False
            if self._eager.send_nowait(piece):
                self._moved(len(piece))
            else:
                await self._flush(len(piece))

    async def _flush(self, size: int) -> None:
        assert self._eager is not None
        self._slow()
        await self._eager.flush()
        self._moved(size)

    def _moved(self, size: int) -> None:
        self.bytes_sent += size
        if self._pings.due is not None:
            self._pings.moved(self._clock())

    def _serialize_pongs(self) -> bytes:
        return b"".join(map(self._protocol.send_pong, self._pongs.take()))

    def _take_replies(self) -> bytes:
        """Serialise pongs and the keepalive's ping, or take the Close."""
        if not self.is_open:
            pongs, self._last_pongs = self._last_pongs, b""
            return pongs + self._protocol.take_close()
        data = self._serialize_pongs()
        if self._pings.due is not None:
            payload = self._pings.take_due(self._clock(), trio.current_time())
            data += self._protocol.send_ping(payload)
        return data


def _cut(data: bytes | bytearray) -> Iterator[memoryview]:
    """Cut into pieces, so that the keepalive sees a slow upload move."""
    view = memoryview(data)
    for start in range(0, len(data), PIECE_SIZE):
        yield view[start : start + PIECE_SIZE]
