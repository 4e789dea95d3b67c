"""Opening handshake (RFC 6455 §4.1), without I/O.

h11 parses HTTP; what makes an answer the answer to *this* request is judged here. Bytes go in
through ``receive_data``; once ``accepted`` or ``rejected`` is set, the outcome is known.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import h11

from trio_wsclient._close import escape_controls
from trio_wsclient._errors import InvalidResponse
from trio_wsclient._headers import Headers, HeadersLike, check_field, is_token
from trio_wsclient._url import URL

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

MAX_HEAD_SIZE: Final = 65_536  # bytes, interim answers included; four times h11's own default
_MAX_HEADER_FIELDS: Final = 256  # twice what http.client and websockets take
_MAX_BODY_SIZE: Final = 65_536  # bytes of a refusal's body that are kept: an error page
_MAX_QUOTE: Final = 200  # characters of the server's that are quoted in an error
# bytes: h11 applies its limit to what is in its buffer, so the verdict would depend on how the
# bytes were cut. Fed in small pieces, under a limit that they never reach, ours is the only one.
_PIECE: Final = 4096

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
class Accepted:
    """The server agreed: status 101 and all that RFC 6455 §4.1 asks of it."""

    subprotocol: str | None
    headers: Headers
    trailing_data: bytes  # the first bytes of the connection, if they came in the same segment


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


class Handshake:
    """One opening handshake, from the client's side.

    Args:
        url: Whom to ask for what.
        fields: Further header fields, checked; an ``Authorization`` among them goes before the
            URL's userinfo.
        subprotocols: The names to offer, the dearest first.
    """

    def __init__(
        self,
        url: URL,
        *,
        fields: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
    ) -> None:
        key = base64.b64encode(os.urandom(16))  # RFC 6455 §4.1, item 7
        digest = hashlib.sha1(key + _GUID).digest()  # noqa: S324 RFC 6455 §4.2.2 asks for it
        self._expected_accept = base64.b64encode(digest).decode()
        self._subprotocols = subprotocols
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD_SIZE)
        self._head_size = 0
        self._body = bytearray()
        self._answer: h11.Response | None = None
        self._body_complete = False
        self.accepted: Accepted | None = None
        head = [
            ("Host", url.authority),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.decode()),
            ("Sec-WebSocket-Version", "13"),
        ]
        if subprotocols:
            head.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if url.authorization and not any(name.lower() == "authorization" for name, _ in fields):
            head.append(("Authorization", url.authorization))
        request = h11.Request(method="GET", target=url.target, headers=[*head, *fields])
        self.request_data: Final = (self._http.send(request) or b"") + (
            self._http.send(h11.EndOfMessage()) or b""
        )

    @property
    def rejected(self) -> bool:
        """Whether the head of an answer with another status than 101 has come."""
        return self._answer is not None

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to be read."""
        return self.accepted is not None or self._body_complete

    @property
    def rejection(self) -> tuple[int, Headers, bytes]:
        """Status, headers and what has come of the body."""
        assert self._answer is not None
        return self._answer.status_code, _headers(self._answer), bytes(self._body)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; ``b""`` is the end of its stream.

        Raises:
            InvalidResponse: The answer breaks HTTP/1.1 or RFC 6455 §4.1.
        """
        start = 0
        while not self.complete:
            # Of the head no byte beyond the limit is looked at, however the bytes were cut.
            size = _PIECE if self.rejected else min(_PIECE, MAX_HEAD_SIZE - self._head_size)
            if data and size == 0:
                raise InvalidResponse(f"more than {MAX_HEAD_SIZE} bytes of response headers")
            piece = data[start : start + size]
            start += len(piece)
            try:
                self._http.receive_data(piece)
                self._next_events(len(piece))
            except h11.RemoteProtocolError as exc:
                if self.rejected:  # A refusal stays one, also with half a body.
                    self._body_complete = True
                elif not piece:
                    raise InvalidResponse("TCP ended before the answer was complete") from exc
                else:
                    raise InvalidResponse(f"not HTTP/1.1: {_brief(str(exc))}") from exc
            if start == len(data):
                break
        if self.accepted is not None and start < len(data):
            self.accepted = Accepted(
                self.accepted.subprotocol,
                self.accepted.headers,
                self.accepted.trailing_data + data[start:],
            )

    def _next_events(self, size: int) -> None:
        if not self.rejected:
            self._head_size += size
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:  # noqa: PLR2004 RFC 6455 §4.1
                    self._accept(event)
                    return
                # RFC 9110 §15.2: a client takes 100, 103 and their like and waits on.
            elif isinstance(event, h11.Response):
                self._answer = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) >= _MAX_BODY_SIZE:
                    del self._body[_MAX_BODY_SIZE:]
                    self._body_complete = True
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._body_complete = True
                return
            else:  # h11.NEED_DATA
                return

    def _accept(self, answer: h11.InformationalResponse) -> None:
        """Judge a 101 by RFC 6455 §4.1, the second list."""
        headers = _headers(answer)
        if answer.http_version != b"1.1":
            raise InvalidResponse(f"HTTP/{answer.http_version.decode()}, not HTTP/1.1")
        if len(headers.raw) > _MAX_HEADER_FIELDS:
            raise InvalidResponse(f"more than {_MAX_HEADER_FIELDS} response headers")
        if [value.lower() for value in headers.get_all("Upgrade")] != ["websocket"]:
            raise _wrong(headers, "Upgrade", "websocket")
        if "upgrade" not in (token.lower() for token in headers.tokens("Connection")):
            raise _wrong(headers, "Connection", "Upgrade")
        if headers.get_all("Sec-WebSocket-Accept") != [self._expected_accept]:
            raise _wrong(headers, "Sec-WebSocket-Accept", self._expected_accept)
        if headers.tokens("Sec-WebSocket-Extensions"):
            raise _wrong(headers, "Sec-WebSocket-Extensions", "none, for none was offered")
        chosen = headers.get_all("Sec-WebSocket-Protocol")
        if len(chosen) > 1 or not set(chosen) <= set(self._subprotocols):
            offer = ", ".join(self._subprotocols)
            raise _wrong(headers, "Sec-WebSocket-Protocol", f"one of those offered ({offer})")
        trailing_data, _ = self._http.trailing_data
        self.accepted = Accepted(chosen[0] if chosen else None, headers, trailing_data)


def _headers(answer: h11.Response | h11.InformationalResponse) -> Headers:
    fields = answer.headers.raw_items()
    return Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in fields)


def _wrong(headers: Headers, name: str, expected: str) -> InvalidResponse:
    values = [f"'{_brief(value)}'" for value in headers.get_all(name)]
    found = _brief(" and ".join(values)) if values else "missing"
    return InvalidResponse(f"header {name} is {found}; it has to be {expected}")


def _brief(text: str) -> str:
    """Make a text of the server fit for a message: one line, and not a long one."""
    escaped = escape_controls(text[: _MAX_QUOTE + 1])
    return escaped if len(escaped) <= _MAX_QUOTE else f"{escaped[:_MAX_QUOTE]}..."
