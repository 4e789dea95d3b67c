"""What is worth another try, and after how long a server asks to be left alone."""

from __future__ import annotations

import ssl
import time
from typing import Final

import trio

from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    ProxyError,
    WebSocketError,
)
from trio_wsclient._headers import Headers
from trio_wsclient._net.socks import UnreachableError
from trio_wsclient._protocol.closing import ABNORMAL, NO_STATUS

# RFC 6455 §7.4.1 and the registry of IANA: it went away, or could not go on this time.
_CODES: Final = frozenset({1001, NO_STATUS, ABNORMAL, 1011, 1012, 1013, 1014})
_STATUS_CODES: Final = frozenset({408, 425, 429})  # RFC 9110 §15.5.9, RFC 8470, RFC 6585
_SERVER_ERRORS: Final = range(500, 600)  # RFC 9110 §15.6
_MAX_RETRY_AFTER: Final = 86_400.0  # seconds, a day: beyond it a server's mistake is likelier
_MAX_DATE_SIZE: Final = 64  # characters: twice the longest form (RFC 9110 §5.6.7)
_NETWORK_FAULTS: Final = (OSError, EOFError, trio.BrokenResourceError)


def retry_delay(
    error: WebSocketError,
    failures: int,  # noqa: ARG001 it is for those that users put into its place
) -> float | None:
    """Tell whether another try is worth it, as ``reconnecting`` asks by default.

    It is worth it after

    * a network fault: TCP, name look-up, TLS but for the certificate, an answer that was cut off, a
      proxy that broke off or could not reach the server, ``OpenTimeout``;
    * the status codes 408, 425, 429 and 500 to 599, of the server or of a proxy;
    * the Close codes 1001, 1005, 1006 and 1011 to 1014, whoever sent them.

    It is not after any other status (401, 403, 404, ...), a certificate that is not trusted, an
    answer that RFC 6455 forbids, and the other Close codes: 1000, what is wrong in what was sent
    (1002, 1003, 1007 to 1010), and the application's own (3000 and above).

    Args:
        error: What ended the connection, or kept it from opening.
        failures: How many there were in a row, this one included. The default does not look at it.

    Returns:
        For how many seconds to wait at least, which is what the server asks for by ``Retry-After``
        (RFC 9110 §10.2.3), a day at most, else 0. ``None`` if it is not worth it.
    """
    if isinstance(error, ConnectionClosed):
        # Ours first: where the server began, it is the echo; where we did, theirs is an answer.
        frame = error.sent or error.received
        return 0.0 if (ABNORMAL if frame is None else frame.code) in _CODES else None
    if isinstance(error, ConnectionRejected | ProxyError) and error.status_code is not None:
        return _delay_of_status(error.status_code, error.headers)
    if isinstance(error, OpenTimeout | UnreachableError):
        return 0.0
    is_fault = isinstance(error, HandshakeError) and isinstance(error.__cause__, _NETWORK_FAULTS)
    is_untrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError)
    return 0.0 if is_fault and not is_untrusted else None


def _delay_of_status(status_code: int, headers: Headers | None) -> float | None:
    if status_code not in _STATUS_CODES and status_code not in _SERVER_ERRORS:
        return None
    return 0.0 if headers is None else _retry_after(headers.get("Retry-After", ""))


def _retry_after(value: str) -> float:
    """Return how many seconds the value of a ``Retry-After`` means; 0 if it means nothing."""
    if value.isascii() and value.isdigit():
        seconds = float(value)
    elif len(value) > _MAX_DATE_SIZE:  # To parse it might take long.
        return 0.0
    else:
        # Few programs need these, and to import them takes 2 ms.
        from datetime import UTC  # noqa: PLC0415
        from email.utils import parsedate_to_datetime  # noqa: PLC0415

        try:
            date = parsedate_to_datetime(value)
            # RFC 9110 §5.6.7: its obsolete forms do not say so, but are of Greenwich.
            zone = date.tzinfo or UTC
            seconds = date.replace(tzinfo=zone).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
