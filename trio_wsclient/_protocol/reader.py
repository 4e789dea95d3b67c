"""The reader: it turns the server's bytes into events (RFC 6455 §5, §8.1; RFC 7692 §6, §7.2.2).

Theory of operation
-------------------

Bytes come in pieces that have nothing to do with the borders of frames. `FrameReader.feed` takes a
piece, and `FrameReader.read` returns the events in it. There is one buffer. A read leaves in it
what can't be used yet, and that is little: the beginning of a header, or of a control frame. The
payload of a data frame is taken out of the buffer as it arrives, so a long message is copied once.

Nearly every frame is a whole message with a small header, and nearly every read has only such
frames. So a read begins with a *fast path*: `frames.decode`, in C if there is a compiler, takes the
whole plain messages at the front of the buffer in one call. It stops at the first frame that is
anything else: a fragment, a control frame, a frame that has not arrived completely, or one that
breaks a rule. Then the reader takes that one frame by itself:

1. ``_read_header`` waits for the whole header and checks it. Every rule on a header is there.
2. ``_read_payload`` takes the payload. It decompresses it, holds it to the limits, and checks that
   text is UTF-8 as early as RFC 6455 §8.1 allows.
3. At the end of the frame an event is made of it.

After that the fast path runs again. It has no rules of its own: it can only stop. So each violation
is found in one place.

A violation, and the server's Close, end the reading for good. What was read before them is handed
over first. A violation is a fact in ``violation``, because the caller decides when it takes effect.

One read could take long, as a server can put much work into few bytes. So whatever is done is
charged to a `WorkBudget`, and `read` returns when that is spent. The reader is not
``is_starved`` then, and the next call returns more.

After our own Close only the server's Close is wanted. ``drop_data`` makes the reader skip the
payload of data frames, and pings and pongs. The rules on headers still hold, but not the limits.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from typing import Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from trio_wsclient._protocol import frames
from trio_wsclient._protocol.closing import ProtocolViolation, parse_close
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Batch, DataFrame, Entry, Event, Opcode, Ping, Pong
from trio_wsclient._protocol.extensions import ExtensionChain
from trio_wsclient._protocol.limits import (
    FRAME_COST,
    HOOKS_COST,
    INFLATED_BYTE_COST,
    MESSAGE_COST,
    SLICE_COST,
    Limits,
    WorkBudget,
)
from trio_wsclient._protocol.listener import FrameListener, FrameReport

_FIN: Final = 0x80  # bits of a frame's first byte (RFC 6455 §5.2)
_RSV: Final = 0x70
_RSV1: Final = 0x40
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80  # in the second byte

_CLOSE: Final = 8  # opcodes; from this one on they are of control frames (RFC 6455 §5.2)
_PING: Final = 9
_PONG: Final = 10
_NAMES: Final = {
    Opcode.CONTINUATION: "CONTINUATION",
    Opcode.TEXT: "TEXT",
    Opcode.BINARY: "BINARY",
    _CLOSE: "CLOSE",
    _PING: "PING",
    _PONG: "PONG",
}
_OPCODES: Final = (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY)
_MAX_CONTROL_SIZE: Final = 125  # bytes (RFC 6455 §5.5)
_MAX_SIZE: Final = 2**63 - 1  # bytes: a longer length has its highest bit set (RFC 6455 §5.2)

_MAX_PIECE: Final = 4096  # bytes to inflate at a time: up to 0.8 ms
_MAX_CHAINED_PIECE: Final = 256  # the same in a chain, where inflating can't stop half-way
_MAX_FAST: Final = 512  # bytes of a compressed message in the fast path, where the same holds

_NO_FRAME: Final = -1  # in place of the size that is left, between two frames

_AMPLIFICATION: Final = 4  # room for a payload is at most this many times what has come


class FrameReader:
    """The reader of one connection.

    Args:
        limits: The limits on what is read.
        budget: The work budget, which each read refills.
        decode_text: Whether Text is checked and decoded; otherwise it is handed over as bytes.
        extensions: The extensions in use, in their order.
        listener: The object to call for each frame.

    Attributes:
        is_starved: Whether the input is used up: there is nothing to read without more bytes.
        violation: What the server has done wrong. Nothing is read after it.
        deflate: Compression, if it is in use.
        chain: All extensions in use, if one of them is not ours.
    """

    def __init__(
        self,
        limits: Limits,
        budget: WorkBudget,
        *,
        decode_text: bool,
        extensions: Sequence[Extension],
        listener: FrameListener | None,
    ) -> None:
        self._limits = limits
        self._budget = budget
        self._decode_text = decode_text
        self._listener = listener
        # Compression of ours is called directly, extensions of others through a chain.
        self.deflate = next((each for each in extensions if isinstance(each, Deflate)), None)
        self.chain: ExtensionChain | None = None
        if any(not isinstance(each, Deflate) for each in extensions):
            self.chain = ExtensionChain(extensions, budget)
        self._max_chained_piece = _MAX_PIECE if self.deflate is None else _MAX_CHAINED_PIECE

        # Of the fast path: arguments of `frames.decode`.
        self._max_plain_size = min([_MAX_SIZE, *(limit for limit in limits if limit is not None)])
        self._make_text = None if decode_text else _text_frame
        self._inflate = None if self.deflate is None else self._inflate_message
        self._inflated_size = 0  # bytes of the messages inflated in the call under way

        # The input
        self._data = b""
        self._position = 0  # in it: all before this is taken
        self.is_starved: bool = True
        self._is_stopped = False  # whether nothing is read any more
        self._reports_frames = False  # whether the listener wants the frames that begin
        self._drops_data = False
        self.violation: ProtocolViolation | None = None

        # The frame under way
        self._first_byte = 0
        self._size = 0  # bytes of the payload, as declared
        self._left = _NO_FRAME  # bytes of it that are not read yet
        self._payload: _PartialPayload | None = None  # of a data frame that is not complete
        self._report: FrameReport | None = None  # if the listener wants the frame

        # The message under way
        self._opcode: Opcode | None = None
        self._message_size = 0  # bytes of it, after extensions
        self._fragments = 0
        self._is_compressed = False  # by compression that the reader calls directly
        self._is_transformed = False  # whether extensions may change the payload
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._decoded_size = 0  # bytes of the message that the decoder was given

    # The interface

    @property
    def is_mid_message(self) -> bool:
        """Whether a message in fragments has begun and not ended."""
        return self._opcode is not None

    @property
    def partial_size(self) -> int:
        """How many bytes of a data frame have come that is not complete yet."""
        return 0 if self._payload is None else self._payload.size

    def feed(self, data: bytes) -> None:
        """Take bytes from the server."""
        if not self._is_stopped:
            self._data = self._data[self._position :] + data
            self._position = 0
            self.is_starved = False
            self._reports_frames = self._listener is not None and self._listener.wants_frames()

    def stop(self) -> None:
        """Read nothing any more; whether a message is unfinished is still known."""
        self._is_stopped = self.is_starved = True
        self._data = b""
        self._position = 0
        self._payload = None

    def drop_data(self) -> None:
        """Hand over nothing any more but the server's Close."""
        self._drops_data = True
        self._payload = None

    def read(self) -> list[Event]:
        """Return the next events, until the input is used up or a slice of work is done.

        The server's Close is the last one. A violation is not an event: see ``violation``.
        """
        events: list[Event] = []
        budget = self._budget
        budget.left = SLICE_COST
        try:
            while not self.is_starved and budget.left > 0:
                if self._left != _NO_FRAME:
                    self._read_payload(events)
                elif (
                    self._opcode is not None
                    or self.chain is not None
                    or self._reports_frames
                    or self._drops_data
                    or not self._read_fast(events)
                ):
                    self._read_header()
        except ProtocolViolation as exc:
            self._refuse(exc)
        if self.is_starved:
            # Else all bytes of a burst would be kept until the next one.
            self._data = self._data[self._position :]
            self._position = 0
        return events

    def _refuse(self, violation: ProtocolViolation) -> None:
        self.violation = violation
        if self._report is not None:
            self._report.add(self._data[self._position : self._position + max(self._left, 0)])
            self._report.send()
        self.stop()

    # The fast path

    def _read_fast(self, events: list[Event]) -> bool:
        """Take the whole plain messages at the front; return whether the next frame may be one."""
        data = self._data
        self._inflated_size = 0
        messages, stop, size = frames.decode(
            data, self._position, self._max_plain_size, self._make_text, self._inflate
        )
        if messages:
            events.append(Batch(messages, size + self._inflated_size))
            self._budget.left -= len(messages) * MESSAGE_COST
            self._position = stop
        if self.violation is not None:
            raise self.violation
        self.is_starved = stop == len(data)
        # `decode` also stops at its own limit, or when the budget is spent. Then the next frame may
        # be plain.
        return self.is_starved or len(messages) >= frames.MAX_MESSAGES or self._budget.left <= 0

    def _inflate_message(self, first_byte: int, payload: bytes) -> Entry | None:
        """Inflate a message for `frames.decode`; ``None`` makes it stop there."""
        assert self.deflate is not None
        if len(payload) > _MAX_FAST or self._budget.left <= 0:
            return None
        try:
            inflated = self.deflate.inflate_message(payload, self._budget)
            self._inflated_size += len(inflated)
            if first_byte != frames.TEXT:
                return inflated
            if not self._decode_text:
                return _text_frame(inflated)
            text = self._decode(inflated)
        except ProtocolViolation as exc:
            # Raised here, it would lose the messages before this one.
            self.violation = exc
            return None
        if not text.isascii():  # CPython needs up to four bytes a character.
            self._inflated_size += 4 * len(text) - len(inflated)
        return text

    # A frame by itself: the header

    def _read_header(self) -> None:
        """Take a header once it has come completely, and check it (RFC 6455 §5.2)."""
        data, start = self._data, self._position
        available = len(data) - start
        if available < 2:
            self.is_starved = True
            return
        first_byte, second_byte = data[start], data[start + 1]
        opcode, size = first_byte & _OPCODE, second_byte & ~_MASKED
        is_control = opcode >= _CLOSE
        header_size = 2 if size < 126 else 4 if size == 126 else 10
        if available < header_size:
            self.is_starved = True
            return
        if header_size > 2:
            size = int.from_bytes(data[start + 2 : start + header_size], "big")
        self._position = start + header_size
        self._first_byte, self._size, self._left = first_byte, size, size
        self._budget.left -= FRAME_COST
        if self._listener is not None:
            self._begin_report(
                self._listener
            )  # Before the checks: a refused frame is reported too.
        self._check_header(opcode, size, header_size)
        if second_byte & _MASKED:
            raise ProtocolViolation(f"a masked {_NAMES[opcode]} frame from a server")
        if not is_control:
            self._begin_data_frame(_OPCODES[opcode])

    def _begin_report(self, listener: FrameListener) -> None:
        self._report = None
        if self._reports_frames:
            limit = self._limits.max_message_size
            # A frame of empty deflate blocks may be far longer than what comes out of it.
            most = None if limit is None else max(limit, _MAX_CONTROL_SIZE)
            self._report = FrameReport(listener, self._first_byte, self._size, most)

    def _check_header(self, opcode: int, size: int, header_size: int) -> None:
        """Check what a header says, in the order in which wsproto does."""
        if opcode not in _NAMES:
            raise ProtocolViolation(f"a frame with the reserved opcode {opcode}")
        if opcode >= _CLOSE:
            if not self._first_byte & _FIN:
                raise ProtocolViolation(f"a {_NAMES[opcode]} frame without FIN, in fragments")
            if size > _MAX_CONTROL_SIZE:
                raise ProtocolViolation(
                    f"a {_NAMES[opcode]} frame of {size} bytes: {_MAX_CONTROL_SIZE} is the most"
                )
        if header_size == 4 and size < 126:
            raise ProtocolViolation(f"a length of {size} in 2 bytes, which fits in 7 bits")
        if header_size == 10 and size < 65_536:
            raise ProtocolViolation(f"a length of {size} in 8 bytes, which fits in 2 bytes")
        if size > _MAX_SIZE:
            raise ProtocolViolation(f"a length of {size}, which has its highest bit set")
        rsv = (self._first_byte & _RSV) >> 4
        if self.chain is not None:
            # Data that is dropped is not shown to the extensions, so any bit may be theirs.
            is_shown = opcode >= _CLOSE or not self._drops_data
            rsv &= ~self.chain.begin_frame(opcode, rsv, size) if is_shown else 0
        elif self.deflate is not None and opcode in {Opcode.TEXT, Opcode.BINARY}:
            rsv &= ~(_RSV1 >> 4)  # RFC 7692 §6: the message is compressed.
        if rsv:
            names = [name for bit, name in ((4, "RSV1"), (2, "RSV2"), (1, "RSV3")) if rsv & bit]
            bits = " and ".join(names)
            raise ProtocolViolation(f"a {_NAMES[opcode]} frame with {bits}, which is not in use")

    def _begin_data_frame(self, opcode: Opcode) -> None:
        """Check a data frame against its message and the limits (RFC 6455 §5.4)."""
        if opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise ProtocolViolation("a CONTINUATION frame outside of a message")
        elif self._opcode is not None:
            raise ProtocolViolation(
                f"a {_NAMES[opcode]} frame inside of a message that is not finished"
            )
        else:
            self._begin_message(opcode)
        if self._drops_data:
            return
        self._fragments += 1
        self._limits.check_frame(self._size)
        # What an extension makes of a payload is measured when it comes out.
        if not self._is_transformed:
            self._message_size += self._size
        self._limits.check_message(self._message_size, self._fragments)

    def _begin_message(self, opcode: Opcode) -> None:
        self._opcode = opcode
        self._message_size = self._fragments = self._decoded_size = 0
        self._decoder.reset()
        self._is_compressed = False
        if self.chain is None and self._first_byte & _RSV1:
            assert self.deflate is not None
            self.deflate.begin_message()
            self._is_compressed = True
        self._is_transformed = self._is_compressed or self.chain is not None

    # A frame by itself: the payload

    def _read_payload(self, events: list[Event]) -> None:
        """Take what has come of a payload; at the end of the frame, make an event of it."""
        available = len(self._data) - self._position
        is_control = self._first_byte & _OPCODE >= _CLOSE
        if available < self._left and (is_control or not available):
            self.is_starved = True
        elif is_control:
            self._end_control_frame(events)
        else:
            piece = self._read_piece()
            is_complete = self._left == 0
            fin = is_complete and self._first_byte & _FIN != 0
            if not self._drops_data:
                self._add_data(piece, events, is_complete=is_complete, fin=fin)
            if is_complete:
                self._left = _NO_FRAME
            if fin:
                self._opcode = None

    def _read_piece(self) -> bytes:
        """Take a piece of a data frame, and return what extensions make of it."""
        if self._drops_data:
            return self._take(self._left)
        if self.chain is not None:
            piece = self.chain.receive(self._take(self._max_chained_piece))
            if self._left == 0:
                piece += self.chain.end_frame(fin=self._first_byte & _FIN != 0)
            self._budget.left -= HOOKS_COST + len(piece) * INFLATED_BYTE_COST
            return piece
        if not self._is_compressed:
            return self._take(self._left)
        assert self.deflate is not None
        start = self._position
        size = min(_MAX_PIECE, self._left)
        piece, taken = self.deflate.inflate(self._data[start : start + size], self._budget)
        self._take(taken)
        if self._left == 0 and self._first_byte & _FIN:
            self.deflate.end_message()
        return piece

    def _take(self, size: int) -> bytes:
        """Take the next bytes of the payload, as many as have come."""
        start = self._position
        piece = self._data[start : start + min(size, self._left)]
        self._position = start + len(piece)
        self._left -= len(piece)
        if self._report is not None:
            self._report.add(piece)
        return piece

    def _add_data(self, piece: bytes, events: list[Event], *, is_complete: bool, fin: bool) -> None:
        """Add a piece to the frame under way."""
        opcode = _OPCODES[self._first_byte & _OPCODE]
        is_message = opcode is not Opcode.CONTINUATION and self._first_byte & _FIN != 0
        is_text = self._decode_text and self._opcode is Opcode.TEXT
        if self._is_transformed:
            self._message_size += len(piece)
            self._limits.check_message(self._message_size, self._fragments)
        if is_complete and self._payload is None:
            payload = piece
            if is_text and not is_message:
                self._check_text(piece, fin=fin)
        else:
            if self._payload is None:
                self._payload = _PartialPayload(0 if self._is_transformed else self._size)
            self._payload.add(piece)
            if is_text:
                self._check_text(piece, fin=fin)
            if not is_complete:
                return
            payload = self._payload.finish()
            self._payload = None
        if not is_message:
            events.append(DataFrame(opcode, payload, fin))
        elif opcode is Opcode.BINARY:
            events.append(payload)
        else:
            events.append(self._decode(payload) if is_text else _text_frame(payload))

    # Text (RFC 6455 §8.1). A message in one frame is checked when it is decoded. A payload that is
    # still arriving is checked piece by piece.

    def _decode(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError as exc:
            raise _not_utf8(exc, position=exc.start) from exc

    def _check_text(self, piece: bytes, *, fin: bool) -> None:
        """Check a piece of a message, which may begin and end inside a code point."""
        try:
            self._decoder.decode(piece, fin)
        except UnicodeDecodeError as exc:
            # Its object begins with what the decoder has held back of earlier pieces.
            held_back = len(exc.object) - len(piece)
            raise _not_utf8(exc, position=self._decoded_size - held_back + exc.start) from exc
        self._decoded_size += len(piece)

    # Control frames (RFC 6455 §5.5)

    def _end_control_frame(self, events: list[Event]) -> None:
        payload = self._take(self._left)
        self._left = _NO_FRAME
        if self.chain is not None:
            self._budget.left -= HOOKS_COST
            payload = self.chain.receive(payload) if payload else payload
            payload += self.chain.end_frame(fin=True)
        opcode = self._first_byte & _OPCODE
        if opcode == _CLOSE:
            events.append(parse_close(payload))
            self.stop()
        elif not self._drops_data:
            events.append(Ping(payload) if opcode == _PING else Pong(payload))


class _PartialPayload:
    """The payload of a data frame as far as it has come.

    Room is made before it is needed, as a buffer that grows with each piece is moved again and
    again. But a header may declare any size: so the room is at most four times what has come.

    Args:
        declared_size: Bytes that will come, or 0 if that is unknown.
    """

    __slots__ = ("_declared_size", "_payload", "_room", "size")

    def __init__(self, declared_size: int) -> None:
        self._declared_size = declared_size
        self._payload = io.BytesIO()
        self._room = 0
        self.size: int = 0

    def add(self, piece: bytes) -> None:
        size = self.size + len(piece)
        if self._room < size < self._declared_size:
            self._room = min(self._declared_size, _AMPLIFICATION * size)
            self._payload.seek(self._room - 1)
            self._payload.write(b"\0")
            self._payload.seek(self.size)
        self._payload.write(piece)
        self.size = size

    def finish(self) -> bytes:
        return self._payload.getvalue()


def _not_utf8(cause: UnicodeDecodeError, position: int) -> ProtocolViolation:
    """Return the violation of RFC 6455 §8.1, told by a position in the message."""
    # The decoder's own text would depend on how the bytes were cut.
    byte = cause.object[cause.start]
    error = RemoteProtocolError(
        f"a TEXT message that is not UTF-8: byte 0x{byte:02x} at position {position}"
    )
    error.__cause__ = cause
    return ProtocolViolation(error, CloseReason.INVALID_FRAME_PAYLOAD_DATA)


def _text_frame(payload: bytes) -> DataFrame:
    return DataFrame(Opcode.TEXT, payload, fin=True)
