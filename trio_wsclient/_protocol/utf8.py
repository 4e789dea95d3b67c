"""The check that Text is UTF-8 (RFC 6455 §5.6 and §8.1).

A message that is complete is checked when it is decoded. A payload that is still arriving is
checked piece by piece, so that a server learns of a wrong byte before the message ends.
"""

from __future__ import annotations

import codecs

from trio_wsclient._protocol.closing import (
    INVALID_PAYLOAD,
    ProtocolViolation,
    RemoteProtocolError,
)


def decode(payload: bytes) -> str:
    """Decode a complete message.

    Raises:
        ProtocolViolation: The message is not UTF-8.
    """
    try:
        return payload.decode()
    except UnicodeDecodeError as exc:
        raise _not_utf8(exc, position=exc.start) from exc


class IncrementalCheck:
    """The check of a message that arrives in pieces, which may be cut inside a code point."""

    def __init__(self) -> None:
        # Only made when it is needed: it would cost an idle connection 1.6 KiB.
        self._decoder: codecs.IncrementalDecoder | None = None
        self._size = 0  # bytes of the message that were checked

    def reset(self) -> None:
        """Begin a message."""
        if self._decoder is not None:
            self._decoder.reset()
        self._size = 0

    def check(self, piece: bytes | memoryview, *, final: bool) -> None:
        """Check the next piece; the ``final`` one must not end inside a code point.

        Raises:
            ProtocolViolation: The message is not UTF-8.
        """
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError as exc:
            # The object of the exception begins with what the decoder has kept of earlier pieces.
            kept = len(exc.object) - len(piece)
            raise _not_utf8(exc, position=self._size - kept + exc.start) from exc
        self._size += len(piece)


def _not_utf8(cause: UnicodeDecodeError, position: int) -> ProtocolViolation:
    # The text of the decoder's error depends on how the bytes were cut, so it is not quoted.
    byte = cause.object[cause.start]
    error = RemoteProtocolError(
        f"a TEXT message that is not UTF-8: byte 0x{byte:02x} at position {position}"
    )
    error.__cause__ = cause
    return ProtocolViolation(error, INVALID_PAYLOAD)
