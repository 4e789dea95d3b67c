"""Inflating the server's messages (RFC 7692 §7.2.2), none beyond a limit.

Payloads are inflated as they arrive, and no more comes out of zlib than the limit has left: a bomb
costs no more than a message that is legal. What a block with BFINAL leaves over is the beginning of
a new deflate stream (§7.2.3.4). At the end of a message the four bytes are put back, and have to
end a block: else the message was cut off in the middle of one. With two faults in a frame it may
depend on how the bytes were cut which one is told; and whether a server keeps to a smaller window
zlib sees only from one piece to the next.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zlib import _Decompress

TAIL: Final = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1: what ends a flush, and is not sent
MAX_BITS: Final = 15  # RFC 7692 §7.1.2: base-2 logarithm of the size of a window
_LAST: Final = b"\x01\x00\x00\xff\xff"  # RFC 1951 §3.2.4: an empty block with BFINAL
_STREAM_WORK: Final = 1024  # as many bytes could be inflated while zlib begins a stream


class TooBigError(Exception):
    """A message is over the limit."""


class Inflater:
    """Inflates one message after the other, none beyond a limit."""

    def __init__(self, max_message_size: int | None) -> None:
        self._max_message_size = max_message_size
        self._bits = MAX_BITS
        self._takeover = True
        self._zlib: _Decompress | None = None
        self._size = 0  # bytes that have come out, of the message under way
        self._is_empty = True  # whether none has gone in
        self.work: int = 0
        self.saved: int = 0  # bytes that came out, less those that went in

    def configure(self, bits: int, *, takeover: bool) -> None:
        self._bits = bits
        self._takeover = takeover

    def begin(self) -> None:
        self._size = 0
        self._is_empty = True

    def inflate(self, data: bytes) -> bytes:
        limit = self._max_message_size
        made = []
        self.saved -= len(data)
        while data:
            self._is_empty = False
            if self._zlib is None:
                self._zlib = zlib.decompressobj(-self._bits)
                self.work += _STREAM_WORK
            # One byte more than the limit, so that it can be seen; 0 is any number.
            piece = self._zlib.decompress(data, 0 if limit is None else limit - self._size + 1)
            self._size += len(piece)
            if limit is not None and self._size > limit:
                raise TooBigError(f"a message over max_message_size ({limit}) once inflated")
            self.work += len(piece)
            self.saved += len(piece)
            made.append(piece)
            data = self._zlib.unused_data
            if self._zlib.eof:  # RFC 7692 §7.2.3.4: a block with BFINAL
                self._zlib = None
        return b"".join(made)

    def finish(self) -> bytes:
        # Behind a block with BFINAL, or without any byte, there is no block to end.
        if self._zlib is not None and not self._is_empty:
            made = self._zlib.decompress(TAIL, 1)
            if self._zlib.eof and not (made or self._zlib.unused_data):
                self._zlib = None  # A last block has ended with just these bytes.
                return b""
            # The tail may have been taken for part of something else. A last block is taken for
            # what it is only where a block can begin.
            ending = self._zlib.copy()
            if made or ending.decompress(_LAST, 1) or not ending.eof or ending.unused_data:
                raise zlib.error("the message ends inside a block")
        if not self._takeover:
            self._zlib = None
        return b""

    def inflate_message(self, data: bytes) -> bytes:
        self.begin()
        made = self.inflate(data)
        self.finish()
        return made
