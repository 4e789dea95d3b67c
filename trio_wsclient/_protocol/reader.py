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

1. ``_read_header`` waits for the whole header and checks it: `header` has the rules.
2. ``_read_payload`` takes the payload. It decompresses it, holds it to the limits, and has `utf8`
   check text as early as RFC 6455 §8.1 allows.
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

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from trio_wsclient._protocol import frames, header, utf8
from trio_wsclient._protocol.closing import ProtocolViolation, parse_close
from trio_wsclient._protocol.deflate import AnyExtension, Deflate
from trio_wsclient._protocol.events import DataFrame, Entry, Event, Opcode, Ping, Pong
from trio_wsclient._protocol.limits import (
    FRAME_COST,
    HOOKS_COST,
    INFLATED_BYTE_COST,
    MESSAGE_COST,
    REPORT_COST,
    SLICE_COST,
    TEXT_FRAME_COST,
    Limits,
    WorkBudget,
)
from trio_wsclient._protocol.listener import FrameListener, FrameReport

if TYPE_CHECKING:
    from trio_wsclient._protocol.extensions import ExtensionChain

_OPCODES: Final = (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY)

_MAX_PIECE: Final = 4096  # bytes to inflate at a time: up to 0.8 ms
_MAX_CHAINED_PIECE: Final = 256  # the same in a chain, where inflating can't stop half-way
_MAX_FAST: Final = 512  # bytes of a compressed message in the fast path, where the same holds

_NO_FRAME: Final = -1  # in place of the size that is left, between two frames


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
        extensions: Sequence[AnyExtension],
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
            # It imports wsproto. The user has done that before, to make an extension.
            from trio_wsclient._protocol.extensions import ExtensionChain  # noqa: PLC0415

            self.chain = ExtensionChain(extensions, budget)
        self._max_chained_piece = _MAX_PIECE if self.deflate is None else _MAX_CHAINED_PIECE

        # The fast path: arguments of `frames.decode`
        self._max_plain_size = min(header.MAX_SIZE if limit is None else limit for limit in limits)
        self._make_text = None if decode_text else _text_frame
        self._message_cost = MESSAGE_COST if decode_text else TEXT_FRAME_COST
        self._inflated_size = 0  # bytes of the messages inflated in the call under way

        # The input
        self._data: bytes | memoryview = b""
        self._position = 0  # in it: all before this is taken
        self.is_starved: bool = True
        self._is_stopped = False  # whether nothing is read any more
        self._reports_frames = False  # whether the listener wants the frames that begin
        self._drops_data = False
        self.violation: ProtocolViolation | None = None

        # The frame under way
        self._frame_opcode = 0
        self._fin = False
        self._size = 0  # bytes of the payload, as declared
        self._left = _NO_FRAME  # bytes of it that are not read yet
        self._payload: io.BytesIO | None = None  # of a data frame that is not complete
        self._report: FrameReport | None = None  # if the listener wants the frame

        # The message under way
        self._opcode: Opcode | None = None
        self._message_size = 0  # bytes of it, after extensions
        self._fragments = 0
        self._is_compressed = False  # by compression that the reader calls directly
        self._utf8 = utf8.IncrementalCheck()

    # The interface

    @property
    def is_mid_message(self) -> bool:
        """Whether a message in fragments has begun and not ended."""
        return self._opcode is not None

    @property
    def partial_size(self) -> int:
        """How many bytes of a data frame have come that is not complete yet."""
        return 0 if self._payload is None else self._payload.tell()

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the server; call `read` before the content of a view changes."""
        if not self._is_stopped:
            # A part of a frame is left of the earlier reads. Put it in front.
            if self._data:
                data = b"".join((self._data[self._position :], data))
                self._position = 0
            self._reports_frames = self._listener is not None and self._listener.wants_frames()
            # The listener and the extensions of a user may read another connection, which
            # overwrites the content of a view.
            may_change = self._reports_frames or self.chain is not None
            self._data = data if frames.DECODES_VIEWS and not may_change else bytes(data)
            self.is_starved = False

    def read_single(self, data: bytes | memoryview) -> str | bytes | None:
        """Return the message that is all of these bytes from the server.

        If the bytes are anything else, return ``None`` and take nothing: `feed` is for them. This
        method serves a task that waits for each message, and costs a third of `feed` and `read`.
        """
        # Any of these means that more than these bytes decides what they are.
        if (
            self._data
            or self._left != _NO_FRAME
            or self._opcode is not None
            or self.chain is not None
            or self._drops_data
            or self._is_stopped
            or (self._listener is not None and self._listener.wants_frames())
        ):
            return None
        return frames.decode_single(data, self._max_plain_size, self._decode_text)

    def stop(self) -> None:
        """Read nothing any more; whether a message is unfinished is still known."""
        self._is_stopped = self.is_starved = True
        self._data = b""
        self._position = 0
        self._payload = None
        self._report = None

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
                # In the middle of a frame, only its payload can follow.
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
        if (self.is_starved and self._position) or isinstance(self._data, memoryview):
            # Otherwise all bytes of a burst would be kept until the next read, or the content of
            # the view would change.
            self._data = bytes(self._data[self._position :])
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
        # It is no attribute, because a bound method refers to its object: that would be a cycle.
        inflate = None if self.deflate is None else self._inflate_message
        # One call takes every whole plain message at the front, in C if there is a compiler.
        messages, stop, size = frames.decode(
            data, self._position, self._max_plain_size, self._make_text, inflate
        )
        # The messages before a violation were right, so they are handed out before it is raised.
        if messages:
            events.append((messages, size + self._inflated_size))
        if self.violation is not None:
            raise self.violation
        if stop == len(data):
            self._data = b""
            self._position = 0
            self.is_starved = True
            return True
        self._position = stop
        self._budget.left -= len(messages) * self._message_cost
        # `decode` also stops at its own limit, or when the budget is spent. Then the next frame may
        # be plain.
        return len(messages) >= frames.MAX_MESSAGES or self._budget.left <= 0

    def _inflate_message(self, first_byte: int, payload: bytes) -> Entry | None:
        """Inflate a message for `frames.decode`; ``None`` makes it stop there."""
        assert self.deflate is not None
        if len(payload) > _MAX_FAST or self._budget.left <= 0:
            return None
        try:
            self.deflate.begin_message()
            inflated = self.deflate.inflate_all(payload, self._budget)
            self.deflate.end_message()
            message = self._make_message(_OPCODES[first_byte & header.OPCODE], inflated)
        except ProtocolViolation as exc:
            # Raised here, it would lose the messages before this one.
            self.violation = exc
            return None
        if isinstance(message, str) and not message.isascii():
            self._inflated_size += 4 * len(message)  # CPython needs up to four bytes a character.
        else:
            self._inflated_size += len(inflated)
        return message

    # A frame by itself: the header

    def _read_header(self) -> None:
        """Take a header once it has come completely, and check it (RFC 6455 §5.2)."""
        data, start = self._data, self._position
        available = len(data) - start
        if available < 2:
            self.is_starved = True
            return
        first_byte, second_byte = data[start], data[start + 1]
        opcode, size = first_byte & header.OPCODE, second_byte & ~header.MASKED
        header_size = 2 if size < 126 else 4 if size == 126 else 10
        # The length needs two or eight bytes more (RFC 6455 §5.2).
        if available < header_size:
            self.is_starved = True
            return
        if header_size > 2:
            size = int.from_bytes(data[start + 2 : start + header_size], "big")
        self._position = start + header_size
        self._frame_opcode, self._fin = opcode, first_byte & header.FIN != 0
        self._size = self._left = size
        self._budget.left -= FRAME_COST
        self._report = None
        if self._reports_frames:  # Before the checks, because a refused frame is reported too.
            self._report = self._begin_report(first_byte)
            self._budget.left -= REPORT_COST
        # The order of the bits: the header itself, RSV, MASK. All this comes before any payload.
        header.check(first_byte, size, header_size)
        rsv = first_byte & header.RSV
        header.check_rsv(opcode, rsv & ~self._used_bits(rsv))
        header.check_mask(opcode, second_byte)
        if opcode < header.CLOSE:
            self._begin_data_frame(_OPCODES[opcode], rsv)

    def _begin_report(self, first_byte: int) -> FrameReport:
        assert self._listener is not None
        limit = self._limits.max_message_size
        # A frame of empty deflate blocks may be far longer than what comes out of it.
        most = None if limit is None else max(limit, header.MAX_CONTROL_SIZE)
        return FrameReport(self._listener, first_byte, self._size, most)

    def _used_bits(self, rsv: int) -> int:
        """Return the reserved bits that extensions use in the frame under way."""
        opcode = self._frame_opcode
        if self.chain is not None:
            if self._drops_data and opcode < header.CLOSE:
                return header.RSV  # The extensions don't see it, so each bit may be theirs.
            return self.chain.begin_frame(opcode, rsv >> 4, self._size) << 4
        if self.deflate is not None and opcode in {Opcode.TEXT, Opcode.BINARY}:
            return header.RSV1  # RFC 7692 §6: the message is compressed.
        return 0

    def _begin_data_frame(self, opcode: Opcode, rsv: int) -> None:
        """Check a data frame against its message and the limits (RFC 6455 §5.4)."""
        if opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise ProtocolViolation("a CONTINUATION frame outside of a message")
        elif self._opcode is not None:
            raise ProtocolViolation(
                f"a {opcode.name} frame inside of a message that is not finished"
            )
        else:
            self._begin_message(opcode, rsv)
        # After our Close, nobody will take this message, so no limit of the user's counts.
        if self._drops_data:
            return
        self._fragments += 1
        self._limits.check_frame(self._size)
        # What an extension makes of a payload is measured when it comes out.
        if not self._is_transformed:
            self._message_size += self._size
        self._limits.check_message(self._message_size, self._fragments)

    def _begin_message(self, opcode: Opcode, rsv: int) -> None:
        self._opcode = opcode
        self._message_size = self._fragments = 0
        self._utf8.reset()
        self._is_compressed = False
        if self.chain is None and rsv & header.RSV1:
            assert self.deflate is not None
            self.deflate.begin_message()
            self._is_compressed = True

    @property
    def _is_transformed(self) -> bool:
        """Whether extensions may change the payloads of the message under way."""
        return self._is_compressed or self.chain is not None

    # A frame by itself: the payload

    def _read_payload(self, events: list[Event]) -> None:
        """Take what has come of a payload; at the end of the frame, make an event of it."""
        available = len(self._data) - self._position
        is_control = self._frame_opcode >= header.CLOSE
        # A control frame is handled when it is complete; it has 125 bytes at most.
        if available < self._left and (is_control or not available):
            self.is_starved = True
        elif is_control:
            self._end_control_frame(events)
        else:
            piece = self._read_piece()
            is_complete = self._left == 0
            fin = is_complete and self._fin
            if not self._drops_data:
                self._add_data(piece, events, is_complete=is_complete, fin=fin)
            if is_complete:
                self._left = _NO_FRAME
            if fin:
                self._opcode = None

    def _read_piece(self) -> bytes | memoryview:
        """Take a piece of a data frame, and return what extensions make of it."""
        # Nobody sees these bytes, so they are not inflated either.
        if self._drops_data:
            return self._take(self._left)
        if self.chain is not None:
            piece = self.chain.receive(bytes(self._take(self._max_chained_piece)))
            if self._left == 0:
                piece += self.chain.end_frame(fin=self._fin)
            self._budget.left -= HOOKS_COST + len(piece) * INFLATED_BYTE_COST
            return piece
        if not self._is_compressed:
            return self._take(self._left)
        assert self.deflate is not None
        start = self._position
        size = min(_MAX_PIECE, self._left)
        # Inflating may stop half-way, when the work budget is spent. Then only a part was taken.
        piece, taken = self.deflate.inflate(self._data[start : start + size], self._budget)
        self._take(taken)
        if self._left == 0 and self._fin:
            self.deflate.end_message()
        return piece

    def _take(self, size: int) -> bytes | memoryview:
        """Take the next bytes of the payload, as many as have come."""
        start = self._position
        piece = self._data[start : start + min(size, self._left)]
        self._position = start + len(piece)
        self._left -= len(piece)
        if self._report is not None:
            self._report.add(piece)
        return piece

    def _add_data(
        self, piece: bytes | memoryview, events: list[Event], *, is_complete: bool, fin: bool
    ) -> None:
        """Add a piece to the frame under way."""
        opcode = _OPCODES[self._frame_opcode]
        is_message = self._fin and opcode is not Opcode.CONTINUATION
        is_text = self._decode_text and self._opcode is Opcode.TEXT
        if self._is_transformed:
            self._message_size += len(piece)
            self._limits.check_message(self._message_size, self._fragments)
        if is_complete and self._payload is None:
            # The whole frame came in one piece. A message in one frame is checked when it is
            # decoded.
            payload = bytes(piece)
            if is_text and not is_message:
                self._utf8.check(piece, final=fin)
        else:
            if self._payload is None:
                self._payload = io.BytesIO()
            # A frame that arrives in pieces is checked piece by piece (RFC 6455 §8.1).
            self._payload.write(piece)
            if is_text:
                self._utf8.check(piece, final=fin)
            if not is_complete:
                return
            payload = self._payload.getvalue()
            self._payload = None
        if is_message:
            events.append(self._make_message(opcode, payload))
        else:
            events.append(DataFrame(opcode, payload, fin))

    def _make_message(self, opcode: Opcode, payload: bytes) -> Entry:
        """Make a message of the payload of its only frame."""
        if opcode is Opcode.BINARY:
            return payload
        return utf8.decode(payload) if self._decode_text else _text_frame(payload)

    # Control frames (RFC 6455 §5.5)

    def _end_control_frame(self, events: list[Event]) -> None:
        payload = bytes(self._take(self._left))
        self._left = _NO_FRAME
        if self.chain is not None:
            self._budget.left -= HOOKS_COST
            payload = self.chain.receive(payload) if payload else payload
            payload += self.chain.end_frame(fin=True)
        # Nothing may follow a Close (RFC 6455 §5.5.1), so nothing is read after it.
        if self._frame_opcode == header.CLOSE:
            events.append(parse_close(payload))
            self.stop()
        elif not self._drops_data:
            events.append(Ping(payload) if self._frame_opcode == header.PING else Pong(payload))


def _text_frame(payload: bytes) -> DataFrame:
    return DataFrame(Opcode.TEXT, payload, fin=True)
