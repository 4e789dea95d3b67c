"""From a proxy to a stream that leads to the host: who is reached, by which of its addresses."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable

import pytest
import trio
from canned_stream import CannedStream
from handshake_tables import rejection
from network import Names, Network
from scripted_proxy import HTTPProxy
from scripted_server import Peer, loopback_server, tls_of
from socks_tables import BOUND_IPV4, GREETING, NO_AUTH

from trio_wsclient import Proxy, ProxyError
from trio_wsclient._net import trust
from trio_wsclient._net.tunnel import connect_through

BOUND = 10  # seconds for what takes a fraction of one
OK = b"HTTP/1.1 200 OK\r\n\r\n"


async def through(
    proxy: str | Proxy,
    host: str = "server.example",
    *,
    local_address: str | None = None,
    enter: Callable[[str], object] = lambda _: None,
) -> trio.abc.Stream:
    return await connect_through(
        Proxy(proxy) if isinstance(proxy, str) else proxy,
        host,
        80,
        local_address=local_address,
        user_agent="me/1",
        enter=enter,
        rejected=lambda _: None,
    )


async def error_through(proxy: str | Proxy, host: str = "server.example") -> ProxyError:
    with trio.fail_after(BOUND), pytest.raises(ProxyError) as caught:
        await through(proxy, host)
    return caught.value


# HTTP


async def test_http_proxy_resolves_the_host(monkeypatch):
    names, stream = Names({}), CannedStream(OK)
    network = Network(monkeypatch, stream)
    assert await through("http://proxy.example:3128") is stream
    assert network.asked == [("proxy.example", 3128, None)]
    assert names.asked == []
    assert stream.sent == [
        b"CONNECT server.example:80 HTTP/1.1\r\nHost: server.example:80\r\nUser-Agent: me/1\r\n\r\n"
    ]
    assert not stream.closed


async def test_bytes_after_the_answer_are_not_lost(monkeypatch):
    Network(monkeypatch, CannedStream(OK + b"first", b"later"))
    tunnel = await through("http://proxy.example")
    assert [await tunnel.receive_some(), await tunnel.receive_some()] == [b"first", b"later"]


KINDS = {
    "http": ("http://proxy.example", OK),
    "socks5": ("socks5://proxy.example", NO_AUTH + BOUND_IPV4),
    "socks5h": ("socks5h://proxy.example", NO_AUTH + BOUND_IPV4),
}


@pytest.mark.parametrize(("proxy", "answer"), KINDS.values(), ids=KINDS)
async def test_phase_proxy_is_entered_before_anything_is_sent(monkeypatch, proxy, answer):
    stream = CannedStream(answer)
    network = Network(monkeypatch, stream)
    told = []
    await through(
        proxy,
        "192.0.2.1",
        enter=lambda phase: told.append((phase, len(network.asked), [*stream.sent])),
    )
    assert told == [("proxy", 1, [])]


@pytest.mark.parametrize(("proxy", "answer"), KINDS.values(), ids=KINDS)
async def test_proxy_is_reached_from_the_local_address(monkeypatch, proxy, answer):
    network = Network(monkeypatch, CannedStream(answer))
    await through(proxy, "192.0.2.1", local_address="192.0.2.7")
    assert [local_address for *_, local_address in network.asked] == ["192.0.2.7"]


# HTTP over TLS


async def echo_bytes(peer: Peer) -> None:
    async for data in peer.stream:
        await peer.send(data)


@pytest.mark.parametrize("host", ["proxy.example", "proxy.example.", "127.0.0.1"])
async def test_https_proxy_has_to_be_who_its_url_says(ca, client_ssl_context, host):
    context = tls_of(ca, host.removesuffix("."))
    names_sent = []
    context.sni_callback = lambda _tls, name, _context: names_sent.append(name)
    Names({"proxy.example": ["127.0.0.1"], "proxy.example.": ["127.0.0.1"]})
    async with loopback_server(echo_bytes) as target:
        proxy = HTTPProxy({"server.example:80": target})
        async with loopback_server(proxy, ssl_context=context) as url:
            own = url.replace("wss:", "https:").replace("127.0.0.1", host)
            tunnel = await through(Proxy(own, ssl_context=client_ssl_context))
            await tunnel.send_all(b"hello")
            assert await tunnel.receive_some() == b"hello"
            await tunnel.aclose()
    assert proxy.targets == ["server.example:80"]
    assert names_sent == ["proxy.example" if host.startswith("proxy") else None]


async def test_https_proxy_uses_the_systems_trust_by_default(
    monkeypatch, server_ssl_context, client_ssl_context
):
    monkeypatch.setattr(trust, "_default_context", client_ssl_context)
    async with loopback_server(echo_bytes) as target:
        proxy = HTTPProxy({"server.example:80": target})
        async with loopback_server(proxy, ssl_context=server_ssl_context) as url:
            tunnel = await through(url.replace("wss:", "https:"))
            await tunnel.aclose()
    assert proxy.targets == ["server.example:80"]


async def test_nothing_is_told_to_an_https_proxy_that_is_another(ca, client_ssl_context):
    async def refused(peer: Peer) -> None:
        received.append(await peer.wait_eof())
        seen.set()

    received, seen = [], trio.Event()
    async with loopback_server(refused, ssl_context=tls_of(ca, "other.example")) as url:
        proxy = Proxy(url.replace("wss:", "https:"), ssl_context=client_ssl_context)
        error = await error_through(proxy)
        with trio.fail_after(BOUND):
            await seen.wait()
    assert str(error).startswith(
        "the proxy: no TLS with 127.0.0.1: its certificate is for another name (IP address mismatch"
    )
    assert str(error).endswith("; write the certificate's name in the proxy's URL")
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert received == [b""]


# SOCKS5

DUAL = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
REQUESTS = {
    "192.0.2.1": b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50",
    "2001:db8::1": b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50",
    "192.0.2.2": b"\x05\x01\x00\x01\xc0\x00\x02\x02\x00\x50",
}


def replies(code: int) -> CannedStream:
    return CannedStream(NO_AUTH + bytes([5, code, 0, 1]) + bytes(6))


async def test_socks5h_leaves_the_name_to_the_proxy(monkeypatch):
    names, stream = Names({}), replies(0)
    Network(monkeypatch, stream)
    assert await through("socks5h://proxy.example") is stream
    assert stream.sent == [GREETING, b"\x05\x01\x00\x03\x0eserver.example\x00\x50"]
    assert names.asked == []


async def test_socks5_gets_an_address_looked_up_here(monkeypatch):
    names, stream = Names({"server.example": DUAL}), replies(0)
    network = Network(monkeypatch, stream)
    assert await through("socks5://proxy.example") is stream
    assert stream.sent == [GREETING, REQUESTS["192.0.2.1"]]
    assert names.asked == ["server.example"]
    assert network.asked == [("proxy.example", 1080, None)]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_address_is_not_looked_up(monkeypatch, scheme: str, host: str):
    names, stream = Names({}), replies(0)
    Network(monkeypatch, stream)
    await through(f"{scheme}://proxy.example", host)
    assert stream.sent == [GREETING, REQUESTS[host]]
    assert names.asked == []


@pytest.mark.parametrize("codes", [(3, 0), (4, 5, 0), (8, 6, 0)])
async def test_socks5_tries_each_address_on_a_new_connection(monkeypatch, codes: tuple[int, ...]):
    Names({"server.example": DUAL})
    streams = [replies(code) for code in codes]
    network = Network(monkeypatch, *streams)
    told = []
    tunnel = await through(
        "socks5://proxy.example",
        local_address="192.0.2.7",
        enter=lambda _: told.append(len(network.asked)),
    )
    assert tunnel is streams[-1]
    assert [stream.closed for stream in streams] == [True] * (len(codes) - 1) + [False]
    assert network.asked == [("proxy.example", 1080, "192.0.2.7")] * len(codes)
    assert [stream.sent for stream in streams] == [
        [GREETING, REQUESTS[address]] for address in DUAL[: len(codes)]
    ]
    assert told == [*range(1, len(codes) + 1)]


async def test_last_socks_reply_is_the_error(monkeypatch):
    Names({"server.example": DUAL})
    streams = [replies(code) for code in (5, 4, 3)]
    Network(monkeypatch, *streams)
    error = await error_through("socks5://proxy.example")
    assert str(error) == "the SOCKS proxy refused: network unreachable"
    assert [stream.closed for stream in streams] == [True] * 3


@pytest.mark.parametrize("code", [1, 2, 7, 9])
async def test_another_reply_is_not_of_the_address_and_ends_it(monkeypatch, code: int):
    Names({"server.example": DUAL})
    first, second = replies(5), replies(code)
    Network(monkeypatch, first, second)
    await error_through("socks5://proxy.example")
    assert (first.closed, second.closed) == (True, True)


async def test_socks5h_has_one_try(monkeypatch):
    stream = replies(5)
    Network(monkeypatch, stream)
    error = await error_through("socks5h://proxy.example")
    assert str(error) == "the SOCKS proxy refused: connection refused"
    assert stream.closed


async def test_address_that_is_found_twice_is_tried_once(monkeypatch):
    Names({"server.example": ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"]})
    streams = [replies(5), replies(0)]
    Network(monkeypatch, *streams)
    assert await through("socks5://proxy.example") is streams[1]
    assert streams[1].sent == [GREETING, REQUESTS["192.0.2.2"]]


# What fails on the way


async def test_unknown_name_is_an_error_that_names_it(monkeypatch):
    Names({})
    network = Network(monkeypatch)
    error = await error_through("socks5://proxy.example")
    assert str(error) == (
        "no address for server.example to give to the proxy: Name or service not known; "
        "to let the proxy look it up, use socks5h"
    )
    assert isinstance(error.__cause__, socket.gaierror)
    assert network.asked == []


async def test_name_without_an_address_is_an_error_that_names_it(monkeypatch):
    """A resolver of the user's may find nothing, and say so by nothing."""
    Names({"server.example": []})
    network = Network(monkeypatch)
    error = await error_through("socks5://proxy.example")
    assert str(error) == "no address for server.example to give to the proxy"
    assert network.asked == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
async def test_unreachable_proxy_is_named_in_the_error(monkeypatch, scheme: str):
    Network(monkeypatch, OSError(errno.ECONNREFUSED, "Connection refused"))
    told = []
    with pytest.raises(ProxyError) as caught:
        await through(f"{scheme}://proxy.example:1", "192.0.2.1", enter=told.append)
    text = "the proxy: no TCP connection to proxy.example port 1: Connection refused"
    assert str(caught.value) == text
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert told == []


async def test_proxy_lost_for_a_second_try_is_named_in_the_error(monkeypatch):
    Names({"server.example": DUAL})
    stream = replies(5)
    Network(monkeypatch, stream, OSError(errno.ECONNREFUSED, "Connection refused"))
    error = await error_through("socks5://proxy.example")
    assert str(error).startswith("the proxy: no TCP connection to proxy.example port 1080")
    assert stream.closed


async def test_proxy_without_tls_is_named_in_the_error(monkeypatch, client_ssl_context):
    stream = CannedStream(rejection("400 Bad Request"))
    Network(monkeypatch, stream)
    proxy = Proxy("https://proxy.example", ssl_context=client_ssl_context)
    error = await error_through(proxy)
    assert str(error).startswith("the proxy: no TLS with proxy.example: ")
    assert isinstance(error.__cause__, ssl.SSLError)
    assert stream.closed
