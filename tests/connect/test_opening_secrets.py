"""No error, and no record of the log, has a secret of the request that a server sends back."""

from __future__ import annotations

import base64
import logging
import pickle
import ssl
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import trio
import wire
from extensions import Named
from handshake_tables import rejection
from log_records import KeepingLogger, facts
from scripted_proxy import as_proxy
from scripted_server import Peer, loopback_server

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    Observer,
    Proxy,
    open_websocket_client,
)

PASSWORD = "hunter2x + secret\\'"
IN_URL = "hunter2x%20+%20secret%5C%27"
TOKEN = "S3CRET-token-12345"
BASIC = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()


def asking(path: str = "", userinfo: str = "", **options: Any) -> Callable[[str], Any]:
    """Return what makes of a server's URL the URL to open; and the options."""
    return lambda url: (url.replace("//", f"//{userinfo}", 1) + path, options)


# Options, the text that the server sends back, and the secret that no error may show.
SENT = {
    "a bearer token": (
        asking(extra_headers={"Authorization": f"Bearer {TOKEN}"}),
        TOKEN,
        TOKEN,
    ),
    "a header's complete value": (
        asking(extra_headers={"Authorization": f"Bearer {TOKEN}"}),
        f"Bearer {TOKEN}",
        TOKEN,
    ),
    "a cookie, in lower case": (
        asking(extra_headers={"Cookie": f"a=1; session={TOKEN}"}),
        TOKEN.lower(),
        TOKEN.lower(),
    ),
    "the password of the URL": (asking(userinfo=f"bob:{IN_URL}@"), PASSWORD, "hunter2x"),
    "the userinfo as Base64": (asking(userinfo=f"bob:{IN_URL}@"), BASIC, BASIC),
    "the password in the URL's form": (asking(userinfo=f"bob:{IN_URL}@"), IN_URL, "hunter2x"),
    "a user name that is a token": (asking(userinfo=f"{TOKEN}:@"), TOKEN, TOKEN),
    "the password of a Basic header": (
        asking(extra_headers={"Authorization": f"Basic {BASIC}"}),
        PASSWORD,
        "hunter2x",
    ),
    "a query's value": (asking("?t=tok%2Ben%2F12345"), "tok%2Ben%2F12345", "tok%2Ben"),
    "a query's value, decoded": (asking("?t=tok%2Ben%2F12345"), "tok+en/12345", "tok+en"),
    "a query's value with a space": (asking("?t=tok+en%2012345"), "tok en 12345", "tok en"),
    "a query without a key": (asking(f"?{TOKEN}"), TOKEN, TOKEN),
    "a subprotocol": (asking(subprotocols=["v1", f"bearer.{TOKEN}"]), f"bearer.{TOKEN}", TOKEN),
    "a part of a subprotocol": (asking(subprotocols=["v1", f"bearer.{TOKEN}"]), TOKEN, TOKEN),
    "a subprotocol of Kubernetes, decoded": (
        asking(
            subprotocols=[
                "v4.channel.k8s.io",
                "base64url.bearer.authorization.k8s.io."
                + base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("="),
            ]
        ),
        TOKEN,
        TOKEN,
    ),
}


def percent_encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def in_html(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


def in_json(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def in_101(**fields: str) -> Callable[[bytes, str], bytes]:
    """Return a 101 in which some fields, named with underscores, have the text."""

    def answer(request: bytes, text: str) -> bytes:
        head = wire.answer(request).decode()
        for key, value in fields.items():
            name = key.replace("_", "-")
            lines = [line for line in head.split("\r\n") if not line.startswith(f"{name}:")]
            head = "\r\n".join([*lines[:-2], f"{name}: {value.format(text)}", "", ""])
        return head.encode()

    return answer


def rejected(*lines: str, status: str = "401 No", body: str = "") -> Callable[[bytes, str], bytes]:
    return lambda _, text: rejection(
        status.format(text), *(line.format(text) for line in lines), body=body.format(text).encode()
    )


def raw(response: str) -> Callable[[bytes, str], bytes]:
    return lambda _, text: response.format(text).encode()


# Where the server repeats it.
PLACES = {
    "body": rejected(body="wrong {} of bob"),
    "body, across the cut": rejected(body="." * 95 + "{}"),
    "body, which ends early": lambda _, text: rejection("401 No", body=f"no {text}".encode()[:13]),
    "body, percent-encoded": lambda _, text: rejection(
        "401 No", body=percent_encoded(text).encode()
    ),
    "body, in HTML": lambda _, text: rejection("401 No", body=in_html(text).encode()),
    "body, in JSON": lambda _, text: rejection("401 No", body=in_json(text).encode()),
    "body, in lines": lambda _, text: rejection("401 No", body=text.replace(" ", "\r\n ").encode()),
    "reason phrase": rejected(status="401 No {}"),
    "WWW-Authenticate": rejected("WWW-Authenticate: Bearer error={}"),
    "header line": raw("HTTP/1.1 401 No\r\nbad line {}\r\n\r\n"),
    "status line": raw("HTTP/1.1 bad {}\r\n\r\n"),
    "version": raw("HTTP/{} 401 No\r\n\r\n"),
    "another protocol": raw("-ERR {} is wrong\r\n"),
    "another protocol, cut": lambda _, text: f"-ERR {text}".encode()[:15],
    "Upgrade": in_101(Upgrade="{}"),
    "Connection": in_101(Connection="{}"),
    "Sec-WebSocket-Accept": in_101(Sec_WebSocket_Accept="{}"),
    "Sec-WebSocket-Protocol": in_101(Sec_WebSocket_Protocol="x{}"),
    "another Sec-WebSocket-Protocol": in_101(Sec_WebSocket_Protocol="v2"),
    "extension": in_101(Sec_WebSocket_Extensions="{}"),
    "extension, across the cut": in_101(Sec_WebSocket_Extensions="." * 50 + " {}"),
    "extension, parameter": in_101(
        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits={}"
    ),
    "extension of the user's": in_101(Sec_WebSocket_Extensions="picky; {}"),
    "Location, path": rejected("Location: /login/{}", status="302 F"),
    "Location, percent-encoded": lambda _, text: rejection(
        "302 F", f"Location: /{percent_encoded(text)}"
    ),
    "Location, userinfo": rejected("Location: ws://bob:{}@127.0.0.1/", status="302 F"),
    "Location, query": rejected("Location: /login?t={}", status="302 F"),
    "Location, other scheme": rejected("Location: ftp://x/{}", status="302 F"),
    "Location, no URL": rejected("Location: ws://{}:x/", status="302 F"),
}


class Quoting(Named):
    """An extension that refuses every answer, and quotes it."""

    def finalize(self, offer: str) -> None:
        raise ValueError(f"not for me:\n{offer}")


class Keeping(Observer):
    """Keeps the arguments of ``opening_failed``."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def opening_failed(
        self, connection_id: int, url: str, error: BaseException, phases: Mapping[str, float]
    ) -> None:
        self.told += [url, str(error), repr(error)]


def shown_of(error: BaseException, logger: KeepingLogger, observer: Keeping) -> list[str]:
    """Return all texts that a user, a log or a tracker of errors gets without asking."""
    assert observer.told, "the observer was not told"
    assert logger.records
    return [
        str(error),
        repr(error),
        *map(str, error.args),
        *getattr(error, "__notes__", ()),
        str(pickle.loads(pickle.dumps(error))),
        str(getattr(error, "problem", "")),
        *traceback.format_exception(error),
        *observer.told,
        *(record.getMessage() for record in logger.records),
        *(str(fact) for record in logger.records for fact in facts(record).values()),
    ]


async def failing(url: str, options: Mapping[str, Any]) -> list[str]:
    """Open a connection that must fail; return what is shown of it."""
    logger, observer = KeepingLogger(logging.DEBUG), Keeping()
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client(url, logger=logger, observer=observer, **options):
            pass
    return shown_of(caught.value, logger, observer)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sent", SENT)
async def test_error_shows_no_secret_that_the_server_repeats(sent: str, place: str):
    asked, repeated, secret = SENT[sent]

    async def answer(peer: Peer) -> None:
        request = await peer.read_request()
        await peer.send(PLACES[place](request, repeated))
        await peer.stream.aclose()

    async with loopback_server(answer) as url:
        to_open, options = asked(url)
        if "extension" in place:
            options = {**options, "compression": "deflate", "extensions": [Quoting("picky")]}
        shown = await failing(to_open, options)
    assert_hidden(secret, shown)


def assert_hidden(secret: str, shown: list[str]) -> None:
    # Not even the beginning is shown, where a text is cut.
    assert not [text for text in shown if secret[:10] in text]


def in_turn(*responses: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Return a script that answers each request with the next response."""
    left = [*responses]

    async def answer(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(left.pop(0))
        await peer.stream.aclose()

    return answer


AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "target", [f"/login/{TOKEN}", f"/login/{percent_encoded(TOKEN)}", f"/?{TOKEN}=1", f"/{TOKEN}?a"]
)
async def test_redirect_that_is_followed_shows_no_secret(target: str):
    redirect = rejection("302 Found", f"Location: {target}", "Content-Length: 0")
    body = f"unknown: {target}".encode()
    async with loopback_server(in_turn(redirect, rejection("404 No", body=body))) as url:
        shown = await failing(url, {"extra_headers": AUTHORIZED, "max_redirects": 1})
    assert_hidden(TOKEN, shown)
    assert any("redirected by status 302 to (withheld: " in text for text in shown)


async def test_other_origin_shows_no_secret_of_the_first():
    async with loopback_server(in_turn(rejection("403 No", body=TOKEN.encode()))) as other:
        redirect = rejection("302 Found", f"Location: {other}{TOKEN}", "Content-Length: 0")
        async with loopback_server(in_turn(redirect)) as url:
            shown = await failing(url, {"extra_headers": AUTHORIZED, "max_redirects": 1})
    assert_hidden(TOKEN, shown)


async def test_header_of_on_rejected_is_a_secret():
    async def on_rejected(_: ConnectionRejected) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    rejections = (rejection("401 No", body=text) for text in (b"who?", TOKEN.encode()))
    async with loopback_server(in_turn(*rejections)) as url:
        assert_hidden(TOKEN, await failing(url, {"on_rejected": on_rejected}))


async def test_open_client_shows_no_secret_of_a_redirect():
    async def answer(peer: Peer) -> None:
        if b"/there" in await peer.read_request():
            await peer.send(wire.answer(peer.request))
            await peer.close_politely()
            return
        await peer.send(rejection("302 Found", f"Location: /there/{TOKEN}", "Content-Length: 0"))

    options = {"extra_headers": AUTHORIZED, "max_redirects": 1}
    async with loopback_server(answer) as url, open_websocket_client(url, **options) as ws:
        assert_hidden(TOKEN, [repr(ws)])


PROXY_SENT = {
    "the password": (asking(userinfo=f"bob:{IN_URL}@"), PASSWORD, "hunter2x"),
    "the Base64": (asking(userinfo=f"bob:{IN_URL}@"), BASIC, BASIC),
    "a header": (
        lambda url: (url, {"headers": {"Proxy-Authorization": f"Bearer {TOKEN}"}}),
        TOKEN,
        TOKEN,
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sent", PROXY_SENT)
async def test_error_shows_no_secret_that_a_proxy_repeats(sent: str, place: str):
    asked, repeated, secret = PROXY_SENT[sent]

    async def answer(peer: Peer) -> None:
        await peer.read_request()
        head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n"
        await peer.send(PLACES[place](head, repeated))
        await peer.stream.aclose()

    async with loopback_server(answer) as url:
        proxy, options = asked(as_proxy(url))
        shown = await failing("ws://example.org/", {"proxy": Proxy(proxy, **options)})
    assert_hidden(secret, shown)


@pytest.mark.parametrize(
    "options",
    [
        {"extra_headers": [(f"Authorization: Bearer {TOKEN}", "")]},
        {"extra_headers": [(f"Bearer {TOKEN}", "Authorization")]},
        {"extra_headers": [(TOKEN * 2, 5)]},
        {"extra_headers": [(TOKEN * 2, "Authorization ")]},
        {"subprotocols": f"bearer {TOKEN}"},
        {"subprotocols": f"bearer.{TOKEN}"},
        {"subprotocols": [f"bearer {TOKEN}"]},
        {"subprotocols": [f"bearer.{TOKEN}"] * 2},
    ],
    ids=str,
)
def test_argument_that_is_wrong_is_not_shown(options: dict[str, Any]):
    with pytest.raises((TypeError, ValueError)) as caught:
        open_websocket_client("ws://example.org/", **options)
    assert_hidden(TOKEN, [str(caught.value)])


class Broken(trio.abc.HalfCloseableStream):
    """A stream of a user's, which breaks with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def send_all(self, data: bytes) -> None:
        raise self._error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise self._error

    async def wait_send_all_might_not_block(self) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    "error",
    [
        trio.BrokenResourceError("one\nline\x1b[2J"),
        OSError(1, "one\nline\x1b[2J"),
        ssl.SSLError("one\nline\x1b[2J"),
        ssl.SSLCertVerificationError("one\nline\x1b[2J"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_error_of_a_stream_is_shown_on_one_line(scheme: str, error: Exception):
    logger = KeepingLogger(logging.DEBUG)
    with pytest.raises(HandshakeError, match="one\\\\nline") as caught:
        async with open_websocket_client(
            f"{scheme}://example.org/", stream=Broken(error), logger=logger
        ):
            pass
    assert str(caught.value).isprintable()
    assert all(text.isprintable() for text in logger.texts(logging.DEBUG))


@pytest.mark.parametrize(
    "text",
    ["unsupported: chat", "not for graphql-transport-ws", "app.example.org may not", "client/1.0!"],
)
async def test_what_is_no_secret_is_quoted(text: str):
    options = {
        "subprotocols": ["chat", "graphql-transport-ws"],
        "origin": "https://app.example.org",
        "user_agent": "client/1.0",
    }
    async with loopback_server(in_turn(rejection("403 No", body=text.encode()))) as url:
        shown = await failing(url, options)
    assert shown[0] == f"the server refused the WebSocket: HTTP status 403 No: '{text}'"
