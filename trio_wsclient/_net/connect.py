"""From a URL to a stream, TCP, and TLS over any stream; and its end."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio
import truststore

from trio_wsclient._errors import HandshakeError
from trio_wsclient._functions import check_awaitable
from trio_wsclient._interrupts import await_interruptible, call_interruptible
from trio_wsclient._net.reasons import (
    DOES_IT_SPEAK_TLS,
    describe_error,
    system_reasons,
    tcp_reasons,
)
from trio_wsclient._net.sockets import EagerSocketStream, EagerStream, adopt_socket
from trio_wsclient._net.tls import EagerTLSStream
from trio_wsclient._net.tls_info import TLSInfo, read_tls_info
from trio_wsclient._net.trust import default_ssl_context
from trio_wsclient._text import quote


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
            f"no TCP connection to {host} port {port}: {tcp_reasons(exc, host)}"
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
        raise HandshakeError(
            f"open_stream made no connection to {host} port {port}: {system_reasons(exc)}"
        ) from exc
    except BaseException:
        # It is of the wrong type, or Ctrl-C struck when the function had just returned it.
        for resource in opened:
            if isinstance(resource, trio.abc.AsyncResource):
                await close_forcefully(resource)  # noqa: ASYNC102 shielded inside
        raise
    return adopt_socket(stream)


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
        server_hostname: The name to verify in the certificate, and to send as SNI (RFC 6066 §3).
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
            text += DOES_IT_SPEAK_TLS
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
