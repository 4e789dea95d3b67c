"""A proxy to go through, as data."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Final

from trio_wsclient._headers import HeadersLike, check_fields
from trio_wsclient._http.authority import (
    basic,
    bracket,
    check_sendable,
    parse_host_port,
    parse_userinfo,
)

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z0-9+.-]+)://(?P<authority>[^/?#]*)/?")
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_ALIASES: Final = {"socks": "socks5h"}  # what desktops write
_MAX_CREDENTIAL_SIZE: Final = 255  # bytes (RFC 1929 §2)

HOW_TO_MAKE_CONTEXT: Final = (
    "make one by ssl.create_default_context(), with cafile=... for a CA of your own"
)

# What the request itself says, or what would give it a body (RFC 9110 §9.3.6).
_OWN_FIELDS: Final = {
    "connection": "the request has its own",
    "content-length": "the request has no body",
    "host": "it is the host of the WebSocket's URL",
    "transfer-encoding": "the request has no body",
    "upgrade": "CONNECT has none",
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, for the option ``proxy`` where a URL is not enough.

    Attributes:
        url: ``http://host:port``, or ``https``, ``socks5`` (host names are resolved here) or
            ``socks5h`` (by the proxy), for which ``socks`` is another name. The port is 80, 443 or
            1080 if it names none. Userinfo authenticates: as Basic (RFC 7617), or as
            RFC 1929 says for SOCKS.
        headers: Header fields to send with CONNECT, as a mapping or pairs, for a proxy that wants
            a token. A ``Proxy-Authorization`` among them goes before the userinfo.
        ssl_context: For the TLS to an ``https`` proxy, if that has a CA of its own; by default the
            system's trust store.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The URL is not one of a proxy, or a header can't be sent, or they don't fit
            each other.
    """

    url: str = field(repr=False)
    headers: HeadersLike = field(default=(), repr=False)
    ssl_context: ssl.SSLContext | None = None
    _scheme: str = field(init=False, repr=False)
    _host: str = field(init=False)
    _port: int = field(init=False)
    _credentials: tuple[bytes, bytes] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            raise TypeError(f"a proxy's URL has to be str, not {type(self.url).__name__}")
        try:
            parts = _parse(self.url)
        except ValueError as exc:
            raise ValueError(f"invalid proxy URL: {exc}") from None
        for name, value in zip(("_scheme", "_host", "_port", "_credentials"), parts, strict=True):
            object.__setattr__(self, name, value)
        check_ssl_context("ssl_context", self.ssl_context)
        fields = check_fields("headers", self.headers, own=_OWN_FIELDS)
        object.__setattr__(self, "headers", fields)
        if self.headers and self.is_socks:
            raise ValueError("a SOCKS proxy takes no headers")
        if self.ssl_context is not None and not self.is_secure:
            raise ValueError(
                "ssl_context of Proxy is for an https proxy; for the server pass ssl_context to "
                "open_websocket_client"
            )

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS; otherwise HTTP."""
        return self._scheme in {"socks5", "socks5h"}

    @property
    def is_secure(self) -> bool:
        """Whether there is TLS to the proxy itself."""
        return self._scheme == "https"

    @property
    def resolves(self) -> bool:
        """Whether it is left to the proxy to resolve host names."""
        return self._scheme != "socks5"

    @property
    def host(self) -> str:
        """A name or an address, without brackets."""
        return self._host

    @property
    def port(self) -> int:
        """The port."""
        return self._port

    @property
    def credentials(self) -> tuple[bytes, bytes] | None:
        """Name and password, percent-decoded, if the URL has userinfo."""
        return self._credentials

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields of CONNECT that are the user's."""
        assert isinstance(self.headers, tuple)
        fields = [*self.headers]
        names = {name.lower() for name, _ in fields}
        if self._credentials is not None and "proxy-authorization" not in names:
            fields.append(("Proxy-Authorization", basic(self._credentials)))
        return fields

    def __str__(self) -> str:
        """Return the URL without its userinfo, so that it can be shown and logged."""
        return f"{self._scheme}://{bracket(self._host)}:{self._port}"


def check_ssl_context(name: str, value: object) -> None:
    """Raise ``TypeError`` unless it is a TLS context or ``None``.

    The class of ``ssl`` is no measure: ``truststore.inject_into_ssl()`` puts another one into its
    place, and contexts made before are no instances of that.
    """
    if value is None or (hasattr(value, "wrap_bio") and not isinstance(value, type)):
        return
    kind = "the class itself" if isinstance(value, type) else type(value).__name__
    raise TypeError(
        f"{name} has to be an ssl.SSLContext or None, not {kind}; {HOW_TO_MAKE_CONTEXT}"
    )


def _parse(url: str) -> tuple[str, str, int, tuple[bytes, bytes] | None]:
    check_sendable(url)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError("it has to be of the form scheme://host:port, and without a path")
    scheme = parts["scheme"].lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in _PORTS:
        raise ValueError(f"its scheme is {scheme!r}; it has to be one of {', '.join(_PORTS)}")
    userinfo, _, host_port = parts["authority"].rpartition("@")
    host, port = parse_host_port(host_port)
    credentials = parse_userinfo(userinfo) if userinfo else None
    if credentials is not None and scheme.startswith("socks"):
        name, password = credentials
        if not name or max(len(name), len(password)) > _MAX_CREDENTIAL_SIZE:
            raise ValueError("the name has to have 1 to 255 bytes, and the password at most 255")
    return scheme, host, _PORTS[scheme] if port is None else port, credentials
