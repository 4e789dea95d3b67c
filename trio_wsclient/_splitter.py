"""The server's bytes, cut at the borders of frames (RFC 6455 §5.2).

A header (2 to 10 bytes) is held back until it is whole, and so is the payload of a control frame; a
payload of data is passed on as it arrives. Nothing is ever allocated by a declared length. Whether
the frame is a legal one is for wsproto to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from trio_wsclient import _frames
from trio_wsclient._events import Entry

CONTROL: Final = 8  # opcodes from here on are of control frames (RFC 6455 §5.2)
TRACE_SIZE: Final = 24  # bytes of a payload that a trace shows

_HEADER_SIZE: Final = {126: 4, 127: 10}  # bytes, by the length in the second byte

# Called with the first byte of a frame (FIN, reserved bits, opcode), the declared size of its
# payload, and the beginning of that.
Trace: TypeAlias = Callable[[int, int, bytes], None]


class Splitter:
    """The input of one connection."""

    def __init__(self) -> None:
        self._data = b""
        self._position = 0  # in _data: what is before it was taken
        self._untraced: bytearray | None = None  # the beginning of the payload, until it is traced
        self.trace: Trace | None = None
        self.starved: bool = True  # whether there is nothing to take without more input
        self.first_byte: int = 0  # of the frame under way
        self.size: int = 0  # bytes of its payload, as declared
        self.remaining: int = 0  # of those, how many were not taken yet

    @property
    def opcode(self) -> int:
        """The opcode of the frame under way, any of the sixteen."""
        return self.first_byte & 0x0F

    @property
    def is_control(self) -> bool:
        return self.opcode >= CONTROL

    @property
    def at_border(self) -> bool:
        """Whether what comes next is a header."""
        return not self.remaining

    def feed(self, data: bytes) -> None:
        """Take more input."""
        self._data = self._data[self._position :] + data
        self._position = 0
        self.starved = False

    @property
    def is_empty(self) -> bool:
        """Whether all has been taken, up to the border of a frame."""
        return self._position == len(self._data) and not self.remaining

    def hold(self, data: bytes, position: int) -> None:
        """Take more input, of which so many bytes are taken already; there must be none before."""
        self._data = data
        self._position = position
        self.starved = False

    def take_plain(
        self, decode: Callable[[bytes, int], tuple[list[Entry], int, int]]
    ) -> tuple[list[Entry], int]:
        """Take the plain frames that come next.

        Args:
            decode: Called with the input and a position, as ``_frames.decode`` has them.

        Returns:
            The messages, and how many bytes they take.
        """
        data = self._data
        messages, self._position, size = decode(data, self._position)
        self.starved = self._position == len(data)
        return messages, size

    def peek_header(self) -> tuple[int, int, bool] | None:
        """Return what the header that comes next says, if it is there and of a sound form.

        Returns:
            The first byte, the size of the payload, and whether that is here as a whole.
        """
        data, start = self._data, self._position
        if len(data) - start < 2:  # noqa: PLR2004
            return None
        begin, size = start + 2, data[start + 1]
        if size > 125:  # noqa: PLR2004 RFC 6455 §5.2
            begin, size = _frames.long_size(data, start)
        return None if size < 0 else (data[start], size, begin + size <= len(data))

    def take_header(self) -> bytes:
        """Take a header, if it is there as a whole."""
        data, start = self._data, self._position
        if len(data) - start < 2:  # noqa: PLR2004
            self.starved = True
            return b""
        length = data[start + 1] & 0x7F
        is_control = data[start] & 0x0F >= CONTROL
        # RFC 6455 §5.5: a control frame has no extended length; wsproto refuses it by two bytes.
        end = start + (2 if is_control else _HEADER_SIZE.get(length, 2))
        if len(data) < end:
            self.starved = True
            return b""
        if end - start > 2:  # noqa: PLR2004
            length = int.from_bytes(data[start + 2 : end], "big")
        self._position = end
        self.first_byte = data[start]
        self.size = self.remaining = length
        if self.trace is not None:
            self._untraced = bytearray()
            self._trace(b"")
        return data[start:end]

    def take_payload(self, max_size: int | None = None) -> bytes:
        """Take what is there of a payload, up to so many bytes; of a control frame all or nothing.

        Args:
            max_size: Bytes; ``None`` for no limit.
        """
        size = self.remaining
        if max_size is not None and not self.is_control:
            size = min(size, max_size)
        piece = self._data[self._position : self._position + size]
        if len(piece) < size and (self.is_control or not piece):
            self.starved = True
            return b""
        self._position += len(piece)
        self.remaining -= len(piece)
        self.starved = self._position == len(self._data)
        if self._untraced is not None:
            self._trace(piece)
        return piece

    def trace_refused(self) -> None:
        """Trace the frame under way now, as no more of it will be taken."""
        if self._untraced is not None:
            rest = self._data[self._position : self._position + self.remaining]
            self._untraced += rest[:TRACE_SIZE]
            self._emit()

    def _trace(self, piece: bytes) -> None:
        assert self._untraced is not None
        self._untraced += piece[:TRACE_SIZE]
        if len(self._untraced) >= min(TRACE_SIZE, self.size):
            self._emit()

    def _emit(self) -> None:
        assert self._untraced is not None
        beginning, self._untraced = bytes(self._untraced[:TRACE_SIZE]), None
        if self.trace is not None:
            self.trace(self.first_byte, self.size, beginning)
