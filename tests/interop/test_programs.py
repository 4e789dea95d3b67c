"""The client behind nginx, and through proxies that others wrote."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_wsclient import ConnectionClosedOK, ProxyError, open_websocket_client

from . import programs
from .conftest import CASE_TIMEOUT
from .programs import PASSWORD, USER
from .running import Server, started


@pytest.fixture(scope="module")
def upstream(certificate: Path) -> Iterator[Server]:
    with started("websockets", certificate) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(
    upstream: Server, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("nginx")
    with programs.nginx(directory, certificate, upstream.ports["ws"]) as port:
        yield port


@pytest.fixture(scope="module")
def tinyproxies(
    upstream: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """A proxy for each scheme, as each lets through to one port only."""
    one, two = (tmp_path_factory.mktemp("tinyproxy") for _ in range(2))
    with (
        programs.tinyproxy(one, upstream.ports["ws"]) as ws,
        programs.tinyproxy(two, upstream.ports["wss"]) as wss,
    ):
        yield {"ws": ws, "wss": wss}


@pytest.fixture(scope="module")
def microsocks() -> Iterator[int]:
    with programs.microsocks() as port:
        yield port


async def converse(url: str, **options: Any) -> None:
    """Echo small and large messages, compressed ones among them, and close normally."""
    with trio.fail_after(CASE_TIMEOUT):
        async with open_websocket_client(
            url, compression="deflate", max_message_size=None, **options
        ) as ws:
            for message in ("", "wörld", b"\x00\xff" * 100_000, "x" * 1_000_000):
                await ws.send(message)
                same = await ws.receive() == message
                assert same
            assert await ws.ping() > 0
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


# nginx


async def test_nginx_ends_tls(nginx: int, ssl_context: ssl.SSLContext) -> None:
    await converse(f"wss://127.0.0.1:{nginx}/echo", ssl_context=ssl_context)


async def test_nginx_is_reached_by_an_https_url(nginx: int, ssl_context: ssl.SSLContext) -> None:
    await converse(f"https://127.0.0.1:{nginx}/echo", ssl_context=ssl_context)


async def test_servers_close_comes_through_nginx(nginx: int, ssl_context: ssl.SSLContext) -> None:
    with trio.fail_after(CASE_TIMEOUT):
        async with open_websocket_client(
            f"wss://127.0.0.1:{nginx}/close?code=1001&reason=bye", ssl_context=ssl_context
        ) as ws:
            assert [message async for message in ws] == ["last words"]
            closed = await ws.wait_closed()
    assert closed is not None
    assert (closed.code, closed.reason) == (1001, "bye")


# Proxies


async def test_through_tinyproxy(
    tinyproxies: dict[str, int], upstream: Server, scheme: str, ssl_context: ssl.SSLContext
) -> None:
    proxy = f"http://{USER}:{PASSWORD}@127.0.0.1:{tinyproxies[scheme]}"
    options: dict[str, Any] = {"ssl_context": ssl_context} if scheme == "wss" else {}
    await converse(upstream.url(scheme, "/echo"), proxy=proxy, **options)


@pytest.mark.parametrize("userinfo", ["", f"{USER}:wrong@"], ids=["no password", "a wrong one"])
async def test_tinyproxy_wants_the_right_password(
    tinyproxies: dict[str, int], upstream: Server, userinfo: str
) -> None:
    proxy = f"http://{userinfo}127.0.0.1:{tinyproxies['ws']}"
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError) as caught:
        async with open_websocket_client(upstream.url("ws", "/echo"), proxy=proxy):
            pytest.fail("it is not open")
    assert caught.value.status_code in {401, 407}
    assert caught.value.body
    assert "wrong" not in str(caught.value)


async def test_tinyproxy_refuses_another_port(
    tinyproxies: dict[str, int], upstream: Server
) -> None:
    proxy = f"http://{USER}:{PASSWORD}@127.0.0.1:{tinyproxies['wss']}"
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError) as caught:
        async with open_websocket_client(upstream.url("ws", "/echo"), proxy=proxy):
            pytest.fail("it is not open")
    assert caught.value.status_code == 403


async def test_tinyproxy_says_that_nobody_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = programs.free_port()
    with programs.tinyproxy(tmp_path, port) as proxy_port:
        proxy = f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy_port}"
        with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError) as caught:
            async with open_websocket_client(f"ws://127.0.0.1:{port}/", proxy=proxy):
                pytest.fail("it is not open")
    assert caught.value.status_code in {500, 502, 503}


@pytest.mark.parametrize("socks", ["socks5", "socks5h"])
async def test_through_microsocks(
    microsocks: int, upstream: Server, scheme: str, socks: str, ssl_context: ssl.SSLContext
) -> None:
    proxy = f"{socks}://{USER}:{PASSWORD}@127.0.0.1:{microsocks}"
    options: dict[str, Any] = {"ssl_context": ssl_context} if scheme == "wss" else {}
    await converse(upstream.url(scheme, "/echo"), proxy=proxy, **options)


@pytest.mark.parametrize("socks", ["socks5", "socks5h"])
async def test_microsocks_reaches_a_name(microsocks: int, upstream: Server, socks: str) -> None:
    url = upstream.url("ws", "/echo").replace("127.0.0.1", "localhost")
    await converse(url, proxy=f"{socks}://{USER}:{PASSWORD}@127.0.0.1:{microsocks}")


@pytest.mark.parametrize("userinfo", ["", f"{USER}:wrong@"], ids=["no password", "a wrong one"])
async def test_microsocks_wants_the_right_password(
    microsocks: int, upstream: Server, userinfo: str
) -> None:
    proxy = f"socks5h://{userinfo}127.0.0.1:{microsocks}"
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError) as caught:
        async with open_websocket_client(upstream.url("ws", "/echo"), proxy=proxy):
            pytest.fail("it is not open")
    assert caught.value.status_code is None
    assert "wrong" not in str(caught.value)


async def test_microsocks_says_that_nobody_is_there(microsocks: int) -> None:
    proxy = f"socks5h://{USER}:{PASSWORD}@127.0.0.1:{microsocks}"
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError, match="refused"):
        async with open_websocket_client(f"ws://127.0.0.1:{programs.free_port()}/", proxy=proxy):
            pytest.fail("it is not open")


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def test_tinyproxy_is_found_by_the_variable_of_the_scheme(
    tinyproxies: dict[str, int],
    upstream: Server,
    scheme: str,
    ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`http_proxy` and `https_proxy` lead nowhere."""
    forget_proxies(monkeypatch)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{programs.free_port()}")
    proxy = f"http://{USER}:{PASSWORD}@127.0.0.1:{tinyproxies[scheme]}"
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    options: dict[str, Any] = {"ssl_context": ssl_context} if scheme == "wss" else {}
    await converse(upstream.url(scheme, "/echo"), proxy="environment", **options)


@pytest.mark.parametrize("start", ["socks://", "socks5://", ""], ids=["socks", "socks5", "none"])
async def test_microsocks_is_found_by_socks_proxy(
    microsocks: int, upstream: Server, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_proxies(monkeypatch)
    proxy = f"{start}{USER}:{PASSWORD}@127.0.0.1:{microsocks}"
    monkeypatch.setenv("socks_proxy", proxy)
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{programs.free_port()}")
    await converse(upstream.url("ws", "/echo"), proxy="environment")


async def test_environments_proxy_is_used(
    tinyproxies: dict[str, int], upstream: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_proxies(monkeypatch)
    url = upstream.url("ws", "/echo")
    monkeypatch.setenv("http_proxy", f"http://{USER}:wrong@127.0.0.1:{tinyproxies['ws']}")
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ProxyError):
        async with open_websocket_client(url, proxy="environment"):
            pytest.fail("it is not open")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    await converse(url, proxy="environment")
