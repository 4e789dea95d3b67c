"""Answers to an opening handshake, right and wrong, and how to find their outcome."""

from __future__ import annotations

from typing import Any

import wire

from trio_wsclient import Headers, InvalidResponse
from trio_wsclient._http.handshake import Handshake
from trio_wsclient._http.upgrade import HTTP11Upgrade
from trio_wsclient._http.url import parse

FRAMES = wire.text("Hello") + wire.ping(b"p")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n"


def switching(
    *more: str,
    status: str = "HTTP/1.1 101 Switching Protocols",
    upgrade: str | None = "Upgrade: websocket",
    connection: str | None = "Connection: Upgrade",
    accept: str | None = "Sec-WebSocket-Accept: <accept>",
) -> bytes:
    """Make an answer that is right but for what is passed."""
    lines = [line for line in (status, upgrade, connection, accept, *more) if line is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def rejection(status: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def upgrade(url: str = "ws://example.org/", **asked: Any) -> HTTP11Upgrade:
    """Return a handshake over HTTP/1.1."""
    return HTTP11Upgrade(Handshake(parse(url), **asked))


def handshake(*subprotocols: str, url: str = "ws://example.org/chat") -> HTTP11Upgrade:
    return upgrade(url, subprotocols=subprotocols)


def feed(shake: HTTP11Upgrade, *pieces: bytes) -> bytes:
    """Feed pieces of an answer until it is complete; return the pieces that are left."""
    queue = list(pieces)
    while queue and not shake.complete:
        shake.receive_data(queue.pop(0))
    return b"".join(queue)


def complete(shake: HTTP11Upgrade, answer: bytes) -> bytes:
    """Put in for ``<accept>`` what this handshake has to be answered with."""
    return answer.replace(b"<accept>", wire.accept_key(shake.request_data).encode())


def fields_of(headers: Headers) -> list[tuple[str, str]]:
    """Return the fields but the one that differs from handshake to handshake."""
    return [(name, value) for name, value in headers.raw if name.lower() != "sec-websocket-accept"]


def outcome(shake: HTTP11Upgrade, *pieces: bytes) -> tuple[object, ...]:
    """Return all that a handshake tells about an answer, for comparing."""
    try:
        rest = feed(shake, *pieces)
    except InvalidResponse as exc:
        text = str(exc).replace(wire.accept_key(shake.request_data), "<accept>")
        return "invalid", text
    if shake.accepted is not None:
        accepted = shake.accepted
        fields = fields_of(accepted.headers)
        return "accepted", accepted.subprotocol, fields, shake.trailing_data + rest
    if shake.rejected:
        response = shake.response
        assert response is not None
        return (
            "rejected",
            response.status_code,
            fields_of(response.headers),
            shake.body,
            shake.complete,
        )
    return ("waiting",)


def outcome_of(answer: bytes, *subprotocols: str) -> tuple[object, ...]:
    shake = handshake(*subprotocols)
    return outcome(shake, complete(shake, answer))


ACCEPTING = {
    "plain": switching(),
    "without a reason phrase": switching(status="HTTP/1.1 101"),
    "with another reason phrase": switching(status="HTTP/1.1 101 Web Socket Protocol Handshake"),
    "names and values in another case": switching(
        upgrade="UPGRADE: WebSocket",
        connection="connection: UPGRADE",
        accept="sec-websocket-ACCEPT: <accept>",
    ),
    "spaces around values": switching(
        upgrade="Upgrade:  websocket \t",
        connection="Connection:upgrade",
        accept="Sec-WebSocket-Accept:\t<accept>  ",
    ),
    "Connection with more options": switching(connection="Connection: keep-alive, Upgrade"),
    "Connection in two fields": switching("Connection: keep-alive"),
    "an empty list of extensions": switching("Sec-WebSocket-Extensions: "),
    "further fields": switching("Server: x", "Set-Cookie: a=1", "Set-Cookie: b=2"),
    "a value that is not ASCII": switching("X-Name: J\xf6rg"),
    "100 first": CONTINUE + switching(),
    "103 first": EARLY_HINTS + switching(),
    "100 and 103 first, several times": CONTINUE + EARLY_HINTS + CONTINUE * 3 + switching(),
}

NOT_101 = {
    "HTTP/1.0": (
        switching(status="HTTP/1.0 101 OK"),
        "status 101 by HTTP/1.0; it has to be HTTP/1.1",
    ),
    "HTTP/2.0": (
        switching(status="HTTP/2.0 101 OK"),
        "status 101 by HTTP/2.0; it has to be HTTP/1.1",
    ),
    "no Upgrade": (switching(upgrade=None), "header Upgrade is missing; it has to be websocket"),
    "another Upgrade": (
        switching(upgrade="Upgrade: h2c"),
        "header Upgrade is 'h2c'; it has to be websocket",
    ),
    "more than one Upgrade": (
        switching(upgrade="Upgrade: websocket, h2c"),
        "header Upgrade is 'websocket, h2c'; it has to be websocket",
    ),
    "Upgrade twice": (
        switching("Upgrade: websocket"),
        "header Upgrade is 'websocket' and 'websocket'; it has to be websocket",
    ),
    "no Connection": (
        switching(connection=None),
        "header Connection is missing; it has to be Upgrade",
    ),
    "another Connection": (
        switching(connection="Connection: keep-alive"),
        "header Connection is 'keep-alive'; it has to be Upgrade",
    ),
    "half a Connection": (
        switching(connection="Connection: Upgraded"),
        "header Connection is 'Upgraded'; it has to be Upgrade",
    ),
    "no Accept": (
        switching(accept=None),
        "header Sec-WebSocket-Accept is missing; it has to be <accept>",
    ),
    "an empty Accept": (
        switching(accept="Sec-WebSocket-Accept:"),
        "header Sec-WebSocket-Accept is ''; it has to be <accept>",
    ),
    "the Accept of another key": (
        switching(accept="Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "header Sec-WebSocket-Accept is 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='; it has to be <accept>",
    ),
    "Accept twice": (
        switching("Sec-WebSocket-Accept: <accept>"),
        "header Sec-WebSocket-Accept is '<accept>' and '<accept>'; it has to be <accept>",
    ),
    "Accept with something after it": (
        switching(accept="Sec-WebSocket-Accept: <accept>, x"),
        "header Sec-WebSocket-Accept is '<accept>, x'; it has to be <accept>",
    ),
    "an extension": (
        switching("Sec-WebSocket-Extensions: permessage-deflate"),
        "header Sec-WebSocket-Extensions: 'permessage-deflate' was not offered",
    ),
    "an extension in the second field": (
        switching("Sec-WebSocket-Extensions:", "sec-websocket-extensions: x; a=b"),
        "header Sec-WebSocket-Extensions: 'x' was not offered",
    ),
    "a subprotocol": (
        switching("Sec-WebSocket-Protocol: chat"),
        "header Sec-WebSocket-Protocol is 'chat'",
    ),
    "an empty subprotocol": (
        switching("Sec-WebSocket-Protocol:"),
        "header Sec-WebSocket-Protocol is ''",
    ),
}

JUNK = {
    "the first byte of TLS": b"\x15",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "a blank line": b"\r\n\r\n",
    "not ASCII": b"\xff\xfe\x80 \xe4\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a lower-case version": switching(status="http/1.1 101 OK"),
    "a version that is none": switching(status="HTTP/11 101 OK"),
    "no status": switching(status="HTTP/1.1"),
    "a short status": switching(status="HTTP/1.1 10 OK"),
    "a long status": switching(status="HTTP/1.1 1010 OK"),
    "a status out of range": switching(status="HTTP/1.1 099 OK"),
    "a space before the status": switching(status=" HTTP/1.1 101 OK"),
    "a line without a colon": switching("X-Name"),
    "a space before the colon": switching("X-Name : a"),
    "an empty name": switching(": a"),
    "a name that is not ASCII": switching("X-N\xe4me: a"),
    "a NUL in a value": switching("X-Name: a\0b"),
    "a CR in a value": switching("X-Name: a\rb"),
    "two lengths": switching("Content-Length: 1", "Content-Length: 2"),
    "a length that is none": switching("Content-Length: -1"),
    "a length without end": switching("Content-Length: " + "9" * 5000),
    "junk after a 100": CONTINUE + b"\x00",
}

REJECTIONS = {
    "with a length": (
        rejection("403 Forbidden", "Content-Length: 3", body=b"no."),
        (403, b"no."),
    ),
    "without a body": (rejection("426 Upgrade Required", "Content-Length: 0"), (426, b"")),
    "that can have no body": (rejection("204 No Content"), (204, b"")),
    "a redirect": (
        rejection("302 Found", "Location: /there", "Content-Length: 0"),
        (302, b""),
    ),
    "an OK": (rejection("200 OK", "Content-Length: 2", body=b"ok"), (200, b"ok")),
    "of HTTP/1.0": (b"HTTP/1.0 503 Busy\r\nContent-Length: 1\r\n\r\nx", (503, b"x")),
    "in chunks": (
        rejection(
            "500 Oops", "Transfer-Encoding: chunked", body=b"2\r\nno\r\n1;x=y\r\n.\r\n0\r\n\r\n"
        ),
        (500, b"no."),
    ),
    "in chunks, with trailers": (
        rejection("500 Oops", "Transfer-Encoding: chunked", body=b"2\r\nno\r\n0\r\nX-A: b\r\n\r\n"),
        (500, b"no"),
    ),
    "after a 100": (
        CONTINUE + rejection("401 Unauthorized", "Content-Length: 1", body=b"x"),
        (401, b"x"),
    ),
    "with something after its body": (
        rejection("403 Forbidden", "Content-Length: 3", body=b"no.HTTP/1.1 200 OK\r\n\r\n"),
        (403, b"no."),
    ),
    "with headers of a 101": (
        switching("Content-Length: 0", status="HTTP/1.1 200 OK"),
        (200, b""),
    ),
}
