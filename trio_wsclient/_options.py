"""The options of a connection: their types, defaults and limits, in one place."""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, Unpack

import trio

from trio_wsclient._errors import ConnectionRejected
from trio_wsclient._functions import check_function, refuse_coroutine
from trio_wsclient._headers import HeadersLike, check_field
from trio_wsclient._http.handshake import check_extra_headers
from trio_wsclient._http.negotiation import check_extensions
from trio_wsclient._http.subprotocols import check_subprotocols
from trio_wsclient._http.url import URL
from trio_wsclient._net.proxy import Proxy, check_ssl_context
from trio_wsclient._net.tls_info import TLSInfo
from trio_wsclient._observe import Observer
from trio_wsclient._option_names import unknown_option
from trio_wsclient._protocol.deflate import PerMessageDeflate
from trio_wsclient._version import __version__

if TYPE_CHECKING:
    from wsproto.extensions import Extension
else:
    # To import wsproto would take long. `typing.get_type_hints` still needs the name.
    Extension = Any

_MIB: Final = 1_048_576  # bytes


class ClientOptions(TypedDict, total=False):
    """The options of ``open_websocket_client`` and ``run_websocket_client``; each may be left out.

    Sizes are in bytes, timeouts and intervals in seconds. Where ``None`` is allowed for seconds,
    ``math.inf`` means the same.

    Attributes:
        open_timeout: Time to open the connection, with everything that this takes. Default: 10.
            ``None`` for no limit.
        close_timeout: Time for the closing handshake. Default: 10. It is never ``None``, so that
            leaving the block always ends.
        ping_interval: Time between keepalive pings: from the opening, or from the answer to the
            last ping. Default: ``None``, no pings.
        ping_timeout: Time after a keepalive ping in which something has to be received. Default:
            20. ``None`` to wait for ever.
        max_message_size: Size of the largest message to receive. A larger one fails the connection
            with 1009. Default: 1 MiB. ``None`` for no limit.
        max_frame_size: Size of the largest frame to receive, likewise. Default: ``None``.
        max_buffered_bytes: Size of the received messages that wait to be taken. When it is reached,
            the client stops reading, and TCP pushes back. Each message counts 128 bytes more than
            its payload. Default: 1 MiB.
        decode_text: Whether Text arrives as ``str``, the default. Otherwise it arrives as
            ``bytes``, and is not checked to be UTF-8.
        fragment_size: Size of the largest frame to send. Longer messages are split, so that pongs
            pass between the frames. Default: ``None``, each message goes in one frame.
        subprotocols: Names of subprotocols to offer (RFC 6455 §1.9), the preferred one first.
        extra_headers: Header fields to add to the request, as a mapping or pairs; or a function
            without arguments that returns them, sync or async, for a token that expires. The client
            calls it before connecting, for each attempt at the origin of the URL: redirects, the
            repeat for ``on_rejected``, each try of ``reconnecting``. An ``OSError`` that it raises
            becomes a ``HandshakeError``. Any other exception leaves as it is.
        on_rejected: An async function for Digest and other schemes that answer a challenge. If the
            server rejects the request, the client calls it once with the ``ConnectionRejected``. It
            returns header fields for one more attempt, or ``None`` to give up. Its fields replace
            those of the same name. It is not called for a redirect that is followed, at another
            origin than the URL's, or for a rejection by a proxy. What it raises leaves as it is.
        origin: Value of Origin (RFC 6454). Default: none, because only browsers have an origin.
        user_agent: Value of User-Agent. Default: the name and version of this library.
        compression: ``"deflate"``, or a ``PerMessageDeflate`` with other parameters, to offer
            permessage-deflate (RFC 7692). Default: none.
        extensions: Further extensions to offer (RFC 6455 §9), as objects of wsproto's
            ``Extension``. Each object is for one connection. Payloads to send pass through them in
            their order, received payloads in the opposite order, and compression comes first. An
            extension whose ``offer`` returns ``False`` and whose ``enabled`` returns ``True`` works
            without negotiation, and goes before all others.
        ssl_context: TLS settings for ``wss``. Default: the system's trust store, or what
            ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name when the first connection is opened. For
            your own CAs pass ``ssl.create_default_context(cafile="ca.pem")``. For a client
            certificate pass a context on which ``load_cert_chain("client.pem")`` was called. It is
            used for all redirects. With a ``ws`` URL and no redirects allowed it is a
            ``ValueError``, as is ``check_tls``.
        server_hostname: Name to verify in the certificate, and to send as SNI. Default: the URL's
            host. It is ignored after a redirect to another origin, so with a ``ws`` URL it is a
            ``ValueError``.
        check_tls: A function for pinned certificates. The client calls it with the ``TLSInfo`` of
            each ``wss`` host, redirects included, before it sends the request. To reject the
            server, raise an exception of your own; it leaves as it is. It is not called for an
            ``https`` proxy.
        stream: An open stream to use instead of TCP to the URL's host. The client closes it with
            the connection, and if the connection can't be opened. With ``wss``, TLS runs over it.
        open_stream: An async function for your own DNS, addresses, socket options or tunnels. The
            client calls it with host and port for each connection to make, redirects included. It
            returns an open ``trio.abc.Stream``. With ``wss``, TLS runs over it. The host is in
            ASCII (A-labels, RFC 5890), an IPv6 address has no brackets. An ``OSError`` that it
            raises becomes a ``HandshakeError``. Any other exception leaves as it is.
        unix_socket: Path of a Unix domain socket to connect to, instead of TCP to the URL's host.
        proxy: A proxy to go through, as a URL (``http``, ``https``, ``socks5``, ``socks5h``; with
            userinfo to authenticate) or a ``Proxy``. ``"environment"`` takes the first of these
            variables that is set: ``wss_proxy``, ``https_proxy``, ``http_proxy`` (for ``ws``:
            ``ws_proxy``, ``http_proxy``), ``socks_proxy``, ``all_proxy``, except for the hosts in
            ``no_proxy``. Default: none.
        max_redirects: How many redirects to follow; never from ``wss`` to ``ws``. Default: 0.
        redirect_headers: A function for a token that is meant for another origin, too. The client
            calls it with the URL when a redirect leads to another origin. It returns the header
            fields for that origin. Without it, ``extra_headers`` are dropped there.
        local_address: IP address of this machine to connect from.
        observer: An ``Observer``, whose methods are called as things happen, for metrics and
            traces.
        logger: Logger for how connections open and end, at level DEBUG, and for each frame, at
            level 5, with the first 24 bytes of its payload.
    """

    open_timeout: float | None
    close_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    max_message_size: int | None
    max_frame_size: int | None
    max_buffered_bytes: int
    decode_text: bool
    fragment_size: int | None
    subprotocols: Sequence[str]
    extra_headers: HeadersLike | Callable[[], HeadersLike | Awaitable[HeadersLike]]
    on_rejected: Callable[[ConnectionRejected], Awaitable[HeadersLike | None]] | None
    origin: str | None
    user_agent: str | None
    compression: Literal["deflate"] | PerMessageDeflate | None
    extensions: Sequence[Extension]
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    check_tls: Callable[[TLSInfo], None] | None
    stream: trio.abc.Stream | None
    open_stream: Callable[[str, int], Awaitable[trio.abc.Stream]] | None
    unix_socket: str | os.PathLike[str] | None
    proxy: str | Proxy | None
    max_redirects: int
    redirect_headers: Callable[[str], HeadersLike] | None
    local_address: str | None
    observer: Observer | None
    logger: logging.Logger


class Options:
    """The options with their defaults, checked. They do not change.

    It is no ``dataclass``: that would take three times as long to make, for each connection, and
    to import.

    Args:
        **given: The options that do not have their defaults.

    Raises:
        TypeError: An option is unknown or of the wrong type.
        ValueError: An option is out of range.
    """

    open_timeout: float | None = 10.0
    close_timeout: float = 10.0
    ping_interval: float | None = None
    ping_timeout: float | None = 20.0
    max_message_size: int | None = _MIB
    max_frame_size: int | None = None
    max_buffered_bytes: int = _MIB
    decode_text: bool = True
    fragment_size: int | None = None
    subprotocols: Sequence[str] = ()
    extra_headers: HeadersLike | Callable[[], HeadersLike | Awaitable[HeadersLike]] = ()
    on_rejected: Callable[[ConnectionRejected], Awaitable[HeadersLike | None]] | None = None
    origin: str | None = None
    user_agent: str | None = f"trio-wsclient/{__version__}"
    compression: Literal["deflate"] | PerMessageDeflate | None = None
    extensions: Sequence[Extension] = ()
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    check_tls: Callable[[TLSInfo], None] | None = None
    stream: trio.abc.Stream | None = None
    open_stream: Callable[[str, int], Awaitable[trio.abc.Stream]] | None = None
    unix_socket: str | os.PathLike[str] | None = None
    proxy: str | Proxy | None = None
    max_redirects: int = 0
    redirect_headers: Callable[[str], HeadersLike] | None = None
    local_address: str | None = None
    observer: Observer | None = None
    logger: logging.Logger = logging.getLogger("trio_wsclient")

    def __init__(self, **given: Unpack[ClientOptions]) -> None:
        for name, value in given.items():
            check = _CHECKS.get(name)
            if check is not None and value is not _DEFAULTS[name]:
                check(name, value)
        vars(self).update(given)
        for name in _MAY_BE_ENDLESS:
            if getattr(self, name) == math.inf:
                setattr(self, name, None)
        self._check_routes()
        # In place: what was passed may be changed, or be an iterator.
        if "extensions" in given:
            self.extensions = check_extensions(self.extensions)
        if "subprotocols" in given:
            self.subprotocols = check_subprotocols(self.subprotocols)
        if "extra_headers" in given and not callable(self.extra_headers):
            self.extra_headers = check_extra_headers(self.extra_headers)
        self._check_own_headers()

    def _check_routes(self) -> None:
        """Check that there is one way to connect, not two."""
        if isinstance(self.proxy, str) and self.proxy != "environment":
            self.proxy = Proxy(self.proxy)
        routes = [
            name
            for name in ("stream", "open_stream", "unix_socket", "proxy")
            if getattr(self, name) is not None
        ]
        if len(routes) > 1:
            raise ValueError(f"{' and '.join(routes)} are different ways to connect: pass only one")
        if self.local_address is not None:
            try:
                ipaddress.ip_address(self.local_address)
            except ValueError as exc:  # Its text has the value.
                raise ValueError(f"local_address: {exc}") from None
            if routes and routes != ["proxy"]:
                raise ValueError(f"local_address has no meaning with {routes[0]}")
        if self.stream is not None and self.max_redirects:
            raise ValueError("a redirect can't be followed with stream: it is one connection")
        if self.stream is not None and self.on_rejected is not None:
            raise ValueError(
                "on_rejected can't repeat the request with stream: it is one connection"
            )

    def check_url(self, url: URL) -> None:
        """Check that options for TLS will have an effect.

        Raises:
            ValueError: The URL, perhaps with a letter too few, asks for a connection without TLS.
        """
        if url.secure:
            return
        # A redirect from ws to wss leads to another origin, where server_hostname does not count.
        names = ("server_hostname",) if self.max_redirects else _FOR_TLS
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with a ws or http URL: use wss")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header fields that the options add to the request, as far as they are fixed."""
        return self.headers_with(self._fixed_headers)

    @property
    def _fixed_headers(self) -> tuple[tuple[str, str], ...]:
        return self.extra_headers if isinstance(self.extra_headers, tuple) else ()

    def headers_with(self, extra: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The same with other ``extra_headers``, which go before options of their own."""
        names = {name.lower() for name, _ in extra}
        own = (("Origin", self.origin), ("User-Agent", self.user_agent))
        present = ((name, value) for name, value in own if name.lower() not in names)
        return (*((name, value) for name, value in present if value is not None), *extra)

    @property
    def deflate(self) -> PerMessageDeflate | None:
        """The compression to offer."""
        return PerMessageDeflate() if isinstance(self.compression, str) else self.compression

    def check_origin(self, extra: tuple[tuple[str, str], ...]) -> None:
        """Check that ``extra_headers`` do not have the Origin that ``origin`` has.

        Raises:
            ValueError: They have one.
        """
        if self.origin is not None and any(name.lower() == "origin" for name, _ in extra):
            raise ValueError("origin and extra_headers both have an Origin: pass only one")

    def _check_own_headers(self) -> None:
        self.check_origin(self._fixed_headers)
        # Both, also where extra_headers has one of that name: a proxy is told the user agent.
        for option, name in (("origin", "Origin"), ("user_agent", "User-Agent")):
            value = getattr(self, option)
            if value is not None and value is not _DEFAULTS[option]:
                check_field(name, value, option)


def check_seconds(
    name: str, value: object, *, may_be_zero: bool = False, none: str | None = None
) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless it is a number of seconds.

    Args:
        name: The name of the option.
        value: Its value.
        may_be_zero: Whether 0 is allowed.
        none: What ``None`` would mean, for the text of an error; ``None`` if it is not allowed.
    """
    rest = _or_none(none)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} has to be a number of seconds{rest}, not {type(value).__name__}")
    if not (0 <= value < math.inf if may_be_zero else 0 < value < math.inf):
        kind = "0 or a positive" if may_be_zero else "a positive"
        raise ValueError(f"{name} has to be {kind} number of seconds{rest}, not {value}")


def _or_none(meaning: str | None) -> str:
    return "" if meaning is None else f", or None for {meaning}"


_Check: TypeAlias = Callable[[str, object], None]
_SHOWN: Final[dict[type, str]] = {
    type(None): "None",
    trio.abc.Stream: "a trio.abc.Stream",
    os.PathLike: "os.PathLike",
    Observer: "a trio_wsclient.Observer",
    logging.Logger: "a logging.Logger",
}


def _is_of(*types: type) -> _Check:
    def check(name: str, value: object) -> None:
        if not isinstance(value, types):
            expected = " or ".join(_SHOWN.get(t, t.__name__) for t in types)
            raise TypeError(f"{name} has to be {expected}, not {type(value).__name__}")

    return check


def _is_seconds(*, none: str | None = None) -> _Check:
    """Return a check; ``none`` says what ``None`` means, if it is allowed."""

    def check(name: str, value: object) -> None:
        is_endless = value is None or (isinstance(value, float) and value == math.inf)
        if none is None or not is_endless:
            check_seconds(name, value, none=none)

    return check


def _is_size(*, none: str | None = None) -> _Check:
    """Return a check; ``none`` says what ``None`` means, if it is allowed."""
    rest = _or_none(none)

    def check(name: str, value: object) -> None:
        if value is None and none is not None:
            return
        if not isinstance(value, int) or isinstance(value, bool):
            kind = type(value).__name__
            raise TypeError(f"{name} has to be a number of bytes (int){rest}, not {kind}")
        if value < 1:
            raise ValueError(f"{name} has to be at least 1 byte{rest}, not {value}")

    return check


def _is_function(kind: str) -> _Check:
    def check(name: str, value: object) -> None:
        check_function(name, value, kind=kind)

    return check


def _is_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} has to be int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} has to be at least 0, not {value}")


def _is_proxy(name: str, value: object) -> None:
    if not isinstance(value, str | Proxy | None):
        kind = type(value).__name__
        raise TypeError(f"{name} has to be a URL, a Proxy, 'environment' or None, not {kind}")


def _is_compression(name: str, value: object) -> None:
    expected = f"{name} has to be 'deflate', a PerMessageDeflate or None"
    if not isinstance(value, str | PerMessageDeflate | None):
        raise TypeError(f"{expected}, not {type(value).__name__}")
    if isinstance(value, str) and value != "deflate":
        raise ValueError(f"{expected}, not {value!r}")


def _is_hostname(name: str, value: object) -> None:
    _is_of(str, type(None))(name, value)
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError(
            f"{name} has to be ASCII: write the A-label, which begins with xn-- (RFC 5890)"
        )
    if isinstance(value, str) and not _can_be_in_certificate(value):
        raise ValueError(f"{name} has to be a name that a certificate can have, not {value!r}")


def _can_be_in_certificate(name: str) -> bool:
    """Tell whether ``ssl`` takes the name: each label has 1 to 63 characters (RFC 1035 §2.3.4)."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


_CHECKS: Final[dict[str, _Check]] = {
    "open_timeout": _is_seconds(none="no limit"),
    "close_timeout": _is_seconds(),
    "ping_interval": _is_seconds(none="no pings"),
    "ping_timeout": _is_seconds(none="no limit"),
    "max_message_size": _is_size(none="no limit"),
    "max_frame_size": _is_size(none="no limit of its own"),
    "max_buffered_bytes": _is_size(),
    "decode_text": _is_of(bool),
    "fragment_size": _is_size(none="one frame per message"),
    "extra_headers": refuse_coroutine,
    "on_rejected": _is_function("an async function that takes the error and returns headers"),
    "origin": _is_of(str, type(None)),
    "user_agent": _is_of(str, type(None)),
    "compression": _is_compression,
    "ssl_context": check_ssl_context,
    "server_hostname": _is_hostname,
    "check_tls": _is_function("a function that takes the TLSInfo"),
    "stream": _is_of(trio.abc.Stream, type(None)),
    "open_stream": _is_function("an async function that takes host and port"),
    "unix_socket": _is_of(str, os.PathLike, type(None)),
    "proxy": _is_proxy,
    "max_redirects": _is_count,
    "redirect_headers": _is_function("a function that takes the new URL and returns headers"),
    "local_address": _is_of(str, type(None)),
    "observer": _is_of(Observer, type(None)),
    "logger": _is_of(logging.Logger),
}
# Options that have no effect without TLS.
_FOR_TLS: Final = ("ssl_context", "server_hostname", "check_tls")
# Timeouts and intervals for which infinity means the same as None.
_MAY_BE_ENDLESS: Final = ("open_timeout", "ping_interval", "ping_timeout")
_DEFAULTS: Final = {name: getattr(Options, name) for name in ClientOptions.__annotations__}
# Most connections have no options: they share these.
_ALL_DEFAULT: Final = Options()


def make_options(options: ClientOptions, *more: str) -> Options:
    """Check what a user has passed.

    Args:
        options: The options.
        more: The names of those that the caller has beside these.

    Raises:
        TypeError: An option is unknown or of the wrong type.
        ValueError: An option is out of range.
    """
    if not options:
        return _ALL_DEFAULT
    for name in options:
        if name not in _DEFAULTS:
            raise unknown_option(name, (*_DEFAULTS, *more))
    return Options(**options)
