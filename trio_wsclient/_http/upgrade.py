"""An opening handshake over HTTP/1.1: GET with Upgrade, and status 101 (RFC 6455 §4.1)."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final

from trio_wsclient._errors import InvalidResponse
from trio_wsclient._http.handshake import AcceptedUpgrade, Handshake
from trio_wsclient._http.http11 import (
    HTTP11Exchange,
    MalformedResponse,
    NoResponse,
    OtherProtocol,
    SpeaksTLS,
)
from trio_wsclient._http.response import Response

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def make_nonce() -> bytes:
    """Return what makes a response one to this request (RFC 6455 §4.1, item 7)."""
    return os.urandom(16)


class HTTP11Upgrade:
    """One opening handshake as bytes of HTTP/1.1, without I/O.

    Send ``request_data``, and pass what comes to ``receive_plain_101``, or else to
    ``receive_data``. Once ``accepted`` or ``rejected`` is set, the outcome is known.

    Args:
        handshake: What to ask for.
    """

    def __init__(self, handshake: Handshake) -> None:
        key = base64.b64encode(make_nonce())
        digest = hashlib.sha1(key + _GUID).digest()  # noqa: S324 RFC 6455 §4.2.2 asks for it
        self._expected_accept = base64.b64encode(digest).decode()
        self._handshake = handshake
        self._accepted: AcceptedUpgrade | None = None
        url = handshake.url
        head = [
            ("Host", url.authority),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.decode()),
        ]
        self._exchange = HTTP11Exchange(
            "GET", url.target, [*head, *handshake.fields], handshake.excerpts
        )
        self.request_data: Final = self._exchange.request_data

    @property
    def accepted(self) -> AcceptedUpgrade | None:
        """The outcome, if the server has agreed."""
        return self._accepted

    @property
    def trailing_data(self) -> bytes:
        """The first bytes of the connection, if they came with the response."""
        return self._exchange.trailing_data

    @property
    def rejected(self) -> bool:
        """Whether the head of a response with another status than 101 has come."""
        return self._exchange.rejected

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to be read."""
        return self._exchange.complete

    @property
    def read_size(self) -> int:
        """How many bytes to read next, at most. Other tasks have to run between two reads."""
        return self._exchange.read_size

    @property
    def response(self) -> Response | None:
        """The head of the response, once it has come."""
        return self._exchange.response

    @property
    def body(self) -> bytes:
        """What has come of a rejection's body."""
        return self._exchange.body

    def receive_plain_101(self, data: bytes) -> bool:
        """Take the usual response from the server, without h11; return whether the bytes are one.

        Raises:
            InvalidResponse: The response breaks RFC 6455 §4.1.
        """
        if not self._exchange.receive_plain_101(data):
            return False
        self._check_switched()
        return True

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; ``b""`` is the end of its stream.

        Raises:
            InvalidResponse: The response breaks HTTP/1.1 or RFC 6455 §4.1.
        """
        try:
            self._exchange.receive_data(data)
        except MalformedResponse as exc:
            raise InvalidResponse(f"{exc}{self._advice(exc)}") from exc.__cause__
        self._check_switched()

    def _check_switched(self) -> None:
        if self._exchange.switched and self._accepted is None:
            assert self._exchange.response is not None
            self._check_upgrade(self._exchange.response)
            self._accepted = self._handshake.accept(self._exchange.response)

    def _advice(self, exc: MalformedResponse) -> str:
        if isinstance(exc, OtherProtocol):
            return "; is the port right?"
        if self._handshake.url.secure:
            return ""
        if isinstance(exc, SpeaksTLS):
            return "; use wss"
        return "; does the server want wss?" if isinstance(exc, NoResponse) else ""

    def _check_upgrade(self, response: Response) -> None:
        """Check a 101 by those items of RFC 6455 §4.1, second list, that belong to HTTP/1.1."""
        headers, wrong_header = response.headers, self._handshake.wrong_header
        if response.http_version != "1.1":
            raise InvalidResponse(
                f"status 101 by HTTP/{response.http_version}; it has to be HTTP/1.1"
            )
        if [value.lower() for value in headers.get_all("Upgrade")] != ["websocket"]:
            raise wrong_header(headers, "Upgrade", "websocket")
        if "upgrade" not in (token.lower() for token in headers.tokens("Connection")):
            raise wrong_header(headers, "Connection", "Upgrade")
        if headers.get_all("Sec-WebSocket-Accept") != [self._expected_accept]:
            raise wrong_header(headers, "Sec-WebSocket-Accept", self._expected_accept)
