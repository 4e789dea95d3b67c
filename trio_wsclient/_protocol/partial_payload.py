"""The payload of a data frame that has not come completely."""

from __future__ import annotations

import io
from typing import Final

_AMPLIFICATION: Final = 4  # room for a payload is at most this many times what has come


class PartialPayload:
    """The payload of a data frame as far as it has come.

    Room is made before it is needed, because a buffer that grows with each piece is moved again and
    again. But a header may declare any size, so the room is at most four times what has come.

    Args:
        declared_size: Bytes that will come, or 0 if that is unknown.

    Attributes:
        size: Bytes that have come.
    """

    __slots__ = ("_declared_size", "_payload", "_room", "size")

    def __init__(self, declared_size: int) -> None:
        self._declared_size = declared_size
        self._payload = io.BytesIO()
        self._room = 0
        self.size: int = 0

    def add(self, piece: bytes) -> None:
        """Add the next piece."""
        size = self.size + len(piece)
        if self._room < size < self._declared_size:
            self._room = min(self._declared_size, _AMPLIFICATION * size)
            self._payload.seek(self._room - 1)
            self._payload.write(b"\0")
            self._payload.seek(self.size)
        self._payload.write(piece)
        self.size = size

    def finish(self) -> bytes:
        """Return the payload, which is complete."""
        return self._payload.getvalue()
