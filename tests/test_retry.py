"""Which ends are worth another try, and the delay of `Retry-After` (RFC 9110 §10.2.3)."""

from __future__ import annotations

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trio

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    Headers,
    InvalidResponse,
    OpenTimeout,
    ProxyError,
    WebSocketError,
    WebSocketInternalError,
    retry_delay,
)
from trio_wsclient._net.socks import AddressError, UnreachableError

NOTHING = Headers()


def caused(error: HandshakeError, cause: BaseException) -> HandshakeError:
    error.__cause__ = cause
    return error


def received(code: int) -> WebSocketError:
    kind = ConnectionClosedOK if code in {1000, 1001, 1005} else ConnectionClosedError
    error = kind(CloseFrame(code), CloseFrame(code), "closed by the server")
    error.closed_by = "server"
    return error


WORTH_IT = {
    "a port that refuses": caused(HandshakeError("TCP"), ConnectionRefusedError()),
    "an unknown name": caused(HandshakeError("TCP"), socket.gaierror(-2, "unknown")),
    "no way there": caused(HandshakeError("TCP"), OSError(113, "No route to host")),
    "a reset in the handshake": caused(HandshakeError("reset"), ConnectionResetError()),
    "a break of a user's stream": caused(HandshakeError("broken"), trio.BrokenResourceError()),
    "an answer that was cut off": caused(InvalidResponse("cut off"), EOFError()),
    "TLS that failed": caused(HandshakeError("TLS"), ssl.SSLError(1, "internal error")),
    "time": OpenTimeout(10, "tls"),
    "a proxy that broke off": caused(ProxyError("broken"), trio.BrokenResourceError()),
    "a SOCKS proxy that can't reach it": UnreachableError("refused: general failure"),
    "a SOCKS proxy that can't reach the address": AddressError("refused: host unreachable"),
    "a proxy that can't reach it": ProxyError("refused", 502, NOTHING),
    "a status of a proxy that is its own": ProxyError("refused", 599),
    "a reset": ConnectionClosedError(None, None, "no Close frame"),
    "a keepalive that was not answered": ConnectionClosedError(None, CloseFrame(1011), "failed"),
    "a Close of ours that asks for it": ConnectionClosedOK(None, CloseFrame(1012), "closed"),
    **{
        f"Close {code}": received(code) for code in (1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014)
    },
    **{
        f"status {status}": ConnectionRejected(status, NOTHING, b"")
        for status in (408, 425, 429, 500, 502, 503, 504, 520, 599)
    },
}

NOT_WORTH_IT = {
    "a certificate": caused(HandshakeError("TLS"), ssl.SSLCertVerificationError(1, "expired")),
    "a certificate of a proxy": caused(ProxyError("TLS"), ssl.SSLCertVerificationError(1, "")),
    "an answer that is forbidden": InvalidResponse("header Upgrade is missing"),
    "an answer that is not HTTP": caused(InvalidResponse("not HTTP"), ValueError()),
    "a proxy that wants a password": ProxyError("refused", 407, NOTHING),
    "a proxy that allows nothing": ProxyError("refused", 403, NOTHING),
    "a SOCKS proxy that wants a password": ProxyError("the SOCKS proxy wants authentication"),
    "a violation by the server": ConnectionClosedError(None, CloseFrame(1002), "failed"),
    "a bug": WebSocketInternalError("bug"),
    **{
        f"Close {code}": received(code)
        for code in (1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999)
    },
    **{
        f"status {status}": ConnectionRejected(status, NOTHING, b"")
        for status in (200, 301, 307, 400, 401, 403, 404, 410, 426, 499, 600)
    },
}


@pytest.mark.parametrize("error", WORTH_IT.values(), ids=WORTH_IT)
def test_it_is_worth_it(error: WebSocketError):
    assert retry_delay(error, 1) == 0
    assert retry_delay(error, 1000) == 0


@pytest.mark.parametrize("error", NOT_WORTH_IT.values(), ids=NOT_WORTH_IT)
def test_it_is_not(error: WebSocketError):
    assert retry_delay(error, 1) is None


@pytest.mark.parametrize("status_code", [429, 503])
@pytest.mark.parametrize("kind", ["server", "proxy"])
def test_retry_after_is_heeded(status_code: int, kind: str):
    headers = Headers([("retry-after", "120")])
    if kind == "server":
        assert retry_delay(ConnectionRejected(status_code, headers, b""), 1) == 120
    else:
        assert retry_delay(ProxyError("refused", status_code, headers), 1) == 120


def test_retry_after_may_be_a_date():
    for seconds, least in ((300, 290), (-300, 0)):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        delay = retry_delay(ConnectionRejected(503, Headers([("Retry-After", date)]), b""), 1)
        assert delay is not None
        assert least <= delay <= max(seconds, 0)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone is the system's")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_date_without_a_zone_is_of_greenwich(zone: str, monkeypatch: pytest.MonkeyPatch):
    """RFC 9110 §5.6.7 has a third, obsolete form, which is to be understood."""
    date = (datetime.now(UTC) + timedelta(seconds=300)).strftime("%a %b %d %H:%M:%S %Y")
    with monkeypatch.context() as context:
        context.setenv("TZ", zone)
        time.tzset()
        delay = retry_delay(ConnectionRejected(503, Headers([("Retry-After", date)]), b""), 1)
    time.tzset()
    assert delay is not None
    assert 290 <= delay <= 300


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "-1", "1.5", "\xb2", "Fri, 31 Feb 2026 00:00:00 GMT"),
        "Fri, 31 Dec 9999 23:59:59 GMT" + " " * 60_000 + "x",
    ],
)
def test_retry_after_that_says_nothing_is_none(value: str):
    error = ConnectionRejected(429, Headers([("Retry-After", value)]), b"")
    assert retry_delay(error, 1) == 0


@pytest.mark.parametrize("value", ["86401", "1" * 60_000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_server_is_waited_for_longer_than_a_day(value: str):
    error = ConnectionRejected(429, Headers([("Retry-After", value)]), b"")
    assert retry_delay(error, 1) == 86_400


def test_retry_after_does_not_make_a_retry_worth_it():
    assert retry_delay(ConnectionRejected(403, Headers([("Retry-After", "1")]), b""), 1) is None
