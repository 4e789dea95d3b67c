"""What a user sends: whole messages, several at once, or one part after the other."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Generic, TypeAlias, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection import Connection
from trio_wsclient._errors import ClosedOnSend
from trio_wsclient._events import Opcode

BytesLike: TypeAlias = bytes | bytearray | memoryview
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
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a message is a str or bytes-like, not {type(data).__name__}")


def encode(message: str | BytesLike) -> tuple[Opcode, bytes]:
    """Return opcode and payload of a message, by its type."""
    return Opcode.TEXT if isinstance(message, str) else Opcode.BINARY, encode_binary(message)


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

    Args:
        connection: Where to send.
        fragment_size: Bytes from which on a message is split into frames, or ``None``.
    """

    def __init__(self, connection: Connection, *, fragment_size: int | None) -> None:
        self._connection: Final = connection
        self._protocol = connection.protocol
        self._fragment_size = fragment_size
        self.messages_sent = 0

    async def send(self, messages: Sequence[tuple[Opcode, bytes]]) -> None:
        """Send messages, in one write unless they have to be split."""
        await self.acquire()
        try:
            if self._fragment_size is None:
                await self._write(lambda: b"".join(self._whole(*message) for message in messages))
                self.messages_sent += len(messages)
                return
            for opcode, payload in messages:
                await self.send_part(opcode, payload, fin=True)
        finally:
            self.release()

    async def acquire(self) -> None:
        """Wait until no other message is under way (W3)."""
        lock = self._connection.message_lock
        if lock.locked() and lock.statistics().owner is trio.lowlevel.current_task():
            raise RuntimeError("this task is in the middle of a message: its writer is still open")
        await lock.acquire()

    def release(self) -> None:
        self._connection.message_lock.release()

    async def send_part(self, opcode: Opcode, payload: bytes, *, fin: bool) -> None:
        """Send a part of a message, under the message lock; ``fin`` with the last one.

        If nothing of it could be sent, nothing has happened. If it is broken off, the connection is
        failed: others must not send before the message is finished (W3), and it never will be.
        """
        begun = False
        try:
            for piece, is_last in self._split(payload):
                await self._write(self._serializer(opcode, piece, fin=fin and is_last))
                opcode = Opcode.CONTINUATION
                begun = True
        except BaseException as exc:
            if begun:
                await self.break_off(exc)
            raise
        if fin:
            self.messages_sent += 1

    async def break_off(self, cause: BaseException) -> None:
        """Fail the connection, because a message that has begun will not be finished."""
        unfinished = RuntimeError("a message was left unfinished")
        unfinished.__cause__ = cause if isinstance(cause, Exception) else None
        await self._connection.fail_at_once(unfinished, 1011, linger=True)

    def _split(self, payload: bytes) -> Iterator[tuple[bytes, bool]]:
        size = self._fragment_size or len(payload) or 1
        for start in range(0, len(payload) or 1, size):
            yield payload[start : start + size], start + size >= len(payload)

    def _whole(self, opcode: Opcode, payload: bytes) -> bytes:
        return self._protocol.send_data(opcode, payload)

    def _serializer(self, opcode: Opcode, payload: bytes, *, fin: bool) -> Callable[[], bytes]:
        return lambda: self._protocol.send_data(opcode, payload, fin=fin)

    async def _write(self, serialize: Callable[[], bytes]) -> None:
        if not await self._connection.outbox.write(serialize):
            raise await self._connection.closed(ClosedOnSend)


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

    @enable_ki_protection
    async def write(self, part: Part_contra) -> None:
        """Send a part of the message.

        Args:
            part: A ``str`` for a Text message, bytes-like for a Binary one.

        Raises:
            TypeError: It is of another type. Nothing was sent.
            RuntimeError: The block of this writer is not entered, or is left already.
            ConnectionClosed: The connection is over.
        """
        payload = self._encode_part(part)
        if self._state is not _WriterState.OPEN:
            raise RuntimeError("write outside of the writer's block")
        await self._send(payload, fin=False)

    async def _send(self, payload: bytes, *, fin: bool) -> None:
        await self._sender.send_part(self._next_opcode, payload, fin=fin)
        self._next_opcode = Opcode.CONTINUATION

    @enable_ki_protection
    async def __aenter__(self) -> MessageWriter[Part_contra]:
        if self._state is not _WriterState.NEW:
            raise RuntimeError("a writer is for one message: this one was entered already")
        await self._sender.acquire()
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
        try:
            if exc is None:
                await self._send(b"", fin=True)
        except BaseException as unfinished:
            exc = unfinished
            raise
        finally:
            if exc is not None:
                await self._sender.break_off(exc)
            self._sender.release()
