"""The calls that receive: messages, lists of messages, frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import trio
from trio.lowlevel import enable_ki_protection, wait_readable

from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.shared_reader import Woken
from trio_wsclient._connection.stream_reader import WAIT_ERRORS
from trio_wsclient._errors import ClosedOnReceive
from trio_wsclient._protocol.events import DataFrame

_T = TypeVar("_T")


class Receiver:
    """The consumers' side of a connection.

    If cancelled: a call has taken nothing, because it never waits after it has taken.
    """

    def __init__(self, connection: Connection) -> None:
        self._closing = connection.closing
        self._stream_reader = connection.stream_reader
        self._queue = connection.queue
        self._record = connection.record
        self._shared_reader = connection.shared_reader
        self._time_slice = connection.time_slice
        self.tasks_waiting: int = 0

    async def receive_frame(self) -> DataFrame:
        """Wait for a frame and take it, or raise what ended the connection."""
        await self._time_slice.checkpoint()
        if self.tasks_waiting:
            raise trio.BusyResourceError("another task is receiving")
        self._queue.want_frame(True)
        try:
            return await self.take(self._queue.take_frame)
        finally:
            self._queue.want_frame(False)

    async def take(self, take: Callable[[], _T], *, is_message: bool = False) -> _T:
        """Wait until the queue is ready, and take from it; or raise what ended the connection.

        Args:
            take: Takes what the caller wants from the queue.
            is_message: Whether that is a single message.
        """
        queue, record, reader = self._queue, self._record, self._shared_reader
        stream_reader = self._stream_reader
        self.tasks_waiting += 1  # before the first wait: `frames` allows no other consumer
        is_active = False
        try:
            if queue.is_ready:
                await self._time_slice.checkpoint()
            # Either nothing is here, or the first message is claimed by a receiver that came
            # before.
            if queue.is_claimed or (not queue.is_ready and record.closed_by is None):
                # Read, if nobody else does. Otherwise wait in line for a message, or for the role.
                is_active = reader.enter()
                if not is_active:
                    taken = await reader.park(take)
                    if not isinstance(taken, Woken):
                        return taken
                    is_active = taken is Woken.TO_READ
                while is_active and not queue.is_ready and record.closed_by is None:
                    socket = stream_reader.socket_to_read if is_message else None
                    if socket is None:
                        await stream_reader.read_step()
                        continue
                    # This is the usual case of `read_step`. The wait is here, because each
                    # coroutine that is suspended during the wait costs time.
                    try:
                        await wait_readable(socket)
                    except WAIT_ERRORS as exc:
                        stream_reader.note_wait_error(exc)
                    else:
                        self._time_slice.renew()
                        message = stream_reader.read_message()
                        if message is not None:
                            return cast("_T", message)
            # The connection is ending, and the queue is empty.
            if not queue.is_ready:
                if is_active:  # Another task has to read the server's Close.
                    reader.leave()
                    is_active = False
                # A message may still arrive until our Close is made.
                await self._closing.wait_known()
            if not queue.is_ready:
                raise self._closing.call_error(ClosedOnReceive)
            result = take()  # before `leave` hands out what is left
            stream_reader.make_room()
            return result
        finally:
            self.tasks_waiting -= 1
            if is_active:
                reader.leave()

    def receive_nowait(self) -> str | bytes:
        """Take a message, or raise ``trio.WouldBlock`` or what ended the connection."""
        self.check_between_messages()
        if not self._queue.is_ready and not self._shared_reader.is_led_by_receiver:
            # A receiver that waits comes first: it will read what has arrived.
            self._stream_reader.read_arrived_nowait()
        if self._queue.is_ready and not self._queue.is_claimed:
            message = self._queue.take_message()
            self._stream_reader.make_room()
            return message
        if self._record.is_known:
            raise self._closing.call_error(ClosedOnReceive)
        self._stream_reader.read_on()
        raise trio.WouldBlock

    def check_between_messages(self) -> None:
        """Raise if messages must not be taken now, because `frames` is in use."""
        queue = self._queue
        if queue.is_frame_wanted:
            raise trio.BusyResourceError("another task is receiving frames")
        if queue.is_mid_message and (self._record.closed_by is None or queue.messages):
            raise RuntimeError("frames() has taken only a part of the message under way")


class Frames:
    """An iterator over data frames; see ``WebSocketClient.frames``.

    It holds nothing open, so you may leave it at any time, and begin again.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __aiter__(self) -> Frames:
        return self

    @enable_ki_protection
    async def __anext__(self) -> DataFrame:
        """Wait for a frame and take it; cancelled, it takes nothing.

        Raises:
            StopAsyncIteration: The connection was closed normally.
            ConnectionClosedError: It ended otherwise, or in the middle of a message.
            trio.BusyResourceError: Another task is receiving.
        """
        try:
            return await self._receiver.receive_frame()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
