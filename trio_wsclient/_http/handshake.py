"""What an opening handshake asks for, and whether the response grants it (RFC 6455 §4.1).

Nothing here depends on the version of HTTP. ``upgrade`` carries a handshake over HTTP/1.1. HTTP/2
(RFC 8441 §5) would be another module beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wsproto.extensions import Extension

from trio_wsclient._errors import InvalidResponse
from trio_wsclient._headers import Headers, check_fields, check_token, parse_extensions
from trio_wsclient._http.excerpts import Excerpts
from trio_wsclient._http.negotiation import NegotiationError, negotiate, offer
from trio_wsclient._http.response import Response
from trio_wsclient._http.url import URL
from trio_wsclient._text import quote

_NO_SUBPROTOCOL: Final = "missing, as none was offered; to offer one, use subprotocols"
_BAD_REQUEST: Final = 400
_ABOUT_TLS: Final = re.compile(rb"(?i)\b(https|ssl|tls)\b")
_MAX_HEADER_FIELDS: Final = 256  # twice what http.client and websockets take

# What the handshake itself says, or what would give a GET a body (RFC 9112 §6).
_THE_HANDSHAKES: Final = "the handshake has its own"
_NO_BODY: Final = "the request has no body"
_OWN_FIELDS: Final = {
    "connection": _THE_HANDSHAKES,
    "content-length": _NO_BODY,
    "host": (
        "it is the host of the URL; to connect to another address, put this host into the URL and "
        "use open_stream"
    ),
    "sec-websocket-accept": "it is a header of the response",
    "sec-websocket-extensions": "use compression or extensions",
    "sec-websocket-key": _THE_HANDSHAKES,
    "sec-websocket-protocol": "use subprotocols",
    "sec-websocket-version": _THE_HANDSHAKES,
    "transfer-encoding": _NO_BODY,
    "upgrade": _THE_HANDSHAKES,
}


@dataclass(slots=True)
class AcceptedUpgrade:
    """The server agreed: status 101 and all that RFC 6455 §4.1 asks of it."""

    subprotocol: str | None
    headers: Headers
    extensions: tuple[Extension, ...]  # those in use, in their order


def check_subprotocols(subprotocols: object) -> tuple[str, ...]:
    """Check and freeze the names of subprotocols (RFC 6455 §4.1, item 10).

    Raises:
        TypeError: It is not a sequence of ``str``.
        ValueError: A member is not a token, or is in it twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols has to be a list: pass [{subprotocols!r}]")
    if isinstance(subprotocols, bytes) or not isinstance(subprotocols, Iterable):
        kind = type(subprotocols).__name__
        raise TypeError(f"subprotocols has to be a sequence of str, not {kind}")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str):
            kind = type(name).__name__
            raise TypeError(f"subprotocols has to be a sequence of str, but it contains {kind}")
        check_token(name, f"subprotocols: {name!r} can't be offered")
        if names.count(name) > 1:
            raise ValueError(f"subprotocols has {name!r} twice")
    return names


def check_extra_headers(
    extra_headers: object, option: str = "extra_headers"
) -> tuple[tuple[str, str], ...]:
    """Check and freeze the headers that a user adds to the request; see ``check_fields``."""
    return check_fields(option, extra_headers, own=_OWN_FIELDS)


class Handshake:
    """What a client asks a server for.

    Args:
        url: The URL of the WebSocket.
        fields: Further header fields, checked; an ``Authorization`` among them goes before the
            URL's userinfo.
        subprotocols: The names to offer, the preferred first.
        extensions: To offer, in their order.

    Attributes:
        url: The URL.
        fields: The header fields of the request, in every version of HTTP.
        excerpts: What an error may quote of the response.
    """

    def __init__(
        self,
        url: URL,
        *,
        fields: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] = (),
    ) -> None:
        self.url: Final = url
        self._subprotocols = subprotocols
        self._extensions = extensions
        self._offered = offer(extensions)
        head = [("Sec-WebSocket-Version", "13")]
        if subprotocols:
            head.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if self._offered:
            head.append(("Sec-WebSocket-Extensions", self._offered))
        if url.authorization and not any(name.lower() == "authorization" for name, _ in fields):
            head.append(("Authorization", url.authorization))
        self.fields: Final = (*head, *fields)
        _, mark, query = url.target.partition("?")
        items = re.split("[&=]", query) if mark else ()
        values = (value for _, value in fields)
        self.excerpts: Final = Excerpts([url.authorization or "", *items, *values])

    def accept(self, response: Response) -> AcceptedUpgrade:
        """Return what a response that agrees has agreed to. Call it once.

        Raises:
            InvalidResponse: The response agrees to something that was not asked for.
        """
        headers = response.headers
        if len(headers.raw) > _MAX_HEADER_FIELDS:
            raise InvalidResponse(f"more than {_MAX_HEADER_FIELDS} response headers")
        chosen = headers.get_all("Sec-WebSocket-Protocol")
        if len(chosen) > 1 or not set(chosen) <= set(self._subprotocols):
            offered = ", ".join(self._subprotocols)
            expected = f"exactly one of those offered ({offered})" if offered else _NO_SUBPROTOCOL
            raise wrong_header(headers, "Sec-WebSocket-Protocol", expected)
        try:
            extensions = negotiate(self._extensions, self._offered, headers)
        except NegotiationError as exc:
            raise InvalidResponse(str(exc)) from exc.__cause__
        return AcceptedUpgrade(chosen[0] if chosen else None, headers, extensions)

    def declined(self, accepted: AcceptedUpgrade) -> list[str]:
        """Return the names of the extensions that were offered and are not in use."""
        in_use = {extension.name for extension in accepted.extensions}
        offered = dict.fromkeys(element.name for element in parse_extensions(self._offered))
        return [name for name in offered if name not in in_use]


def wrong_header(headers: Headers, name: str, expected: str) -> InvalidResponse:
    """Return the error of a response with a wrong header; the text quotes its values."""
    values = [f"'{quote(value)}'" for value in headers.get_all(name)]
    found = quote(" and ".join(values)) if values else "missing"
    return InvalidResponse(f"header {name} is {found}; it has to be {expected}")


def is_about_tls(response: Response, body: bytes) -> bool:
    """Tell whether a rejection is likely one of a request without TLS to a port for TLS.

    nginx, Apache and Go answer such a request with 400, and say why in the body.
    """
    return response.status_code == _BAD_REQUEST and _ABOUT_TLS.search(body) is not None
