"""The calls that send: messages, batches, and messages part by part."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Final, Generic, TypeAlias, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_wsclient._connection.connection import Connection
from trio_wsclient._errors import ClosedOnSend, WebSocketError
from trio_wsclient._protocol.closing import ClosedBy
from trio_wsclient._protocol.events import Opcode
from trio_wsclient._protocol.limits import (
    ENCODE_COST,
    SENT_BYTE_COST,
    SLICE_COST,
    WorkBudget,
)

BytesLike: TypeAlias = bytes | bytearray | memoryview
Frame: TypeAlias = tuple[Opcode, bytes, bool]  # the last one is FIN
Part_contra = TypeVar("Part_contra", contravariant=True)


def encode_text(data: str | BytesLike) -> bytes:
    """Return the UTF-8 of a text; bytes are checked to be that.

    Raises:
        TypeError: It is neither a ``str`` nor bytes-like.
        ValueError: It is not UTF-8, or has a lone surrogate.
    """
    if isinstance(data, str):
        return data.encode()
    payload = encode_binary(data)
    payload.decode()  # RFC 6455 §5.6: Text is UTF-8, and who sends another thing is failed for it.
    return payload


def encode_binary(data: str | BytesLike) -> bytes:
    """Return the bytes of a message, frozen: the caller may go on to change what was passed.

    Raises:
        TypeError: It is neither a ``str`` nor bytes-like.
        ValueError: It has a lone surrogate.
    """
    if isinstance(data, bytes):
        return bytes(data)  # of a class of the caller's own a copy
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    advice = "; use json.dumps" if isinstance(data, dict | list) else ""
    raise TypeError(f"a message is a str or bytes-like, not {type(data).__name__}{advice}")


def encode(message: str | BytesLike) -> tuple[Opcode, bytes]:
    """Return opcode and payload of a message, by its type."""
    if isinstance(message, str):
        return Opcode.TEXT, message.encode()
    return Opcode.BINARY, encode_binary(message)


def encode_text_part(part: str) -> bytes:
    if not isinstance(part, str):
        raise TypeError(f"a part of a Text message is a str, not {type(part).__name__}")
    return part.encode()


def encode_binary_part(part: BytesLike) -> bytes:
    if isinstance(part, str):
        raise TypeError("a part of a Binary message is bytes-like, not str")
    return encode_binary(part)


class Sender:
    """The producers' side of a connection.

    W3 (no interleaving): between the fragments of a message only control frames are sent. So a
    message has the message slot from its first frame to its last. The stream itself is owned for
    one write at a time, so that pongs and Close pass.

    Args:
        connection: Where to send.
        fragment_size: Bytes from which on a message is split into frames, or ``None``.
    """

    def __init__(self, connection: Connection, *, fragment_size: int | None) -> None:
        self._connection: Final = connection
        self._record = connection.record
        self._writer = connection.writer
        self._slot = connection.message_slot
        self._time_slice = connection.time_slice
        self._fragment_size = fragment_size
        # Bytes of a message that is made in one step and written in one frame.
        max_step_size = connection.protocol.max_step_size
        self._max_nowait = min(max_step_size, fragment_size or max_step_size)
        self._budget = WorkBudget()
        self._is_made = False  # whether a frame of the latest write was made (W2)
        self.messages_sent: int = 0

    @property
    def tasks_waiting(self) -> int:
        return self._slot.tasks_waiting

    async def send_message(self, opcode: Opcode, payload: bytes) -> None:
        """Send a message."""
        # This is `TimeSlice.checkpoint`, but without a coroutine for the usual case.
        if perf_counter() < self._time_slice.ends:
            await checkpoint_if_cancelled()
        else:
            await self._time_slice.checkpoint()
        is_written: bool | None = False
        # Nobody else sends, and the message is short: try to write it at once, without the slot.
        if self._slot.owner is None and len(payload) <= self._max_nowait:
            is_written = self._writer.write_nowait(opcode, payload)
        if is_written is None:
            await self._finish()
        elif not is_written:
            await self._send_in_slot(opcode, payload)
            return
        self.messages_sent += 1

    async def _finish(self) -> None:
        """Send the rest of a message after `FrameWriter.write_nowait`."""
        self._slot.line_up()  # It is free, so this takes it.
        try:
            is_written = await self._writer.finish()
        finally:
            self._slot.release()
        if not is_written:
            raise await self._close_error(has_begun=True)

    async def _send_in_slot(self, opcode: Opcode, payload: bytes) -> None:
        await self.begin_message()
        try:
            await self._send(self._gather(deque([(opcode, payload)])))
        finally:
            self.end_message()

    async def send_many(self, messages: Iterable[str | BytesLike]) -> None:
        """Send messages one after the other; once some are sent, all are, or the connection fails.

        Args:
            messages: Each a ``str`` or bytes-like.
        """
        # All of them are encoded before the first is sent, as one may be of a wrong type. The batch
        # lines up before that, so that messages of other tasks come after it.
        self._line_up()
        try:
            encoded: deque[tuple[Opcode, bytes]] = deque()
            for message in messages:
                encoded.append(encode(message))
                self._budget.left -= ENCODE_COST + len(encoded[-1][1]) * SENT_BYTE_COST
                if self._budget.left <= 0:
                    await self._time_slice.checkpoint()
                    self._budget.left = SLICE_COST
            await self._wait_for_slot()
            # An empty write raises if the connection is closed.
            await self._send(self._gather(encoded) if encoded else [[]])
        finally:
            self._slot.leave()

    async def send_part(self, opcode: Opcode, payload: bytes, *, fin: bool) -> None:
        """Send a part of a message, in the message slot; ``fin`` with the last part."""
        # If the first part can't be sent, no message was begun.
        await self._send(
            ([frame] for frame in self._split(opcode, payload, fin=fin)),
            has_begun=opcode is Opcode.CONTINUATION,
        )

    async def begin_message(self) -> None:
        """Wait until no other message is under way (W3), or the connection is closed."""
        self._line_up()
        await self._wait_for_slot()

    def _line_up(self) -> None:
        if self._slot.owner is trio.lowlevel.current_task():
            raise RuntimeError("this task is in the middle of a message: its writer is still open")
        self._slot.line_up()

    async def _wait_for_slot(self) -> None:
        closing = self._connection.closing
        has_slot = not closing.has_begun and await self._slot.wait()
        # The slot may have been passed to this task just before closing began.
        if closing.has_begun or not has_slot:
            self._slot.leave()
            raise await closing.wait_close_error(ClosedOnSend)

    def end_message(self) -> None:
        """Let the next message begin."""
        self._slot.release()

    def _gather(self, messages: deque[tuple[Opcode, bytes]]) -> Iterator[list[Frame]]:
        """Take messages, split them into frames, and gather those that make a write together."""
        gathered: list[Frame] = []
        work, send_cost = 0, self._connection.protocol.send_cost
        # Each is taken out: to free a huge list at once would keep other tasks waiting.
        while messages:
            opcode, payload = messages.popleft()
            # A long message is made in steps, and has writes of its own.
            is_alone = len(payload) > self._max_nowait
            cost = send_cost(len(payload))
            # One write is as much work as fits into a time slice.
            if gathered and (is_alone or work + cost > SLICE_COST):
                yield gathered
                gathered, work = [], 0
            if is_alone:
                for frame in self._split(opcode, payload):
                    yield [frame]
                continue
            gathered.append((opcode, payload, True))
            work += cost
        if gathered:
            yield gathered

    async def _send(self, writes: Iterable[list[Frame]], *, has_begun: bool = False) -> None:
        """Send frames that belong together, each list of them in one write.

        If no frame was sent, the call has no effect. If only some of them are sent, the
        connection fails (W2, W3): others must not send in the middle, and the rest never comes.
        """
        self._is_made = False
        try:
            for frames in writes:
                if not await self._write(frames):
                    raise await self._close_error(has_begun=has_begun or self._is_made)
                has_begun = True
                self.messages_sent += sum(fin for _, _, fin in frames)
        except BaseException as exc:
            # Half a message has left, or half a batch. The server must not take it for a whole one.
            if has_begun:
                await self.abort_message(exc)  # noqa: ASYNC102 shielded inside
            raise

    async def _close_error(self, *, has_begun: bool = False) -> WebSocketError:
        error = await self._connection.closing.wait_close_error(ClosedOnSend)
        if has_begun and self._record.closed_by is ClosedBy.CLIENT:
            error.__cause__ = self._connection.closing.unfinished_error(None)
        return error

    async def _write(self, frames: list[Frame]) -> bool:
        """Write frames; return whether that was done, or the connection is over."""
        protocol = self._connection.protocol
        if len(frames) != 1 or len(frames[0][1]) <= protocol.max_step_size:
            return await self._writer.write(partial(self._make, frames))
        # A long payload is prepared before the stream is owned, so that pongs can pass.
        # W2 (no torn frames): until the frame is made, the send has not happened.
        opcode, payload, fin = frames[0]
        before = protocol.save_output()
        self._is_made = False
        try:
            make = await self._prepare(opcode, payload, fin=fin)
            if make is None:
                return False

            def make_frame() -> Iterable[bytes | bytearray]:
                self._is_made = True
                return make()

            return await self._writer.write(make_frame)
        finally:
            if not self._is_made:
                protocol.restore_output(before)

    def _make(self, frames: list[Frame]) -> list[bytes]:
        self._is_made = True
        return [self._connection.protocol.send_batch(frames)]

    async def _prepare(
        self, opcode: Opcode, payload: bytes, *, fin: bool
    ) -> Callable[[], Iterable[bytes | bytearray]] | None:
        """Prepare a frame in steps; return what makes it, or ``None`` if the connection is over."""
        steps = self._connection.protocol.prepare_data(opcode, payload, fin=fin)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                make: Callable[[], Iterable[bytes | bytearray]] = done.value
                return make
            # Between two steps of compression the connection may have ended.
            await self._time_slice.checkpoint()
            if not self._record.may_send:
                return None

    def _split(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> Iterator[Frame]:
        size = self._fragment_size or len(payload) or 1
        for start in range(0, len(payload) or 1, size):
            yield opcode, payload[start : start + size], fin and start + size >= len(payload)
            opcode = Opcode.CONTINUATION

    async def abort_message(self, cause: BaseException | None) -> None:
        """Fail the connection, because a message that has begun will not be finished."""
        closing = self._connection.closing
        closing.send_close(is_unfinished=True)
        unfinished = closing.unfinished_error(cause if isinstance(cause, Exception) else None)
        await self._connection.fail_nowait(unfinished, 1011, linger=True)


class _WriterState(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    DONE = enum.auto()


class MessageWriter(Generic[Part_contra]):
    """A message that is sent part by part, each at once, as fragments (RFC 6455 §5.4).

    Leaving the block finishes the message; if it was left by an exception, the connection is
    failed, with Close 1011 where that can be written at once: half a message is never passed off
    as a whole one.
    """

    def __init__(
        self, sender: Sender, opcode: Opcode, encode_part: Callable[[Part_contra], bytes]
    ) -> None:
        self._sender = sender
        self._next_opcode: Opcode = opcode
        self._encode_part = encode_part
        self._state = _WriterState.NEW
        self._is_writing = False  # whether a task is in the middle of a part

    @enable_ki_protection
    async def write(self, part: Part_contra) -> None:
        """Send a part of the message.

        Args:
            part: A ``str`` for a Text message, bytes-like for a Binary one.

        Raises:
            TypeError: It is of another type. Nothing was sent.
            RuntimeError: The block of this writer is not entered, or is left already.
            trio.BusyResourceError: Another task is writing a part.
            ConnectionClosed: The connection is over.
        """
        payload = self._encode_part(part)
        if self._is_writing:
            raise trio.BusyResourceError("another task is writing a part of this message")
        if self._state is not _WriterState.OPEN:
            raise RuntimeError(
                "write only inside of the writer's block: 'async with ... as writer'"
            )
        self._is_writing = True
        try:
            await self._send(payload, fin=False)
        finally:
            self._is_writing = False

    async def _send(self, payload: bytes, *, fin: bool) -> None:
        await self._sender.send_part(self._next_opcode, payload, fin=fin)
        self._next_opcode = Opcode.CONTINUATION

    @enable_ki_protection
    async def __aenter__(self) -> MessageWriter[Part_contra]:
        if self._state is not _WriterState.NEW:
            raise RuntimeError("a writer is for one message: this one was entered already")
        # The state is right if the wait for the slot is cancelled or fails.
        self._state = _WriterState.DONE  # until the message slot is free
        await trio.lowlevel.checkpoint()
        await self._sender.begin_message()
        self._state = _WriterState.OPEN
        return self

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = _WriterState.DONE
        is_finished = False
        try:
            if exc is None:
                if self._is_writing:
                    raise trio.BusyResourceError("another task is writing a part of this message")
                await self._send(b"", fin=True)  # noqa: ASYNC102 it is sent or has failed
                is_finished = True
        finally:
            try:
                if not is_finished:
                    await self._sender.abort_message(exc)  # noqa: ASYNC102 shielded inside
            finally:
                self._sender.end_message()
