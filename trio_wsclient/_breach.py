"""What a server must not do: why the connection fails, and with which code (RFC 6455 §7.1.7)."""

from __future__ import annotations

from typing import Final

from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError


class Breach(Exception):
    """What has come fails the connection.

    Attributes:
        breach: Why, and with which code.
    """

    def __init__(self, cause: Exception, code: int) -> None:
        super().__init__(str(cause))
        self.breach: Final = (cause, code)


def too_big(text: str) -> Breach:
    """Make the breach of a limit."""
    return Breach(RemoteProtocolError(text), CloseReason.MESSAGE_TOO_BIG)


def not_utf8(cause: UnicodeDecodeError) -> Breach:
    """Make the breach of a Text message that is not UTF-8 (RFC 6455 §8.1)."""
    # The decoder's own text would depend on how the bytes were cut.
    error = RemoteProtocolError("a Text message is not UTF-8")
    error.__cause__ = cause
    return Breach(error, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
