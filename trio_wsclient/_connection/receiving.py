"""What a user takes: whole messages, several at once, or frames."""

from __future__ import annotations

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection.connection import Connection
from trio_wsclient._errors import ClosedOnReceive
from trio_wsclient._protocol.events import DataFrame


class Receiver:
    """The consumers' side of the inbox.

    A cancelled call takes nothing: between the wait and the taking there is no ``await``.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = connection.inbox
        self._closing = connection.closing
        self._time_slice = connection.time_slice
        self.tasks_waiting: int = 0

    async def wait_for_message(self) -> None:
        """Wait until there is a message, or raise what ended the connection."""
        self._check_between_messages()
        self.tasks_waiting += 1
        try:
            if not await self._connection.wait_until(self._has_message):
                await self._time_slice.checkpoint()
                await self._connection.wait_until(self._has_message)
        finally:
            self.tasks_waiting -= 1
        if not self._inbox.messages:
            raise await self._connection.closed(ClosedOnReceive)

    def take_message(self) -> str | bytes:
        """Take a message; there has to be one."""
        message = self._inbox.take_message()
        self._make_room()
        return message

    def take_messages(self, max_messages: int | None) -> list[str | bytes]:
        """Take all messages that are here, up to a number of them."""
        count = self._inbox.messages
        if max_messages is not None:
            count = min(count, max_messages)
        messages = self._inbox.take_messages(count)
        self._make_room()
        return messages

    def receive_nowait(self) -> str | bytes:
        """Take a message, or raise ``trio.WouldBlock`` or what ended the connection."""
        self._check_between_messages()
        if not self._inbox.messages:
            self._connection.read_nowait()
        if self._inbox.messages:
            return self.take_message()
        if self._connection.outcome_known:
            raise self._connection.closed_now(ClosedOnReceive)
        self._connection.read_on()
        raise trio.WouldBlock

    async def receive_frame(self) -> DataFrame:
        """Wait for a frame and take it, or raise what ended the connection."""
        await self._time_slice.checkpoint()
        if self.tasks_waiting:
            raise trio.BusyResourceError("another task is receiving")
        self._inbox.want_frame(True)
        self.tasks_waiting += 1
        try:
            await self._connection.wait_until(self._has_frame)
        finally:
            self.tasks_waiting -= 1
            self._inbox.want_frame(False)
        if not self._inbox.has_frame:
            raise await self._connection.closed(ClosedOnReceive)
        frame = self._inbox.take_frame()
        self._make_room()
        return frame

    def _make_room(self) -> None:
        if self._inbox.is_full and self._connection.may_read():
            self._connection.changed()  # R2: whoever has paused may read again.

    def _has_message(self) -> bool:
        return self._inbox.messages > 0 or self._closing.closed_by is not None

    def _has_frame(self) -> bool:
        return self._inbox.has_frame or self._closing.closed_by is not None

    def _check_between_messages(self) -> None:
        if self._inbox.frame_wanted:
            raise trio.BusyResourceError("another task is receiving frames")
        over = self._connection.closing.closed_by is not None and not self._inbox.messages
        if self._inbox.half_taken and not over:
            raise RuntimeError("frames() has taken only a part of the message under way")


class Frames:
    """An iterator over data frames; see ``WebSocketClient.frames``.

    It holds nothing open, so it may be left at any time, and begun anew.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __aiter__(self) -> Frames:
        return self

    @enable_ki_protection
    async def __anext__(self) -> DataFrame:
        """Wait for a frame and take it; cancelled, it takes nothing.

        Raises:
            StopAsyncIteration: The connection was closed in good order.
            ConnectionClosedError: It ended otherwise, or in the middle of a message.
            trio.BusyResourceError: Another task is receiving.
        """
        try:
            return await self._receiver.receive_frame()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
