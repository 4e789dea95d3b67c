"""Opening handshake (RFC 6455 §4.1), without I/O.

``http11`` reads the response; whether it is the response to *this* request is judged here. Bytes go
in through ``receive_data``; once ``accepted`` or ``rejected`` is set, the outcome is known.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import h11
from wsproto.extensions import Extension

from trio_wsclient._errors import InvalidResponse
from trio_wsclient._headers import Headers, HeadersLike, check_field, is_token, parse_extensions
from trio_wsclient._http.http11 import HTTP11Exchange, MalformedResponse, Response
from trio_wsclient._http.negotiation import NegotiationError, negotiate, offer
from trio_wsclient._http.url import URL
from trio_wsclient._text import quote

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_MAX_HEADER_FIELDS: Final = 256  # twice what http.client and websockets take

# What the handshake itself says, or what would give a GET a body (RFC 9112 §6).
_OWN_FIELDS: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class AcceptedUpgrade:
    """The server agreed: status 101 and all that RFC 6455 §4.1 asks of it."""

    subprotocol: str | None
    headers: Headers
    extensions: tuple[Extension, ...]  # those in use, in their order
    trailing_data: bytes = (
        b""  # the first bytes of the connection, if they came in the same segment
    )


def check_subprotocols(subprotocols: Sequence[str]) -> tuple[str, ...]:
    """Check and freeze the names of subprotocols (RFC 6455 §4.1, item 10).

    Raises:
        TypeError: It is a ``str``, or has a member that is none.
        ValueError: A member is not a token, or stands there twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a sequence of str, not one str")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol is a str, not {type(name).__name__}")
        if not is_token(name):
            raise ValueError(f"not a subprotocol's name: {name!r}")
    if len(set(names)) != len(names):
        raise ValueError("a subprotocol stands there twice")
    return names


def check_extra_headers(extra_headers: HeadersLike) -> tuple[tuple[str, str], ...]:
    """Check and freeze the headers that a user adds to the request.

    Raises:
        TypeError: It is neither a mapping nor pairs of ``str``.
        ValueError: A header belongs to the handshake itself, or can't be sent.
    """
    if isinstance(extra_headers, Mapping):
        extra_headers = extra_headers.items()
    fields = []
    for field in extra_headers:
        match field:
            case str(name), str(value):
                check_field(name, value)
            case _:
                # Not shown: it may be a credential.
                kind = type(field).__name__
                raise TypeError(f"extra_headers is a mapping or pairs of str, but has a {kind}")
        if name.lower() in _OWN_FIELDS:
            raise ValueError(f"header {name!r} belongs to the handshake itself")
        fields.append((name, value))
    return tuple(fields)


def make_nonce() -> bytes:
    """Return what makes a response one to this request (RFC 6455 §4.1, item 7)."""
    return os.urandom(16)


class Handshake:
    """One opening handshake, from the client's side.

    Args:
        url: Whom to ask for what.
        fields: Further header fields, checked; an ``Authorization`` among them goes before the
            URL's userinfo.
        subprotocols: The names to offer, the preferred first.
        extensions: To offer, in their order.
    """

    def __init__(
        self,
        url: URL,
        *,
        fields: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] = (),
    ) -> None:
        key = base64.b64encode(make_nonce())
        digest = hashlib.sha1(key + _GUID).digest()  # noqa: S324 RFC 6455 §4.2.2 asks for it
        self._expected_accept = base64.b64encode(digest).decode()
        self._subprotocols = subprotocols
        self._extensions = extensions
        self._offered = offer(extensions)
        self._accepted: AcceptedUpgrade | None = None
        head = [
            ("Host", url.authority),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.decode()),
            ("Sec-WebSocket-Version", "13"),
        ]
        if subprotocols:
            head.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if self._offered:
            head.append(("Sec-WebSocket-Extensions", self._offered))
        if url.authorization and not any(name.lower() == "authorization" for name, _ in fields):
            head.append(("Authorization", url.authorization))
        self._exchange = HTTP11Exchange(
            h11.Request(method="GET", target=url.target, headers=[*head, *fields])
        )
        self.request_data: Final = self._exchange.request_data

    @property
    def accepted(self) -> AcceptedUpgrade | None:
        """The outcome, if the server has agreed."""
        return self._accepted

    @property
    def declined(self) -> list[str]:
        """The names of the extensions that were offered and are not in use."""
        assert self._accepted is not None
        in_use = {extension.name for extension in self._accepted.extensions}
        offered = dict.fromkeys(element.name for element in parse_extensions(self._offered))
        return [name for name in offered if name not in in_use]

    @property
    def rejected(self) -> bool:
        """Whether the head of a response with another status than 101 has come."""
        return self._exchange.rejected

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to be read."""
        return self._exchange.complete

    @property
    def rejection(self) -> tuple[int, Headers, bytes]:
        """Status, headers and what has come of the body."""
        response = self._exchange.response
        assert response is not None
        return response.status_code, response.headers, self._exchange.body

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; ``b""`` is the end of its stream.

        Raises:
            InvalidResponse: The response breaks HTTP/1.1 or RFC 6455 §4.1.
        """
        try:
            self._exchange.receive_data(data)
        except MalformedResponse as exc:
            raise InvalidResponse(str(exc)) from exc.__cause__
        if self._exchange.switched:
            if self._accepted is None:
                assert self._exchange.response is not None
                self._accepted = self._judge(self._exchange.response)
            self._accepted = replace(self._accepted, trailing_data=self._exchange.trailing_data)

    def _judge(self, response: Response) -> AcceptedUpgrade:
        """Judge a 101 by RFC 6455 §4.1, the second list."""
        headers = response.headers
        if response.http_version != "1.1":
            raise InvalidResponse(f"HTTP/{response.http_version}, not HTTP/1.1")
        if len(headers.raw) > _MAX_HEADER_FIELDS:
            raise InvalidResponse(f"more than {_MAX_HEADER_FIELDS} response headers")
        if [value.lower() for value in headers.get_all("Upgrade")] != ["websocket"]:
            raise _wrong(headers, "Upgrade", "websocket")
        if "upgrade" not in (token.lower() for token in headers.tokens("Connection")):
            raise _wrong(headers, "Connection", "Upgrade")
        if headers.get_all("Sec-WebSocket-Accept") != [self._expected_accept]:
            raise _wrong(headers, "Sec-WebSocket-Accept", self._expected_accept)
        chosen = headers.get_all("Sec-WebSocket-Protocol")
        if len(chosen) > 1 or not set(chosen) <= set(self._subprotocols):
            offered = ", ".join(self._subprotocols)
            raise _wrong(headers, "Sec-WebSocket-Protocol", f"one of those offered ({offered})")
        extensions = self._negotiate(headers)
        return AcceptedUpgrade(chosen[0] if chosen else None, headers, extensions)

    def _negotiate(self, headers: Headers) -> tuple[Extension, ...]:
        try:
            return negotiate(self._extensions, self._offered, headers)
        except NegotiationError as exc:
            raise InvalidResponse(str(exc)) from exc.__cause__


def _wrong(headers: Headers, name: str, expected: str) -> InvalidResponse:
    values = [f"'{quote(value)}'" for value in headers.get_all(name)]
    found = quote(" and ".join(values)) if values else "missing"
    return InvalidResponse(f"header {name} is {found}; it has to be {expected}")
