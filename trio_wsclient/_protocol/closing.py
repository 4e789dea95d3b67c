"""How a connection ends: who closed it, both Close frames and the cause (RFC 6455 §7).

Theory of operation
-------------------

A WebSocket ends in two steps. First one side decides to close, or finds that the connection has
failed; then the stream below is closed. The first decision counts: what either side does after it
changes nothing about how the connection ended.

So there are three states, and the second one says who decided:

=======  ==========  =====================================  ========================================
state    closed_by   input                                  output
=======  ==========  =====================================  ========================================
OPEN     ``None``    read                                   messages, control frames
CLOSING  ``CLIENT``  read until our Close is made; then     the rest of a message that has begun,
                     data is dropped until their Close      control frames, our Close; then nothing
CLOSING  ``SERVER``  ignored                                our Close with their code, then nothing
CLOSING  ``ERROR``   ignored                                our Close if it has a code, then nothing
CLOSED   as before   ignored                                nothing
=======  ==========  =====================================  ========================================

The stream is closed when the server has ended it, or when the time for that is over.

``ERROR`` has many causes: the server broke the protocol, TCP ended, a keepalive ping was not
answered, an extension failed. The cause is the exception in ``cause``.

`Closing` is only the record. The rules in the columns "input" and "output" are those of
`protocol`, and the closing handshake with its deadline is the connection's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from trio_wsclient._text import escape_controls, exception_text

# Codes that this library sends by itself (RFC 6455 §7.4.1).
PROTOCOL_ERROR: Final = 1002
INVALID_PAYLOAD: Final = 1007
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

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
_MAY_BE_SENT: Final = frozenset(_NAMES) - _NEVER_SENT
_FIRST_APPLICATION_CODE: Final = 3000  # RFC 6455 §7.4.2: to 4999, for libraries and programs
_LAST_APPLICATION_CODE: Final = 4999

_MAX_REASON_SIZE: Final = 123  # bytes: 125 of a control frame (RFC 6455 §5.5) less the code


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """A Close frame as it was received or sent (RFC 6455 §5.5.1).

    Attributes:
        code: The status code; 1005 if the frame carried none.
        reason: The text after the code, at most 123 bytes of UTF-8; often empty.
    """

    code: int
    reason: str = ""

    def __str__(self) -> str:
        """Describe the frame in one line: ``1011 (internal error) "shard gone"``."""
        name = _NAMES.get(self.code)
        text = f"{self.code} ({name})" if name else f"{self.code}"
        return f'{text} "{escape_controls(self.reason)}"' if self.reason else text


class RemoteProtocolError(Exception):
    """The cause of a connection's end: the server broke a rule or a limit; the text says which."""


class ProtocolViolation(Exception):
    """The server has sent something that fails the connection (RFC 6455 §7.1.7).

    Attributes:
        cause: What is wrong, as an exception whose text quotes the value.
        code: The code of the Close that says so.
    """

    def __init__(self, cause: str | Exception, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(cause)
        self.cause: Final = RemoteProtocolError(cause) if isinstance(cause, str) else cause
        self.code: Final = int(code)


class ClosedBy(enum.Enum):
    """The side, or the fault, that closed the connection."""

    CLIENT = enum.auto()
    SERVER = enum.auto()
    ERROR = enum.auto()


class State(enum.Enum):
    """The state of a connection; see the table in this module's docstring."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


class Closing:
    """The record of how one connection ends."""

    __slots__ = (
        "cause",
        "closed_by",
        "closed_mid_message",
        "received",
        "sent",
        "stream_closed",
        "stream_ended",
        "write_error",
    )

    def __init__(self) -> None:
        self.closed_by: ClosedBy | None = None  # set once; but see `Protocol._make_close`
        self.cause: BaseException | None = None  # why, if an error closed the connection
        self.received: CloseFrame | None = None  # the server's Close
        self.sent: CloseFrame | None = None  # ours
        self.closed_mid_message: bool = False  # whether the server's Close cut a message off
        self.stream_ended: bool = False  # whether nothing more can be read
        self.stream_closed: bool = False
        # Why nothing can be written any more, if that is so. The server may still say why.
        self.write_error: Exception | None = None

    @property
    def closer(self) -> Literal["client", "server"] | None:
        """The side that closed; ``None`` while it is open, or if an error closed the connection."""
        if self.closed_by is ClosedBy.CLIENT:
            return "client"
        return "server" if self.closed_by is ClosedBy.SERVER else None

    @property
    def may_send(self) -> bool:
        """Whether frames may be made: until our Close, unless the server or an error closed."""
        return (
            self.sent is None
            and self.write_error is None
            and not self.stream_closed
            and self.closed_by in {None, ClosedBy.CLIENT}
        )

    @property
    def is_known(self) -> bool:
        """Whether it is known how the connection ended: after our Close, the server has its say."""
        if self.closed_by is ClosedBy.CLIENT:
            return self.received is not None or self.stream_ended or self.stream_closed
        return self.closed_by is not None

    @property
    def state(self) -> State:
        if self.stream_closed:
            return State.CLOSED
        return State.OPEN if self.closed_by is None else State.CLOSING


def check_close(code: int, reason: str) -> None:
    """Check the Close frame that a caller wants to send (RFC 6455 §7.4).

    Raises:
        TypeError: The code is not an ``int``, or the reason not a ``str``.
        ValueError: The code must not be sent, or the reason is longer than 123 bytes.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code is an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
    if not _is_valid_code(code):
        raise ValueError(
            f"close code {code} can't be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999"
        )
    size = len(reason.encode())
    if size > _MAX_REASON_SIZE:
        raise ValueError(f"a close reason has at most {_MAX_REASON_SIZE} bytes, not {size}")


def _is_valid_code(code: int) -> bool:
    """Return whether a code may be on the wire, in either direction (RFC 6455 §7.4)."""
    return code in _MAY_BE_SENT or _FIRST_APPLICATION_CODE <= code <= _LAST_APPLICATION_CODE


def parse_close(payload: bytes) -> CloseFrame:
    """Parse the payload of the server's Close (RFC 6455 §5.5.1).

    Raises:
        ProtocolViolation: The payload is one byte, the code is not allowed on the wire, or the
            reason is not UTF-8.
    """
    if not payload:
        return CloseFrame(NO_STATUS)
    if len(payload) == 1:
        raise ProtocolViolation("a Close frame with a payload of 1 byte, which is half a code")
    code = int.from_bytes(payload[:2], "big")
    if not _is_valid_code(code):
        raise ProtocolViolation(f"a Close frame with code {code}, which must not be sent")
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError as exc:
        error = RemoteProtocolError(f"a Close frame with code {code} whose reason is not UTF-8")
        error.__cause__ = exc
        raise ProtocolViolation(error, INVALID_PAYLOAD) from exc


def close_payload(frame: CloseFrame) -> bytes:
    """Return the payload of a Close frame of ours."""
    return b"" if frame.code == NO_STATUS else frame.code.to_bytes(2, "big") + frame.reason.encode()


def close_for(cause: BaseException, code: int) -> CloseFrame:
    """Return a Close frame of ours that says why, as far as that fits."""
    # The exception of a user's extension may have a text that is not valid Unicode.
    reason = exception_text(cause).encode(errors="backslashreplace")
    return CloseFrame(code, reason[:_MAX_REASON_SIZE].decode(errors="ignore"))
