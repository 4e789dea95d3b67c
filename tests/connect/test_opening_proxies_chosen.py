"""Which proxy a connection goes through: the environment's, and one for each redirect."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio
import wire
from proxy_variables import set_proxy_variables
from scripted_proxy import HTTPProxy, SOCKSProxy, as_proxy
from scripted_server import Peer, echo_script, loopback_server, tls_for

from trio_wsclient import ProxyError, open_websocket_client

BOUND = 10  # seconds for what takes a fraction of one


def port_of(url: str) -> int:
    return int(url.strip("/").rpartition(":")[2])


class Server:
    """Redirects by path, else accepts and echoes; keeps the requests."""

    def __init__(self, targets: Mapping[str, str] | None = None) -> None:
        self._targets = targets or {}
        self.requests: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        request = await peer.read_request()
        self.requests.append(request)
        target = self._targets.get(request.split()[1].decode())
        if target is None:
            await peer.send(wire.answer(request))
            await peer.echo()
        else:
            await peer.send(b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % target.encode())
            await peer.wait_eof()


# The environment


async def test_environment_is_not_asked_by_default(monkeypatch):
    set_proxy_variables(monkeypatch, http_proxy="http://127.0.0.1:1", all_proxy="nonsense://")
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        assert ws.remote_address[1] == port_of(url)


async def test_environment_says_which_proxy(monkeypatch, server_ssl_context, client_ssl_context):
    http, socks = HTTPProxy(), SOCKSProxy(credentials=(b"name", b"password"))
    async with (
        loopback_server(echo_script) as ws_url,
        loopback_server(echo_script, ssl_context=server_ssl_context) as wss_url,
        loopback_server(http) as http_url,
        loopback_server(socks) as socks_url,
    ):
        set_proxy_variables(
            monkeypatch,
            http_proxy=as_proxy(http_url),
            https_proxy=as_proxy(socks_url, "socks5h", "name:password@"),
        )
        for url in (ws_url, wss_url):
            async with open_websocket_client(
                url, proxy="environment", **tls_for(url, client_ssl_context)
            ) as ws:
                await ws.send("a")
                assert await ws.receive() == "a"
    assert http.targets == [f"127.0.0.1:{port_of(ws_url)}"]
    assert socks.targets == [f"127.0.0.1:{port_of(wss_url)}"]


@pytest.mark.parametrize(
    "variables", [{}, {"http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.0/8"}]
)
async def test_environment_may_ask_for_none(monkeypatch, variables: dict[str, str]):
    set_proxy_variables(monkeypatch, **variables)
    async with loopback_server(echo_script) as url:
        async with open_websocket_client(url, proxy="environment") as ws:
            assert ws.remote_address[1] == port_of(url)


async def test_malformed_variable_is_an_error_not_a_direct_connection(monkeypatch):
    set_proxy_variables(monkeypatch, http_proxy="http://name:s3cret@proxy.example:http")
    server = Server()
    async with loopback_server(server) as url:
        with trio.fail_after(BOUND), pytest.raises(ProxyError, match="http_proxy") as caught:
            async with open_websocket_client(url, proxy="environment"):
                pytest.fail("it is not open")
    assert server.requests == []
    assert "s3cret" not in str(caught.value)


# Redirects


async def test_redirect_goes_through_the_proxy_too():
    proxy, second = HTTPProxy(), Server()
    async with loopback_server(second) as second_url:
        first = Server({"/": "/same", "/same": second_url})
        async with loopback_server(first) as url, loopback_server(proxy) as proxy_url:
            async with open_websocket_client(
                url, proxy=as_proxy(proxy_url, userinfo="name:password@"), max_redirects=2
            ) as ws:
                assert ws.url == second_url
                assert ws.redirects == (url, f"{url}same")
    assert proxy.targets == [f"127.0.0.1:{port_of(to)}" for to in (url, url, second_url)]
    assert all(b"\r\nProxy-Authorization: Basic " in request for request in proxy.requests)
    assert len(first.requests) == 2
    assert len(second.requests) == 1


async def test_redirect_asks_the_environment_again(monkeypatch):
    proxy, second = HTTPProxy(), Server()
    async with loopback_server(second) as second_url, loopback_server(proxy) as proxy_url:
        async with loopback_server(Server({"/": second_url})) as url:
            for bypassed, through in ((second_url, url), (url, second_url)):
                proxy.requests.clear()
                set_proxy_variables(
                    monkeypatch,
                    http_proxy=as_proxy(proxy_url),
                    no_proxy=f"127.0.0.1:{port_of(bypassed)}",
                )
                async with open_websocket_client(url, proxy="environment", max_redirects=1) as ws:
                    assert ws.url == second_url
                assert proxy.targets == [f"127.0.0.1:{port_of(through)}"]


async def test_redirect_of_the_proxys_own_is_not_followed():
    async def redirect(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n")
        await peer.stream.aclose()

    async with loopback_server(redirect) as proxy_url:
        with trio.fail_after(BOUND), pytest.raises(ProxyError) as caught:
            async with open_websocket_client(
                "ws://server.example/", proxy=as_proxy(proxy_url), max_redirects=5
            ):
                pytest.fail("it is not open")
    assert caught.value.status_code == 302
    assert caught.value.redirects == ()


async def test_error_of_a_proxy_has_the_redirects_before_it():
    class RefusesTheSecond(HTTPProxy):
        async def __call__(self, peer: Peer) -> None:
            if self.requests:
                await peer.read_request()
                await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            else:
                await super().__call__(peer)

    server = Server({"/": "ws://server.example/"})
    async with loopback_server(server) as url, loopback_server(RefusesTheSecond()) as proxy_url:
        with trio.fail_after(BOUND), pytest.raises(ProxyError) as caught:
            async with open_websocket_client(url, proxy=as_proxy(proxy_url), max_redirects=1):
                pytest.fail("it is not open")
    assert caught.value.status_code == 403
    assert caught.value.redirects == (url,)
