"""How a connection ended, as the exception that says so (RFC 6455 §7.1.4 to §7.1.7)."""

from __future__ import annotations

from typing import Final

from trio_wsclient._errors import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from trio_wsclient._protocol.closing import NO_STATUS, ClosedBy, Closing
from trio_wsclient._text import escape_controls, exception_text

_QUIET_CODES: Final = frozenset({1000, 1001, NO_STATUS})  # RFC 6455 §7.4.1: nothing is wrong


def close_error(closing: Closing, kind: type[ConnectionClosedOK]) -> ConnectionClosed:
    """Make the exception that says how the connection ended.

    Args:
        closing: The record of the connection, which has ended.
        kind: Its class, if nothing is wrong.
    """
    received, sent = closing.received, closing.sent
    error: ConnectionClosed
    if closing.closed_by is ClosedBy.CLIENT:
        error = kind(received, sent, f"closed by this side: {sent}")
        error.__cause__ = closing.cause
        return error
    if received is not None:
        problem = f"closed by the server: {received}"
        cause: BaseException | None = None
        if closing.closed_mid_message:
            problem += ", in the middle of a message"
            cause = EOFError("the message under way was never finished")
        elif received.code in _QUIET_CODES:
            return kind(received, sent, problem)
        error = ConnectionClosedError(received, sent, problem)
    else:
        cause = closing.cause
        assert cause is not None
        text = escape_controls(exception_text(cause))
        problem = f"no Close frame: {text}" if sent is None else f"failed by this side: {sent}"
        error = ConnectionClosedError(None, sent, problem)
    error.__cause__ = cause
    return error
