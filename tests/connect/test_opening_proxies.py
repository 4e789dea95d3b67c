"""To the server through proxies of each kind, over real sockets."""

from __future__ import annotations

import ssl
import sys

import pytest
import trio
import trustme
from handshake_tables import EARLY_HINTS
from network import Names
from scripted_proxy import HTTPProxy, SOCKSProxy, as_proxy
from scripted_server import Peer, echo_script, loopback_server, tls_for, tls_of

from trio_wsclient import Proxy, ProxyError, WebSocketClient, open_websocket_client
from trio_wsclient._net import trust

BOUND = 10  # seconds for what takes a fraction of one
BIG = bytes(range(256)) * 1000


async def assert_echoes(ws: WebSocketClient) -> None:
    with trio.fail_after(BOUND):
        for message in ("a", BIG):
            await ws.send(message)
            assert await ws.receive() == message


@pytest.fixture
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    """TLS of a server that no proxy can pretend to be."""
    return tls_of(ca, "server.example")


@pytest.fixture
def proxy_tls(ca: trustme.CA) -> ssl.SSLContext:
    return tls_of(ca, "127.0.0.1")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
async def test_each_kind_of_proxy_leads_to_each_kind_of_server(
    server_tls, proxy_tls, client_ssl_context, kind: str, scheme: str
):
    Names({"server.example": ["127.0.0.1"]})
    # A proxy of socks5 is given the address, all others the name.
    target = f"{'127.0.0.1' if kind == 'socks5' else 'server.example'}:8000"
    context = server_tls if scheme == "wss" else None
    async with loopback_server(echo_script, ssl_context=context) as server:
        proxy = (SOCKSProxy if kind.startswith("socks") else HTTPProxy)({target: server})
        context = proxy_tls if kind == "https" else None
        async with loopback_server(proxy, ssl_context=context) as url:
            through = Proxy(
                as_proxy(url, kind), ssl_context=client_ssl_context if context else None
            )
            server_url = f"{scheme}://server.example:8000/"
            async with open_websocket_client(
                server_url, proxy=through, **tls_for(server_url, client_ssl_context)
            ) as ws:
                await assert_echoes(ws)
                assert f"127.0.0.1:{ws.remote_address[1]}" in url
                assert ws.local_address[0] == "127.0.0.1"
                assert ws.url == f"{scheme}://server.example:8000/"
    assert proxy.targets == [target]


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("http", HTTPProxy()),
        ("socks5", SOCKSProxy(credentials=(b"n@me", b"password"))),
        ("socks5h", SOCKSProxy(credentials=(b"n@me", b"password"))),
    ],
)
async def test_url_with_userinfo_is_enough(kind: str, script):
    async with loopback_server(echo_script) as url, loopback_server(script) as proxy_url:
        proxy = as_proxy(proxy_url, kind, "n%40me:password@")
        async with open_websocket_client(url, proxy=proxy) as ws:
            await assert_echoes(ws)
    assert [f"ws://{target}/" for target in script.targets] == [url]


async def test_what_comes_with_the_proxys_answer_is_the_servers():
    proxy = HTTPProxy(answer=b"HTTP/1.1 200 OK\r\n\r\n" + EARLY_HINTS)
    async with loopback_server(echo_script) as url, loopback_server(proxy) as proxy_url:
        async with open_websocket_client(url, proxy=as_proxy(proxy_url)) as ws:
            await assert_echoes(ws)
            assert f":{ws.remote_address[1]}/" in proxy_url


@pytest.mark.skipif(sys.platform == "darwin", reason="it has no 127.0.0.2")
async def test_proxy_is_reached_from_the_local_address():
    async with loopback_server(echo_script) as url, loopback_server(HTTPProxy()) as proxy_url:
        async with open_websocket_client(
            url, proxy=as_proxy(proxy_url), local_address="127.0.0.2"
        ) as ws:
            await assert_echoes(ws)
            assert ws.local_address[0] == "127.0.0.2"


async def test_server_hostname_is_the_servers_and_not_the_proxys(
    server_tls, proxy_tls, client_ssl_context
):
    async with loopback_server(echo_script, ssl_context=server_tls) as url:
        async with loopback_server(HTTPProxy(), ssl_context=proxy_tls) as proxy_url:
            async with open_websocket_client(
                url,
                proxy=Proxy(as_proxy(proxy_url, "https"), ssl_context=client_ssl_context),
                ssl_context=client_ssl_context,
                server_hostname="server.example",
            ) as ws:
                await assert_echoes(ws)


async def test_context_for_the_server_is_not_for_the_proxy(
    monkeypatch, proxy_tls, client_ssl_context
):
    trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(trust, "_default_context", trusts_nobody)
    async with loopback_server(Peer.wait_eof, ssl_context=proxy_tls) as proxy_url:
        with trio.fail_after(BOUND), pytest.raises(ProxyError, match="the proxy: no TLS with"):
            async with open_websocket_client(
                "wss://server.example/",
                proxy=as_proxy(proxy_url, "https"),
                ssl_context=client_ssl_context,
            ):
                pytest.fail("it is not open")
