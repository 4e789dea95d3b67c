"""What a user takes: whole messages, several at once, or frames."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection import Connection
from trio_wsclient._errors import ClosedOnReceive
from trio_wsclient._events import DataFrame


class Receiver:
    """The consumers' side of the inbox.

    A cancelled call takes nothing: between the wait and the taking there is no ``await``.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = connection.inbox
        self._protocol = connection.protocol
        self._turn = connection.turn
        self._frame_wanted = False  # whether a task waits for a frame
        self.tasks_waiting: int = 0

    @property
    def may_take_at_once(self) -> bool:
        """Whether there is a message, and other tasks have had their turn just now."""
        inbox = self._inbox
        return (
            inbox.messages > 0
            and not self._turn.is_over
            and not (inbox.is_full or inbox.half_taken or self._frame_wanted)
        )

    async def wait_for_message(self) -> None:
        """Wait until there is a message, or raise what ended the connection."""
        await self._turn.checkpoint()
        self._check_between_messages()
        await self._wait(self._has_message)
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
        return [self.take_message() for _ in range(count)]

    def receive_nowait(self) -> str | bytes:
        """Take a message, or raise ``trio.WouldBlock`` or what ended the connection."""
        self._check_between_messages()
        if self._inbox.messages:
            return self.take_message()
        if self._connection.outcome_known:
            raise self._connection.closed_now(ClosedOnReceive)
        self._connection.read_on()
        raise trio.WouldBlock

    async def receive_frame(self) -> DataFrame:
        """Wait for a frame and take it, or raise what ended the connection."""
        await self._turn.checkpoint()
        if self.tasks_waiting:
            raise trio.BusyResourceError("another task is receiving")
        self._frame_wanted = True
        try:
            await self._wait(self._has_frame)
        finally:
            self._frame_wanted = False
        if not self._inbox.has_frame:
            raise await self._connection.closed(ClosedOnReceive)
        frame = self._inbox.take_frame()
        self._make_room()
        return frame

    def _make_room(self) -> None:
        if self._inbox.is_full and self._connection.may_read():
            self._connection.changed()  # R2: whoever has paused may read again.

    def _has_message(self) -> bool:
        return self._inbox.messages > 0 or self._protocol.ending is not None

    def _has_frame(self) -> bool:
        return self._inbox.has_frame or self._protocol.ending is not None

    async def _wait(self, is_there: Callable[[], bool]) -> None:
        self.tasks_waiting += 1
        try:
            await self._connection.wait_until(is_there)
        finally:
            self.tasks_waiting -= 1

    def _check_between_messages(self) -> None:
        if self._frame_wanted:
            raise trio.BusyResourceError("another task is receiving frames")
        over = self._connection.protocol.ending is not None and not self._inbox.messages
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
