"""What an opening handshake asks for, and whether the response grants it (RFC 6455 §4.1).

Nothing here depends on the version of HTTP. ``upgrade`` carries a handshake over HTTP/1.1. HTTP/2
(RFC 8441 §5) would be another module beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from trio_wsclient._errors import InvalidResponse
from trio_wsclient._headers import Headers, check_fields, parse_extensions
from trio_wsclient._http.excerpts import Excerpts
from trio_wsclient._http.negotiation import NegotiationError, negotiate, offer
from trio_wsclient._http.response import Response
from trio_wsclient._http.url import URL
from trio_wsclient._protocol.deflate import AnyExtension

_NO_SUBPROTOCOL: Final = "missing, as none was offered; to offer one, use subprotocols"
_BAD_REQUEST: Final = 400
_ABOUT_TLS: Final = re.compile(rb"(?i)\b(https|ssl|tls)\b")
_MAX_HEADER_FIELDS: Final = 256  # as in `http11`, which counts those that h11 parses

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


class AcceptedUpgrade(NamedTuple):
    """The server agreed: status 101 and all that RFC 6455 §4.1 asks of it."""

    subprotocol: str | None
    headers: Headers
    extensions: tuple[AnyExtension, ...]  # those in use, in their order


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
        earlier: The excerpts of an earlier request of the same opening.

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
        extensions: Sequence[AnyExtension] = (),
        earlier: Excerpts | None = None,
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
        self.excerpts: Final = Excerpts(
            fields,
            target=url.target,
            subprotocols=subprotocols,
            userinfo=url.authorization or "",
            earlier=earlier,
        )

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
            # Their names are not listed: some servers take a token there.
            expected = "exactly one of those offered" if self._subprotocols else _NO_SUBPROTOCOL
            raise self.wrong_header(headers, "Sec-WebSocket-Protocol", expected)
        try:
            extensions = negotiate(self._extensions, self._offered, headers, self.excerpts)
        except NegotiationError as exc:
            raise InvalidResponse(str(exc)) from exc.__cause__
        return AcceptedUpgrade(chosen[0] if chosen else None, headers, extensions)

    def declined(self, accepted: AcceptedUpgrade) -> list[str]:
        """Return the names of the extensions that were offered and are not in use."""
        in_use = {extension.name for extension in accepted.extensions}
        offered = dict.fromkeys(element.name for element in parse_extensions(self._offered))
        return [name for name in offered if name not in in_use]

    def wrong_header(self, headers: Headers, name: str, expected: str) -> InvalidResponse:
        """Return the error of a response with a wrong header; the text quotes its values."""
        found = self.excerpts.header(headers, name)
        return InvalidResponse(f"header {name} is {found}; it has to be {expected}")


def is_about_tls(response: Response, body: bytes) -> bool:
    """Tell whether a rejection is likely one of a request without TLS to a port for TLS.

    nginx, Apache and Go answer such a request with 400, and say why in the body.
    """
    return response.status_code == _BAD_REQUEST and _ABOUT_TLS.search(body) is not None
