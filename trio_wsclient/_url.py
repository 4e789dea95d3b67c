"""ws and wss URLs (RFC 6455 §3), as data."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import idna

from trio_wsclient._errors import InvalidURL

_URL: Final = re.compile(r"(?P<scheme>wss?)://(?P<authority>[^/?]*)(?P<target>.*)", re.IGNORECASE)
_HOST_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_ASCII_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
# Space and controls, C1 and the separators of lines too: none has a place in a request line.
_UNSENDABLE: Final = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029]")
_MAX_LABEL_SIZE: Final = 63  # bytes (RFC 1035 §2.3.4)
_PRINTABLE_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class URL:
    """The parts of a ``ws`` or ``wss`` URL that a client needs.

    Attributes:
        secure: Whether the scheme is ``wss``.
        host: Where to connect, and whom the certificate has to name: an A-label or an IP address,
            without brackets.
        port: The port, 80 or 443 if the URL names none.
        target: Path and query as they stand in the request line (RFC 9112 §3.2.1).
        authorization: The header's value for the userinfo (RFC 7617), or ``None``.
    """

    secure: bool
    host: str
    port: int
    target: str
    authorization: str | None

    @property
    def authority(self) -> str:
        """The value of Host: brackets around IPv6, no default port (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return the URL without its userinfo, so that it can be shown and logged."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.target}"


def parse(url: str) -> URL:
    """Parse the URL of a WebSocket.

    Raises:
        TypeError: It is not a ``str``.
        InvalidURL: It is not a URL of a WebSocket, or has parts that can't be sent.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    if _UNSENDABLE.search(url):
        raise InvalidURL(url, "a space or a control character")
    if "#" in url:
        raise InvalidURL(url, "a fragment (RFC 6455 §3)")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise InvalidURL(url, "it does not begin with ws:// or wss://")
    secure = parts["scheme"].lower() == "wss"
    userinfo, at, host_port = parts["authority"].rpartition("@")
    host, port = _parse_host_port(url, host_port)
    try:
        target = quote(parts["target"], safe=_PRINTABLE_ASCII)
    except UnicodeEncodeError:
        raise InvalidURL(url, "a lone surrogate in the path or query") from None
    return URL(
        secure=secure,
        host=host,
        port=(443 if secure else 80) if port is None else port,
        target=target if target.startswith("/") else f"/{target}",
        authorization=_basic(url, userinfo) if at else None,
    )


def _parse_host_port(url: str, host_port: str) -> tuple[str, int | None]:
    parts = _HOST_PORT.fullmatch(host_port)
    if parts is None:
        raise InvalidURL(url, "host and port are not of the form host:port")
    host, port = parts["host"], parts["port"]
    if not host:
        raise InvalidURL(url, "no host")
    if not port:  # RFC 3986 §3.2.3: an empty port is the default one.
        return _parse_host(url, host), None
    if len(port) > 5 or not 1 <= int(port) <= 65535:  # noqa: PLR2004 RFC 9293 §3.1
        raise InvalidURL(url, "the port is not in 1 to 65535")
    return _parse_host(url, host), int(port)


def _parse_host(url: str, host: str) -> str:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise InvalidURL(url, "not an IPv6 address in the brackets") from None
        if address.scope_id is not None:
            # RFC 9844: a zone means something on this machine only, and must not be sent.
            raise InvalidURL(url, "an IPv6 address with a zone")
        return str(address)
    if host.isascii():
        if not _ASCII_HOST.fullmatch(host):
            raise InvalidURL(url, "a host name with a character that no host name has")
        labels = host.removesuffix(".").split(".")
        if not all(1 <= len(label) <= _MAX_LABEL_SIZE for label in labels):
            raise InvalidURL(url, "a host name with an empty or too long label (RFC 1035 §2.3.4)")
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError as exc:
        raise InvalidURL(url, f"not an IDNA 2008 host name: {exc}") from None


def _basic(url: str, userinfo: str) -> str:
    """Make the value of Authorization from the userinfo (RFC 3986 §3.2.1, RFC 7617 §2)."""
    try:
        user, _, password = userinfo.partition(":")
        credentials = (unquote_to_bytes(user), unquote_to_bytes(password))
    except UnicodeEncodeError:
        raise InvalidURL(url, "a lone surrogate in the userinfo") from None
    if b":" in credentials[0]:
        raise InvalidURL(url, "a user name with a colon can't be sent (RFC 7617 §2)")
    if any(byte < 0x20 or byte == 0x7F for part in credentials for byte in part):  # noqa: PLR2004
        raise InvalidURL(url, "userinfo with a control character can't be sent (RFC 7617 §2)")
    return "Basic " + base64.b64encode(b":".join(credentials)).decode()
