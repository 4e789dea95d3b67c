"""What the proxy, the server, and the log get to see."""

from __future__ import annotations

import base64
import errno
import ssl
from collections.abc import Iterator

import pytest
import trio
import trustme
import wire
from canned_stream import CannedStream, reset
from handshake_tables import JUNK, rejection
from log_records import KeepingLogger
from network import Names, Network
from scripted_proxy import HTTPProxy, SOCKSProxy, as_proxy
from scripted_server import Peer, loopback_server, tls_for, tls_of
from shown import shown_of
from socks_tables import BOUND_IPV4, NO_AUTH, PASSWORD, WELCOME

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    Proxy,
    ProxyError,
    __version__,
    open_websocket_client,
)
from trio_wsclient._observe import FRAMES

TO_PROXY, TO_SERVER = "pr0xyuser:pr0xypass@", "us3r:pa55word@"
BASIC_TO_PROXY, BASIC_TO_SERVER = (
    base64.b64encode(userinfo.strip("@").encode()).decode() for userinfo in (TO_PROXY, TO_SERVER)
)
SECRETS_OF_PROXY = ["pr0xyuser", "pr0xypass", "pr0xytoken", BASIC_TO_PROXY]
SECRETS_OF_SERVER = ["us3r", "pa55word", "t0ken", BASIC_TO_SERVER]

OPTIONS = {
    "origin": "https://t0ken.example",
    "subprotocols": ["t0ken"],
    "extra_headers": [("Cookie", "t0ken"), ("X-Token", "t0ken"), ("User-Agent", "t0ken/1")],
}
URL = f"://{TO_SERVER}server.example/t0ken?t0ken"


class Server:
    """Accepts and echoes; keeps the request."""

    def __init__(self) -> None:
        self.request = b""

    async def __call__(self, peer: Peer) -> None:
        self.request = await peer.read_request()
        await peer.send(wire.answer(self.request, "Sec-WebSocket-Protocol: t0ken"))
        await peer.echo()


@pytest.fixture
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    return tls_of(ca, "server.example")


# To the proxy and to the server


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("kind", ["http", "https"])
async def test_proxy_gets_nothing_that_is_for_the_server(
    server_tls, server_ssl_context, client_ssl_context, kind: str, scheme: str
):
    server = Server()
    port, context = (443, server_tls) if scheme == "wss" else (80, None)
    async with loopback_server(server, ssl_context=context) as server_url:
        proxy = HTTPProxy({f"server.example:{port}": server_url})
        context = server_ssl_context if kind == "https" else None
        async with loopback_server(proxy, ssl_context=context) as proxy_url:
            through = Proxy(
                as_proxy(proxy_url, kind, TO_PROXY),
                {"X-Token": "pr0xytoken"},
                client_ssl_context if context else None,
            )
            url, tls = scheme + URL, tls_for(f"{scheme}:", client_ssl_context)
            async with open_websocket_client(url, proxy=through, **tls, **OPTIONS) as ws:
                await ws.send("a")
                assert await ws.receive() == "a"
    assert [request.decode().split("\r\n") for request in proxy.requests] == [
        [
            f"CONNECT server.example:{port} HTTP/1.1",
            f"Host: server.example:{port}",
            f"User-Agent: trio-wsclient/{__version__}",
            "X-Token: pr0xytoken",
            f"Proxy-Authorization: Basic {BASIC_TO_PROXY}",
            "",
            "",
        ]
    ]
    assert_nothing_of_the_proxy(server.request)


def assert_nothing_of_the_proxy(request: bytes) -> None:
    text = request.decode()
    assert f"\r\nAuthorization: Basic {BASIC_TO_SERVER}\r\n" in text
    assert text.startswith("GET /t0ken?t0ken HTTP/1.1\r\nHost: server.example\r\n")
    assert "proxy" not in text.lower()
    assert not [secret for secret in SECRETS_OF_PROXY if secret in text]


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
async def test_of_a_socks_proxy_the_server_is_told_nothing(kind: str):
    Names({"server.example": ["127.0.0.1"]})
    server = Server()
    async with loopback_server(server) as server_url:
        proxy = SOCKSProxy(
            {"server.example:80": server_url, "127.0.0.1:80": server_url},
            credentials=(b"pr0xyuser", b"pr0xypass"),
        )
        async with loopback_server(proxy) as proxy_url:
            through = as_proxy(proxy_url, kind, TO_PROXY)
            async with open_websocket_client(f"ws{URL}", proxy=through, **OPTIONS):
                pass
    assert len(proxy.targets) == 1
    assert_nothing_of_the_proxy(server.request)


async def test_who_has_no_user_agent_has_none_for_a_proxy():
    server, proxy = Server(), HTTPProxy()
    async with loopback_server(server) as url, loopback_server(proxy) as proxy_url:
        async with open_websocket_client(
            url, proxy=as_proxy(proxy_url), user_agent=None, subprotocols=["t0ken"]
        ):
            pass
    assert b"user-agent" not in (proxy.requests[0] + server.request).lower()


# To those who print and log


def texts_of(logger: KeepingLogger) -> Iterator[str]:
    for record in logger.records:
        yield record.getMessage()
        yield repr(vars(record))
        yield " ".join(map(str, record.args or ()))


def assert_no_secret(*texts: str) -> None:
    assert texts
    for text in texts:
        found = [secret for secret in SECRETS_OF_PROXY + SECRETS_OF_SERVER if secret in text]
        assert found == [], text


@pytest.mark.parametrize(
    ("kind", "make_proxy"),
    [
        ("http", HTTPProxy),
        ("socks5h", lambda routes: SOCKSProxy(routes, credentials=(b"pr0xyuser", b"pr0xypass"))),
    ],
    ids=["http", "socks5h"],
)
async def test_no_secret_is_in_any_record_of_a_connection(kind: str, make_proxy):
    logger = KeepingLogger(FRAMES)
    async with loopback_server(Server()) as server_url:
        async with loopback_server(make_proxy({"server.example:80": server_url})) as proxy_url:
            async with open_websocket_client(
                f"ws://{TO_SERVER}server.example/?key=t0ken",
                proxy=as_proxy(proxy_url, kind, TO_PROXY),
                logger=logger,
                **OPTIONS,
            ) as ws:
                await ws.send("a")
                await ws.receive()
    assert_no_secret(*texts_of(logger))
    assert any(f"the proxy {kind}://127.0.0.1:" in text for text in texts_of(logger))


def silent(*pieces: bytes) -> CannedStream:
    return CannedStream(*pieces, end=trio.sleep_forever)


UNREACHED = OSError(errno.ECONNREFUSED, "Connection refused")
OK = b"HTTP/1.1 200 OK\r\n\r\n"
OPEN = PASSWORD + WELCOME + BOUND_IPV4
FAILURES = {
    "HTTP, not reached": ("http", "ws", lambda: UNREACHED),
    "HTTP, slow": ("http", "ws", silent),
    "HTTP, 407": ("http", "ws", lambda: CannedStream(rejection("407 No"))),
    "HTTP, 407 that repeats it": (
        "http",
        "ws",
        lambda: CannedStream(rejection("407 No", f"X: {BASIC_TO_PROXY}", body=b"pr0xypass")),
    ),
    "HTTP, junk": ("http", "ws", lambda: CannedStream(JUNK["another protocol"])),
    "HTTP, cut off": ("http", "ws", CannedStream),
    "HTTP, reset": ("http", "ws", lambda: CannedStream(end=reset)),
    "HTTP, slow TLS": ("https", "ws", silent),
    "HTTP, no TLS": ("https", "ws", lambda: CannedStream(OK)),
    "HTTP, no TLS behind it": ("http", "wss", lambda: CannedStream(OK, OK)),
    "HTTP, slow TLS behind it": ("http", "wss", lambda: silent(OK)),
    "HTTP, slow server behind it": ("http", "ws", lambda: silent(OK)),
    "HTTP, 401 behind it": ("http", "ws", lambda: CannedStream(OK, rejection("401 No"))),
    "HTTP, redirect behind it": (
        "http",
        "ws",
        lambda: CannedStream(OK, rejection("302 No", "Location: wss://t0ken:t0ken@t0ken/")),
    ),
    "SOCKS, not reached": ("socks5h", "ws", lambda: UNREACHED),
    "SOCKS, no name": ("socks5", "ws", lambda: UNREACHED),
    "SOCKS, slow": ("socks5h", "ws", silent),
    "SOCKS, slow after the password": ("socks5h", "ws", lambda: silent(PASSWORD)),
    "SOCKS, no method": ("socks5h", "ws", lambda: CannedStream(b"\x05\xff")),
    "SOCKS, no password": ("socks5h", "ws", lambda: CannedStream(PASSWORD, b"\x01\x01")),
    "SOCKS, no address": ("socks5h", "ws", lambda: CannedStream(NO_AUTH, b"\x05\x04\x00\x01")),
    "SOCKS, junk": ("socks5h", "ws", lambda: CannedStream(OK)),
    "SOCKS, cut off": ("socks5h", "ws", lambda: CannedStream(PASSWORD)),
    "SOCKS, reset": ("socks5h", "ws", lambda: CannedStream(PASSWORD, end=reset)),
    "SOCKS, no TLS behind it": ("socks5h", "wss", lambda: CannedStream(OPEN, OK)),
    "SOCKS, slow TLS behind it": ("socks5h", "wss", lambda: silent(OPEN)),
    "SOCKS, slow server behind it": ("socks5h", "ws", lambda: silent(OPEN)),
}


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
async def test_no_secret_is_in_an_error_or_any_record_before_it(
    autojump_clock, monkeypatch, client_ssl_context, case
):
    kind, scheme, make_outcome = case
    Names({})
    Network(monkeypatch, make_outcome())
    logger = KeepingLogger(FRAMES)
    context = client_ssl_context if kind == "https" else None
    headers = {} if kind.startswith("socks") else {"X-Token": "pr0xytoken"}
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client(
            f"{scheme}://{TO_SERVER}server.example/?key=t0ken",
            proxy=Proxy(f"{kind}://{TO_PROXY}proxy.example", headers, context),
            **tls_for(f"{scheme}:", client_ssl_context),
            logger=logger,
            **OPTIONS,
        ):
            pytest.fail("it is not open")
    assert_no_secret(shown_of(caught.value), *texts_of(logger))
    assert logger.records[-1].getMessage().endswith(f"not open: {caught.value}")
    assert "proxy.example" in logger.records[0].getMessage()


async def test_note_names_the_proxy_unless_the_proxy_failed():
    async def rejects(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(rejection("403 No", "Content-Length: 0"))

    async with loopback_server(rejects) as url, loopback_server(HTTPProxy()) as proxy_url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(url, proxy=as_proxy(proxy_url, userinfo=TO_PROXY)):
                pytest.fail("it is open")
        assert caught.value.__notes__ == [f"through the proxy {as_proxy(proxy_url).rstrip('/')}"]
    async with loopback_server(rejects) as proxy_url:
        with pytest.raises(ProxyError) as refused:
            async with open_websocket_client(url, proxy=as_proxy(proxy_url)):
                pytest.fail("it is open")
        assert not hasattr(refused.value, "__notes__")
