"""ws and wss URLs (RFC 6455 §3), as data.

``http`` and ``https`` mean the same as ``ws`` and ``wss``, as in the WHATWG standard for browsers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import quote

from trio_wsclient._errors import InvalidURL
from trio_wsclient._http.authority import (
    basic,
    bracket,
    check_sendable,
    parse_host_port,
    parse_userinfo,
)

_URL: Final = re.compile(
    r"(?P<scheme>ws|wss|http|https)://(?P<authority>[^/?]*)(?P<target>.*)", re.IGNORECASE
)
_SECURE: Final = frozenset({"wss", "https"})
PRINTABLE_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class URL:
    """The parts of a ``ws`` or ``wss`` URL that a client needs.

    Attributes:
        secure: Whether the scheme is ``wss`` or ``https``.
        host: Where to connect: a name of A-labels or an IP address, without brackets.
        port: The port, 80 or 443 if the URL names none.
        target: Path and query as they stand in the request line (RFC 9112 §3.2.1).
        authorization: The header's value for the userinfo (RFC 7617), or ``None``.
    """

    secure: bool
    host: str
    port: int
    target: str
    authorization: str | None = field(repr=False)  # The repr may end in a log.

    @cached_property
    def authority(self) -> str:
        """The value of Host: brackets around IPv6, no default port (RFC 9110 §7.2)."""
        host = bracket(self.host)
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def server_hostname(self) -> str:
        """The name to verify in the certificate; no dot ends it, nor SNI (RFC 6066 §3)."""
        return self.host.removesuffix(".")

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What makes two URLs be of one origin (RFC 6454 §4)."""
        return self.secure, self.host, self.port

    @cached_property
    def redacted(self) -> str:
        """The URL for logs: without its userinfo, and without what the query may have of secrets.

        Of an item of the query the key is kept. If nothing follows it, it may be the secret itself:
        of a token in Base64 the padding looks like an empty value.
        """
        place, mark, query = str(self).partition("?")
        items = (item.partition("=") for item in query.split("&")) if mark else ()
        shown = (f"{key}=..." if value.strip("=") else "..." for key, _, value in items)
        return place + mark + "&".join(shown)

    def __str__(self) -> str:
        """Return the URL without its userinfo; its scheme is ``ws`` or ``wss``."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.target}"


def parse(url: str) -> URL:
    """Parse the URL of a WebSocket.

    Raises:
        TypeError: It is not a ``str``.
        InvalidURL: It is not a URL of a WebSocket, or has parts that can't be sent.
    """
    if not isinstance(url, str):
        raise TypeError(f"url has to be str, not {type(url).__name__}")
    try:
        return _parse(str.__str__(url))  # A subclass may compare in another way than its text.
    except ValueError as exc:
        raise InvalidURL(url, str(exc)) from None


# A program that connects often mostly connects to the same URLs. Errors are not kept.
@lru_cache(maxsize=64)
def _parse(url: str) -> URL:
    check_sendable(url)
    if "#" in url:
        raise ValueError("it has a fragment (RFC 6455 §3); to send '#', write %23")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError("it does not begin with ws://, wss://, http:// or https://")
    secure = parts["scheme"].lower() in _SECURE
    userinfo, _, host_port = parts["authority"].rpartition("@")
    host, port = parse_host_port(host_port)
    try:
        target = quote(parts["target"], safe=PRINTABLE_ASCII)
    except UnicodeEncodeError as exc:
        index = parts.start("target") + exc.start
        raise ValueError(
            f"it has a lone surrogate at index {index}, which UTF-8 can't encode"
        ) from None
    return URL(
        secure=secure,
        host=host,
        port=(443 if secure else 80) if port is None else port,
        target=target if target.startswith("/") else f"/{target}",
        authorization=basic(parse_userinfo(userinfo)) if userinfo else None,
    )
