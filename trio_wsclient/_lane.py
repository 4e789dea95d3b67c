"""The fast lane around wsproto, for messages that come or go in a single frame.

wsproto is the judge of the protocol, and takes some 10 µs a frame for it. What is sound at first
sight, as nearly all frames are, need not go there: plain frames (``_frames``), also while they are
still coming, and those that our own deflate has compressed. The lane stops, and has done nothing,
where a frame is anything else. As it takes whole messages only, wsproto never misses them.

In the tests wsproto alone is the oracle: with the lane closed the same bytes, cut anywhere, have to
give the same events and the same end.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable
from typing import Final

from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from trio_wsclient import _frames
from trio_wsclient._breach import Breach, not_utf8
from trio_wsclient._deflate import Deflate
from trio_wsclient._events import Batch, DataFrame, Entry, Event, Opcode
from trio_wsclient._splitter import Splitter

_NO_LIMIT: Final = 2**63 - 1  # bytes: no frame is larger (RFC 6455 §5.2)
_MAX_COMPRESSED: Final = 4096  # bytes: zlib makes 4 MiB of them at most, while other tasks wait
_MAX_WORK: Final = 262_144  # bytes to inflate a call, for the same reason; a message counts
_MESSAGE_WORK: Final = 1024  # as many more
_LONG: Final = 65_536  # bytes of a message from which on memory matters
# Of memory at most so many times what has come is asked for, whatever a header declares.
_AMPLIFICATION: Final = 4
_DATA: Final = frozenset({_frames.TEXT, _frames.BINARY})


class Lane:
    """The lane of one connection.

    Args:
        source: The input.
        deflate: Our own deflate, if it is in use.
        decode_text: As in the options, also the next two.
        max_message_size: Bytes.
        max_frame_size: Bytes.
    """

    def __init__(
        self,
        source: Splitter,
        deflate: Deflate | None,
        *,
        decode_text: bool,
        max_message_size: int | None,
        max_frame_size: int | None,
    ) -> None:
        self._source = source
        self._deflate = deflate
        self._make_text = None if decode_text else _text_frame
        max_frame_size = _NO_LIMIT if max_frame_size is None else max_frame_size
        max_message_size = _NO_LIMIT if max_message_size is None else max_message_size
        self._max_plain = min(max_frame_size, max_message_size)
        self._growing: _Growing | None = None
        self._inflate = None if deflate is None else self._inflate_message
        self._inflated = 0  # bytes that compressed messages take, in the call under way
        self._work = 0  # and what it was to inflate them
        self._breach: Breach | None = None  # what was found there, behind messages

    # Incoming

    @property
    def is_inside(self) -> bool:
        """Whether a message is under way in the lane."""
        return self._growing is not None

    @property
    def partial_size(self) -> int:
        """How many bytes of it have come."""
        return 0 if self._growing is None else self._growing.size

    def take_at_once(self, data: bytes) -> tuple[list[Entry], int]:
        """Take the plain messages at the beginning of more input; the rest is held.

        Args:
            data: The input. There must be none before.

        Returns:
            The messages, and how many bytes they take.
        """
        if self._inflate is None:
            messages, stop, size = _frames.decode(data, 0, self._max_plain, self._make_text, None)
        else:
            messages, stop, size = self._decode(data, 0)
        if stop < len(data):
            self._source.hold(data, stop)
        return messages, size

    def take(self) -> Event | None:
        """Take messages; ``None`` where the lane stops, or more input is needed.

        Raises:
            Breach: A Text message is not UTF-8, or deflate refuses a message.
        """
        if self._breach is not None:
            raise self._breach
        try:
            if self._growing is not None:
                return self._go_on(self._growing)
            messages, size = self._source.take_plain(self._decode)
            return Batch(messages, size) if messages else self._begin()
        except UnicodeDecodeError as exc:
            raise not_utf8(exc) from exc

    def drop(self) -> None:
        """Drop what comes of the message under way."""
        self._source.take_payload()
        if self._source.at_border:
            self._growing = None

    def _decode(self, data: bytes, start: int) -> tuple[list[Entry], int, int]:
        self._inflated = self._work = 0
        messages, stop, size = _frames.decode(
            data, start, self._max_plain, self._make_text, self._inflate
        )
        return messages, stop, size + self._inflated

    def _inflate_message(self, first_byte: int, payload: bytes) -> Entry | None:
        """Make a message of a compressed one, if it may be done here and now, and can be."""
        assert self._deflate is not None
        if len(payload) > _MAX_COMPRESSED or self._work > _MAX_WORK:
            return None
        inflated = self._deflate.inflate_message(payload)
        if isinstance(inflated, CloseReason):
            self._breach = Breach(RemoteProtocolError(self._deflate.refusal), inflated)
            return None
        size = len(inflated)
        self._work += size + _MESSAGE_WORK
        message: Entry = inflated
        if first_byte == _frames.TEXT:
            try:
                message = (
                    inflated.decode() if self._make_text is None else self._make_text(inflated)
                )
            except UnicodeDecodeError as exc:
                self._breach = not_utf8(exc)
                return None
            if isinstance(message, str) and not message.isascii():
                size = 4 * len(message)
        self._inflated += size
        return message

    def _begin(self) -> Event | None:
        """Take the beginning of a plain message that is not whole yet."""
        if self._breach is not None:
            raise self._breach
        header = self._source.peek_header()
        if header is None:
            return None
        first_byte, size, is_whole = header
        if first_byte not in _DATA or size > self._max_plain or is_whole:
            return None
        self._source.take_header()
        self._growing = _Growing(self._make_text if first_byte == _frames.TEXT else bytes, size)
        return self._go_on(self._growing)

    def _go_on(self, growing: _Growing) -> Event | None:
        growing.add(self._source.take_payload(), is_last=self._source.at_border)
        if not self._source.at_border:
            return None
        self._growing = None
        return growing.finish()

    # Outgoing

    def build(self, opcode: Opcode, payload: bytes) -> bytes:
        """Serialise a message in a single frame."""
        first_byte = _frames.TEXT if opcode is Opcode.TEXT else _frames.BINARY
        if self._deflate is not None:
            first_byte, payload = _compress(self._deflate, first_byte, payload)
        return _frames.build(first_byte, payload)

    def build_in_pieces(self, opcode: Opcode, payload: bytes) -> Iterable[bytes | bytearray]:
        """Serialise a long message in a single frame, piece by piece, as it is written."""
        first_byte = _frames.TEXT if opcode is Opcode.TEXT else _frames.BINARY
        if self._deflate is not None:
            first_byte, payload = _compress(self._deflate, first_byte, payload)
        return _frames.build_in_pieces(first_byte, payload)


class _Growing:
    """A plain message of which not all has come.

    Args:
        make: What makes a message of the payload; ``None`` to decode it, and check it as it comes.
        declared_size: Bytes that the header says.
    """

    def __init__(self, make: Callable[[bytes], Entry] | None, declared_size: int) -> None:
        self._make = make
        self._declared_size = declared_size
        self._decoder = codecs.getincrementaldecoder("utf-8")() if make is None else None
        self._payload = io.BytesIO()
        self._has_room = declared_size <= _LONG
        self.size: int = 0

    def add(self, piece: bytes, *, is_last: bool) -> None:
        self.size += len(piece)
        if self._decoder is not None:
            self._decoder.decode(piece, is_last)
        self._payload.write(piece)
        is_soon_whole = self.size * _AMPLIFICATION >= self._declared_size
        if is_soon_whole and not (self._has_room or is_last):
            self._make_room()

    def _make_room(self) -> None:
        """Make room for all of it at once: what grows bit by bit is moved again and again."""
        self._has_room = True
        self._payload.seek(self._declared_size - 1)
        self._payload.write(b"\0")
        self._payload.seek(self.size)

    def finish(self) -> Entry:
        payload = self._payload.getvalue()
        return payload.decode() if self._make is None else self._make(payload)


def _compress(deflate: Deflate, first_byte: int, payload: bytes) -> tuple[int, bytes]:
    compressed = deflate.compress_message(payload)
    return (
        (first_byte, payload)
        if compressed is None
        else (first_byte | _frames.COMPRESSED, compressed)
    )


def _text_frame(payload: bytes) -> DataFrame:
    return DataFrame(Opcode.TEXT, payload, fin=True)
