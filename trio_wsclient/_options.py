"""The options of a connection: their types, defaults and limits, in one place."""

from __future__ import annotations

import ipaddress
import logging
import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

import trio

from trio_wsclient._handshake import check_extra_headers, check_subprotocols
from trio_wsclient._headers import HeadersLike, check_field
from trio_wsclient._version import __version__

_MIB: Final = 1_048_576  # bytes


class ClientOptions(TypedDict, total=False):
    """What ``open_websocket_client`` and ``run_websocket_client`` take, all of it optional.

    Sizes are in bytes, timeouts and intervals in seconds.

    Attributes:
        open_timeout: For everything until the connection is open, 10 by default; ``None`` for no
            limit.
        close_timeout: For the closing handshake, 10 by default; never ``None``, so that leaving the
            block always ends.
        ping_interval: From one sign of life to the next keepalive ping; ``None``, the default,
            for no pings.
        ping_timeout: From a keepalive ping until something has to come in, 20 by default;
            ``None`` to wait for ever.
        max_message_size: Largest message that is received, 1 MiB by default; over it the
            connection is failed with 1009. ``None`` for no limit.
        max_frame_size: The same of a frame; ``None`` by default.
        max_buffered_bytes: Received and not yet taken, 1 MiB by default; above it TCP pushes
            back. Each message counts 128 bytes more than its payload.
        decode_text: Whether Text arrives as ``str``, the default, or, not decoded and not
            checked, as ``bytes``.
        fragment_size: Largest frame that is sent; longer messages are split, so that pongs pass
            between. ``None``, the default, to send each message in one frame.
        subprotocols: Names to offer (RFC 6455 §1.9), the dearest first.
        extra_headers: Header fields to add to the request, as a mapping or pairs.
        origin: The value of Origin (RFC 6454); none by default: only browsers have one.
        user_agent: The value of User-Agent; by default this library's name and version.
        ssl_context: For ``wss``; by default the system's trust store.
        server_hostname: Whom the certificate has to name; by default the URL's host.
        stream: An open stream to use instead of TCP to the URL's host. It is closed with the
            connection, also if that does not come about. With ``wss`` TLS runs over it.
        local_address: The IP address of this machine to connect from.
        logger: Where it is told, at debug level, how connections open and end.
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
    extra_headers: HeadersLike
    origin: str | None
    user_agent: str | None
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    stream: trio.abc.Stream | None
    local_address: str | None
    logger: logging.Logger


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options with their defaults, checked.

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
    extra_headers: HeadersLike = ()
    origin: str | None = None
    user_agent: str | None = f"trio-wsclient/{__version__}"
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    stream: trio.abc.Stream | None = None
    local_address: str | None = None
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("trio_wsclient"))

    def __post_init__(self) -> None:
        for name in ("open_timeout", "close_timeout", "ping_interval", "ping_timeout"):
            self._check_seconds(name, optional=name != "close_timeout")
        for name in ("max_message_size", "max_frame_size", "max_buffered_bytes", "fragment_size"):
            self._check_size(name, optional=name != "max_buffered_bytes")
        self._check_type("decode_text", bool)
        for name in ("origin", "user_agent", "server_hostname", "local_address"):
            self._check_type(name, str, type(None))
        self._check_type("ssl_context", ssl.SSLContext, type(None))
        self._check_type("stream", trio.abc.Stream, type(None))
        self._check_type("logger", logging.Logger)
        if self.local_address is not None:
            ipaddress.ip_address(self.local_address)  # A ValueError names it.
        hostname = self.server_hostname
        if hostname is not None and not (hostname.isascii() and hostname.isprintable()):
            raise ValueError("server_hostname has to be ASCII: write it as an A-label (RFC 5890)")
        if self.stream is not None and self.local_address is not None:
            raise ValueError("local_address has no meaning for a stream that is open already")
        object.__setattr__(self, "subprotocols", check_subprotocols(self.subprotocols))
        object.__setattr__(self, "extra_headers", self._all_headers())

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """The header fields that the options add to the request."""
        assert isinstance(self.extra_headers, tuple)
        return self.extra_headers

    def _all_headers(self) -> tuple[tuple[str, str], ...]:
        extra = check_extra_headers(self.extra_headers)
        names = {name.lower() for name, _ in extra}
        own = []
        if self.origin is not None:
            if "origin" in names:
                raise ValueError("Origin stands both in origin and in extra_headers")
            own.append(("Origin", self.origin))
        if self.user_agent is not None and "user-agent" not in names:
            own.append(("User-Agent", self.user_agent))
        for name, value in own:
            check_field(name, value)
        return (*own, *extra)

    def _check_type(self, name: str, *types: type) -> None:
        value = getattr(self, name)
        if not isinstance(value, types):
            expected = " or ".join(t.__name__ for t in types)
            raise TypeError(f"{name} has to be {expected}, not {type(value).__name__}")

    def _check_seconds(self, name: str, *, optional: bool) -> None:
        value = getattr(self, name)
        if value is None and optional:
            return
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{name} has to be a number of seconds, not {type(value).__name__}")
        if not 0 < value < math.inf:
            raise ValueError(f"{name} has to be a positive number of seconds, not {value}")

    def _check_size(self, name: str, *, optional: bool) -> None:
        value = getattr(self, name)
        if value is None and optional:
            return
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} has to be a number of bytes, not {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} has to be at least 1 byte, not {value}")
