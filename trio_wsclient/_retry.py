"""What is worth a retry, and how long to wait before it."""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

import trio

from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    ProxyError,
    WebSocketError,
    drop_tracebacks,
)
from trio_wsclient._functions import refuse_async
from trio_wsclient._headers import Headers
from trio_wsclient._interrupts import call_interruptible
from trio_wsclient._net.socks import UnreachableError
from trio_wsclient._observe import Observer
from trio_wsclient._protocol.closing import ABNORMAL, NO_STATUS

RetryDelay: TypeAlias = Callable[[WebSocketError, int], float | None]

_MAX_DOUBLINGS: Final = 60  # from then on any delay is years

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
    * a normal end: ``ConnectionClosedOK``, whatever the code. A loop goes on until you leave it;
    * the end of TCP without a Close, and a server that a keepalive ping found silent;
    * the Close codes 1011 to 1014 of the server.

    It is not after any other status (401, 403, 404, ...), a certificate that is not trusted, an
    answer that RFC 6455 forbids, any other Close code of the server (1002, 1003, 1007 to 1010, and
    the application's own, 3000 and above), and what is wrong in what the server sent.

    Args:
        error: What ended the connection, or kept it from opening.
        failures: How many there were in a row, this one included. The default does not look at it.

    Returns:
        For how many seconds to wait at least, which is what the server asks for by ``Retry-After``
        (RFC 9110 §10.2.3), a day at most, else 0. ``None`` if it is not worth it.
    """
    if isinstance(error, ConnectionClosed):
        if isinstance(error, ConnectionClosedOK) or error.closed_by == "client":
            return 0.0
        # If the client failed the connection, its own Close says why.
        frame = error.received if error.closed_by == "server" else error.sent
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


class RetrySchedule:
    """When to try, and how often it was tried."""

    def __init__(
        self,
        retry_delay: RetryDelay,
        *,
        first_delay: float,
        max_delay: float,
        reset_after: float,
        logger: logging.Logger,
        observer: Observer | None,
    ) -> None:
        self._retry_delay = retry_delay
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._reset_after = reset_after
        self._logger = logger
        self._observer = observer
        self.pause: float = 0.0  # seconds before the next try
        self.is_over: bool = False
        self.failures: int = 0  # in a row
        self.last_error: WebSocketError | None = None

    def retries_after(self, error: WebSocketError, *, lasted: float | None = None) -> bool:
        """Take note of an end or a failure, and tell whether to try again.

        Args:
            error: What it was; a ``ConnectionClosedOK`` is a normal end.
            lasted: Seconds that the connection lasted; ``None`` if there was none.
        """
        if lasted is None or lasted < self._reset_after:
            self.failures += 1
        else:
            self.failures = 0 if isinstance(error, ConnectionClosedOK) else 1
        least = call_interruptible(self._retry_delay, error, self.failures)
        refuse_async("retry_delay", least)
        if least is None:
            self.is_over = True
            return False
        doublings = min(self.failures - 1, _MAX_DOUBLINGS)
        most = min(self._first_delay * 2**doublings, self._max_delay) if self.failures else 0.0
        # Full jitter: clients that were cut off together do not come back together.
        self.pause = least + random.uniform(0, most)  # noqa: S311 nothing secret
        self._report(error)
        # Its traceback refers to frames, and they to its connection, which would stay in memory.
        drop_tracebacks(error)
        self.last_error = error
        return True

    def _report(self, error: WebSocketError) -> None:
        """Log the pause, and tell the observer. What they raise does not end the loop."""
        with suppress(Exception):
            self._logger.info("trying again in %.1f s: %s", self.pause, error)
        if self._observer is None:
            return
        number = (
            error.connection_id if isinstance(error, ConnectionClosed | HandshakeError) else None
        )
        try:
            self._observer.retrying(number, error, self.pause)
        except Exception:
            self._observer = None
            with suppress(Exception):
                self._logger.error("the observer has raised", exc_info=True)  # noqa: G201
