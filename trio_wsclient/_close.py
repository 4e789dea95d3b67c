"""Close frames: the code and the reason (RFC 6455 §5.5.1 and §7.4), as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trio_wsclient._text import escape_controls

NO_STATUS: Final = 1005  # RFC 6455 §7.1.5: the Close carried no code
ABNORMAL: Final = 1006  # RFC 6455 §7.1.5: no Close came

# IANA "WebSocket Close Code Number Registry".
_NAMES: Final = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no status code",
    1006: "abnormal closure",
    1007: "invalid payload",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failure",
}

# RFC 6455 §7.4.1: these stand for something that was not on the wire; 1004 has no meaning.
_NEVER_SENT: Final = frozenset({1004, 1005, 1006, 1015})

_MAX_REASON_SIZE: Final = 123  # bytes: 125 of a control frame (RFC 6455 §5.5) less the code


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """A Close frame as it was received or sent (RFC 6455 §5.5.1).

    Attributes:
        code: The status code; 1005 if the frame carried none.
        reason: The text behind the code, at most 123 bytes of UTF-8; often empty.
    """

    code: int
    reason: str = ""

    def __str__(self) -> str:
        """Describe the frame in one line: ``1011 (internal error) "shard gone"``."""
        name = _NAMES.get(self.code)
        text = f"{self.code} ({name})" if name else f"{self.code}"
        return f'{text} "{escape_controls(self.reason)}"' if self.reason else text


def check_close(code: int, reason: str) -> None:
    """Check what a user wants to send in a Close frame (RFC 6455 §7.4).

    Raises:
        TypeError: The code is not an ``int``, or the reason not a ``str``.
        ValueError: The code may not be sent, or the reason does not fit the frame.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code is an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
    registered = code in _NAMES and code not in _NEVER_SENT
    if not registered and not 3000 <= code <= 4999:  # noqa: PLR2004 RFC 6455 §7.4.2
        raise ValueError(f"close code {code} can't be sent")
    size = len(reason.encode())
    if size > _MAX_REASON_SIZE:
        raise ValueError(f"a close reason has at most {_MAX_REASON_SIZE} bytes, not {size}")


def shorten_reason(text: str) -> str:
    """Cut a text so that it fits a Close frame, never inside a code point."""
    # The text of an extension's exception may be anything.
    data = text.encode(errors="backslashreplace")
    return data[:_MAX_REASON_SIZE].decode(errors="ignore")
