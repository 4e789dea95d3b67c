"""From a URL to a stream, TCP, and TLS over any stream; and its end."""

from __future__ import annotations

import errno
import inspect
import os
import re
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
import truststore

from trio_wsclient._errors import HandshakeError
from trio_wsclient._functions import check_awaitable
from trio_wsclient._interrupts import await_interruptible, call_interruptible
from trio_wsclient._net.sockets import EagerSocketStream, EagerStream, adopt_socket
from trio_wsclient._net.tls import EagerTLSStream
from trio_wsclient._net.tls_info import TLSInfo, read_tls_info
from trio_wsclient._net.trust import default_ssl_context
from trio_wsclient._text import exception_text, quote, system_text

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL
_OTHER_NAME: Final = frozenset({62, 64})
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_TIME: Final = frozenset({9, 10})
# How the texts of errors name the peer, and what to change.
_OF_SERVER: Final = {
    "peer": "the server",
    "option": "ssl_context",
    "name": "see server_hostname",
}
_OF_PROXY: Final = {
    "peer": "the proxy",
    "option": "ssl_context of Proxy",
    "name": "write the certificate's name in the proxy's URL",
}
_DOES_IT_SPEAK_TLS: Final = "; does it speak TLS?"
_OTHER_CERTIFICATE: Final = ": {peer} does not trust the client certificate; see {option}"
_OTHER_VERSION: Final = ": {peer} wants another version of TLS; see {option}"
_ADVICE: Final = {
    "WRONG_VERSION_NUMBER": ": {peer} does not speak TLS; is the scheme right?",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ": {peer} wants a client certificate; see {option}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        ": does {peer} want a client certificate, or other ciphers? See {option}"
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": _OTHER_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _OTHER_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _OTHER_CERTIFICATE,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OTHER_VERSION,
    "UNSUPPORTED_PROTOCOL": _OTHER_VERSION,
    "TLSV1_UNRECOGNIZED_NAME": ": {peer} does not know this name; {name}",
}
_SSL_REASON: Final = re.compile(r"[A-Z0-9_]+")  # how OpenSSL names a reason
# How Trio names the address that it has tried.
_CONNECTING: Final = re.compile(r"Error connecting to \('(?P<address>[^']*)'[^)]*\): ")
# What Trio says if it can't bind the local address, without the reason.
_NOT_BOUND: Final = re.compile(
    r"local_address='(?P<local>[^']*)' is incompatible with remote address "
    r"\('(?P<address>[^']*)'.*\)"
)
_NOT_BOUND_TEXT: Final = (
    r"local_address \g<local> can't be used for \g<address>: is it an address of this machine, "
    "and of the same family?"
)


async def connect_tcp(host: str, port: int, *, local_address: str | None = None) -> trio.abc.Stream:
    """Connect, to the fastest of the host's addresses (RFC 8305).

    Raises:
        HandshakeError: No address could be reached, or the name has none.
    """
    family = None if local_address is not None else _family(host)
    try:
        if family is None:
            stream = await trio.open_tcp_stream(host, port, local_address=local_address)
        else:
            stream = await _connect_to_address(family, host, port)
    except OSError as exc:
        raise HandshakeError(
            f"no TCP connection to {host} port {port}: {_reasons(exc, host)}"
        ) from exc
    return adopt_socket(stream)


def _family(host: str) -> int | None:
    """Return the address family of an address, ``None`` for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return family
    return None


async def _connect_to_address(family: int, host: str, port: int) -> trio.SocketStream:
    """Connect to the one address: there is no race, which costs more than to connect."""
    connecting = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await connecting.connect((host, port))
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)


async def connect_unix(path: str | os.PathLike[str]) -> trio.abc.Stream:
    """Connect to a Unix domain socket.

    Raises:
        HandshakeError: Nobody listens there, or this platform has none.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except (OSError, RuntimeError) as exc:
        text = f"no connection to the Unix socket '{quote(os.fsdecode(path))}'"
        raise HandshakeError(f"{text}: {describe_error(exc)}") from exc
    return adopt_socket(stream)


async def connect_by(
    open_stream: Callable[[str, int], Awaitable[trio.abc.Stream]], host: str, port: int
) -> trio.abc.Stream:
    """Have a function of the user's connect.

    Raises:
        HandshakeError: The function raised an ``OSError``. What else it raises leaves as it is.
        TypeError: The function is not async, or has returned something else than a stream.
    """
    opened: list[object] = []
    try:
        connecting = call_interruptible(open_stream, host, port)
        if not inspect.isawaitable(connecting):
            opened.append(connecting)
            check_awaitable("open_stream", open_stream, connecting)
        stream = await await_interruptible(connecting, opened)
        if not isinstance(stream, trio.abc.Stream):
            kind = type(stream).__name__
            raise TypeError(f"open_stream has to return a trio.abc.Stream, not {kind}")
    except OSError as exc:
        reasons = "; ".join(dict.fromkeys(map(system_reason, _causes(exc))))
        raise HandshakeError(
            f"open_stream made no connection to {host} port {port}: {reasons}"
        ) from exc
    except BaseException:
        # It is of the wrong type, or Ctrl-C struck when the function had just returned it.
        for resource in opened:
            if isinstance(resource, trio.abc.AsyncResource):
                await close_forcefully(resource)  # noqa: ASYNC102 shielded inside
        raise
    return adopt_socket(stream)


def _reasons(exc: OSError, host: str) -> str:
    """Name what went wrong with each address; Trio has that in a group behind a summary.

    An address is named only if it is not the host itself.
    """

    def shown(connecting: re.Match[str]) -> str:
        address = connecting["address"]
        return "" if address == host else f"{address}: "

    reasons = (system_text(cause) or exception_text(cause) for cause in _causes(exc))
    reasons = (_NOT_BOUND.sub(_NOT_BOUND_TEXT, reason) for reason in reasons)
    return "; ".join(dict.fromkeys(_CONNECTING.sub(shown, reason) for reason in reasons))


def _causes(exc: OSError) -> Sequence[BaseException]:
    group = exc.__cause__
    return group.exceptions if isinstance(group, BaseExceptionGroup) else [exc]


def system_reason(exc: BaseException) -> str:
    """Say why a function of the user's failed, in words of the system only.

    The text of the exception is not used: other libraries put a URL into it, with a password. The
    same holds for ``strerror``, which may be any text. Both are in the traceback, as the cause.
    """
    code = getattr(exc, "errno", None)
    if isinstance(exc, ssl.SSLError):  # Its `errno` has a meaning of its own, as below.
        reason = str(getattr(exc, "reason", ""))
        return _words(reason) if _SSL_REASON.fullmatch(reason) else type(exc).__name__
    if isinstance(exc, socket.gaierror):
        names = (name for name in dir(socket) if name.startswith("EAI_"))
        name = next((name for name in names if getattr(socket, name) == code), "unknown reason")
        return f"name look-up failed ({name})"
    if isinstance(exc, OSError) and isinstance(code, int) and code in errno.errorcode:
        return os.strerror(code)
    return type(exc).__name__


def _words(reason: str) -> str:
    """Make words of a constant of OpenSSL."""
    return reason.replace("_", " ").lower()


def tls_info(stream: trio.abc.Stream) -> TLSInfo | None:
    """Return what TLS has agreed on, ``None`` if the stream is not one of TLS."""
    if isinstance(stream, EagerTLSStream):
        return stream.info
    return read_tls_info(stream) if isinstance(stream, trio.SSLStream) else None


async def start_tls(
    stream: trio.abc.Stream,
    *,
    ssl_context: ssl.SSLContext | None,
    server_hostname: str,
    of_proxy: bool = False,
) -> tuple[trio.abc.Stream, TLSInfo]:
    """Shake hands for TLS; the stream is closed if that fails.

    Args:
        stream: What TLS runs over.
        ssl_context: How; ``None`` for the system's trust store.
        server_hostname: Whom the certificate has to name, also sent as SNI (RFC 6066 §3).
        of_proxy: Whether it is TLS with a proxy, which has options of its own.

    Returns:
        The stream inside TLS, and what the handshake has agreed on.

    Raises:
        HandshakeError: TLS failed; ``__cause__`` is the error of ``ssl``, and the text names it.
    """
    try:
        if ssl_context is None:
            ssl_context = await default_ssl_context()
        tls = await _wrap(stream, ssl_context, server_hostname, of_proxy=of_proxy)
        await tls.do_handshake()
        info = tls_info(tls)
        assert info is not None
        _check_alpn(info.alpn_protocol, of_proxy=of_proxy)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        await close_forcefully(stream)  # noqa: ASYNC120 shielded inside
        cause = exc.__cause__ or exc
        text = describe_error(cause, of_proxy=of_proxy)
        if isinstance(cause, ConnectionError):
            text += _DOES_IT_SPEAK_TLS
        raise HandshakeError(f"no TLS with {server_hostname}: {text}") from cause
    except BaseException:
        await close_forcefully(stream)  # noqa: ASYNC102 shielded inside
        raise
    return tls, info


async def _wrap(
    stream: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str, *, of_proxy: bool
) -> EagerTLSStream | trio.SSLStream[trio.abc.Stream]:
    """Put TLS over a stream, before the handshake.

    Raises:
        HandshakeError: No certificate can have that name.
    """
    wrap = partial(_wrap_now, stream, context, server_hostname)
    try:
        if isinstance(context, truststore.SSLContext):
            # On Linux it parses the CA bundle here.
            return await trio.to_thread.run_sync(wrap, abandon_on_cancel=True)
        return wrap()
    except ValueError as exc:
        advice = "" if of_proxy else "; see server_hostname"
        raise HandshakeError(
            f"no TLS with {server_hostname}: it can't be the name in a certificate{advice}"
        ) from exc


def _wrap_now(
    stream: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str
) -> EagerTLSStream | trio.SSLStream[trio.abc.Stream]:
    if isinstance(stream, EagerSocketStream):
        return EagerTLSStream(stream, context, server_hostname)
    # A Close frame, not close_notify, tells that nothing was cut off.
    return trio.SSLStream(stream, context, server_hostname=server_hostname, https_compatible=True)


def _check_alpn(protocol: str | None, *, of_proxy: bool) -> None:
    """Check that the server will speak HTTP/1.1, before a byte of it is written (RFC 7301).

    Raises:
        HandshakeError: ALPN has chosen another protocol, which the user's context has offered.
    """
    if protocol not in {None, "http/1.1"}:
        shown = quote(str(protocol))
        option = "a Proxy whose ssl_context has" if of_proxy else "an ssl_context with"
        raise HandshakeError(
            f"ALPN chose '{shown}', not http/1.1: pass {option} set_alpn_protocols(['http/1.1'])"
        )


async def close_forcefully(stream: trio.abc.AsyncResource) -> None:
    """Close a stream without waiting for anything, and without an error of its own."""
    if isinstance(stream, EagerStream):
        with suppress(OSError):
            stream.close()
        return
    handled = sys.exception()
    # A user's stream may raise anything: it is closed.
    with suppress(Exception), trio.CancelScope(shield=True) as scope:
        scope.cancel()
        try:
            await stream.aclose()
        except BaseException as error:
            # Ctrl-C may strike here; a stream of two halves, closing the second one, then hides it.
            hidden = error.__context__
            try:
                if isinstance(hidden, KeyboardInterrupt) and hidden is not handled:
                    raise hidden from None  # noqa: ASYNC104 it is the stronger one
            finally:
                del hidden  # Its traceback may have this frame.
            raise


def describe_error(cause: BaseException, *, of_proxy: bool = False) -> str:
    """Say in words what broke a stream, and what to do if that is known."""
    words = _OF_PROXY if of_proxy else _OF_SERVER
    # An error of a user's stream may have been made by Python, and has not these attributes then.
    if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
        shown = cause.verify_message.removesuffix(".")
        if cause.verify_code in _OTHER_NAME:
            return f"its certificate is for another name ({shown}); {words['name']}"
        if cause.verify_code in _OTHER_TIME:
            return f"its certificate is not valid now ({shown}); is this machine's clock right?"
        return f"its certificate is not trusted ({shown}); see {words['option']}"
    if isinstance(cause, ssl.SSLEOFError):
        return f"{words['peer']} ended TCP{_DOES_IT_SPEAK_TLS}"
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None) or exception_text(cause)
        return quote(_words(reason)) + _ADVICE.get(reason, "").format_map(words)
    # The stream may be the user's: then the text may be any.
    if isinstance(cause, OSError) and system_text(cause):
        file = "" if cause.filename is None else f": {cause.filename}"  # SSLKEYLOGFILE
        return quote(f"{system_text(cause)}{file}")
    return quote(exception_text(cause))
