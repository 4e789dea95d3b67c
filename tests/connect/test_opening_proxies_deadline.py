"""The open deadline behind a proxy: it is one for all phases, and the error names the last one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from canned_stream import CannedStream
from handshake_tables import CONTINUE, rejection
from network import Names, Network
from scripted_server import Peer, memory_server, tls_for
from socks_tables import BOUND_IPV4, NO_AUTH, PASSWORD, WELCOME

from trio_wsclient import OpenTimeout, Proxy, ProxyError, open_websocket_client

OK = b"HTTP/1.1 200 OK\r\n\r\n"
UNREACHABLE = NO_AUTH + b"\x05\x04\x00\x01" + bytes(6)


async def timeout(url: str, proxy: str | Proxy, **options: object) -> OpenTimeout:
    """Try to open what stays silent; the error has to come when the one deadline is over."""
    start = trio.current_time()
    with pytest.raises(OpenTimeout) as caught:
        async with open_websocket_client(url, proxy=proxy, open_timeout=7, **options):
            pytest.fail("it is not open")
    assert trio.current_time() - start == pytest.approx(7)
    assert caught.value.seconds == 7
    return caught.value


async def test_rejection_is_raised_when_time_ends_within_its_body(autojump_clock, monkeypatch):
    async def drip() -> bytes:
        await trio.sleep(0.3)
        return b"x"

    Network(monkeypatch, CannedStream(rejection("407 No", "Content-Length: 1000"), end=drip))
    with pytest.raises(ProxyError) as caught:
        async with open_websocket_client(
            "ws://server.example/", proxy="http://proxy.example", open_timeout=0.7
        ):
            pytest.fail("it is not open")
    assert (caught.value.status_code, caught.value.body) == (407, b"xx")
    assert trio.current_time() == pytest.approx(0.7)


# Silence, in each phase


class SilentNames(trio.abc.HostnameResolver):
    """A name server that does not answer."""

    async def getaddrinfo(self, *args):
        await trio.sleep_forever()

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.mark.parametrize(
    "proxy", ["http://proxy.example", "socks5h://proxy.example", "socks5://192.0.2.1"]
)
async def test_look_up_of_a_name_is_of_phase_connect(autojump_clock, proxy: str):
    trio.socket.set_custom_hostname_resolver(SilentNames())
    assert (await timeout("ws://server.example/", proxy)).phase == "connect"


@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
async def test_tcp_to_the_proxy_is_of_phase_connect(autojump_clock, monkeypatch, kind: str):
    async def open_tcp_stream(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert (await timeout("ws://192.0.2.1/", f"{kind}://proxy.example")).phase == "connect"


SILENT = {
    "HTTP says nothing": ("http://proxy.example", b"", "proxy"),
    "HTTP is torn": ("http://proxy.example", OK[:-1], "proxy"),
    "HTTP says to wait": ("http://proxy.example", CONTINUE, "proxy"),
    "HTTP refuses without end": ("http://proxy.example", rejection("407 No")[:-1], "proxy"),
    "HTTP's TLS": ("https://proxy.example", b"", "proxy_tls"),
    "SOCKS says nothing": ("socks5h://proxy.example", b"", "proxy"),
    "SOCKS takes a method": ("socks5h://n:p@proxy.example", PASSWORD, "proxy"),
    "SOCKS takes the password": ("socks5h://n:p@proxy.example", PASSWORD + WELCOME, "proxy"),
    "SOCKS takes the request": ("socks5h://proxy.example", NO_AUTH, "proxy"),
    "SOCKS is torn": ("socks5h://proxy.example", NO_AUTH + BOUND_IPV4[:-1], "proxy"),
    "the server's TLS behind HTTP": ("http://proxy.example", OK, "tls"),
    "the server's TLS behind SOCKS": ("socks5h://proxy.example", NO_AUTH + BOUND_IPV4, "tls"),
    "the handshake behind HTTP": ("http://proxy.example", OK, "handshake"),
    "the handshake behind SOCKS": ("socks5h://proxy.example", NO_AUTH + BOUND_IPV4, "handshake"),
}


@pytest.mark.parametrize("case", SILENT.values(), ids=SILENT)
async def test_silence_times_out_in_its_phase_and_closes_the_stream(
    autojump_clock, monkeypatch, client_ssl_context, case
):
    url, answer, phase = case
    stream = CannedStream(answer, end=trio.sleep_forever)
    Network(monkeypatch, stream)
    proxy = Proxy(url, ssl_context=client_ssl_context if url.startswith("https") else None)
    url = f"{'wss' if phase == 'tls' else 'ws'}://server.example/"
    error = await timeout(url, proxy, **tls_for(url, client_ssl_context))
    assert error.phase == phase
    assert stream.closed


async def test_connect_within_the_tls_of_a_proxy_is_of_phase_proxy(
    autojump_clock, monkeypatch, server_ssl_context, client_ssl_context
):
    async def silent(peer: Peer) -> None:
        tls = trio.SSLStream(peer.stream, server_ssl_context, server_side=True)
        await Peer(tls).read_request()
        asked.set()
        await trio.sleep_forever()

    asked = trio.Event()
    async with memory_server(silent) as stream:
        Network(monkeypatch, stream)
        proxy = Proxy("https://localhost", ssl_context=client_ssl_context)
        assert (await timeout("ws://server.example/", proxy)).phase == "proxy"
        assert asked.is_set()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")


# One deadline


def in_turn(*answers: bytes) -> Callable[[], Awaitable[bytes]]:
    """Give each of the answers after three seconds, then none."""
    left = list(answers)

    async def answer() -> bytes:
        await trio.sleep(3)
        return left.pop(0) if left else await trio.sleep_forever()

    return answer


@pytest.mark.parametrize(
    ("url", "answers", "phase"),
    [
        ("http://proxy.example", [OK], "handshake"),
        ("http://proxy.example", [OK[:5], OK[5:]], "handshake"),
        ("http://proxy.example", [OK[:5], OK[5:9], OK[9:]], "proxy"),
        ("http://proxy.example", [OK, b"HTTP/1.1 101 "], "handshake"),
        ("socks5h://proxy.example", [NO_AUTH, BOUND_IPV4], "handshake"),
        ("socks5h://n:p@proxy.example", [PASSWORD, WELCOME, BOUND_IPV4], "proxy"),
    ],
)
async def test_phases_have_one_deadline(
    autojump_clock, monkeypatch, url: str, answers: list[bytes], phase: str
):
    stream = CannedStream(end=in_turn(*answers))
    Network(monkeypatch, stream)
    assert (await timeout("ws://server.example/", url)).phase == phase
    assert stream.closed


async def test_all_addresses_have_one_deadline(autojump_clock, monkeypatch):
    Names({"server.example": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]})
    streams = [CannedStream(end=in_turn(UNREACHABLE)) for _ in range(3)]
    network = Network(monkeypatch, *streams)
    assert (await timeout("ws://server.example/", "socks5://proxy.example")).phase == "proxy"
    assert len(network.asked) == 3
    assert [stream.closed for stream in streams] == [True] * 3


async def test_all_hops_have_one_deadline(autojump_clock, monkeypatch):
    redirect = rejection("302 Found", "Location: ws://other.example/")
    streams = [CannedStream(end=in_turn(OK, redirect)), CannedStream(end=in_turn(OK))]
    network = Network(monkeypatch, *streams)
    error = await timeout("ws://server.example/", "http://proxy.example", max_redirects=1)
    assert error.phase == "proxy"
    assert error.redirects == ("ws://server.example/",)
    assert len(network.asked) == 2
    assert [stream.closed for stream in streams] == [True] * 2


async def test_second_hop_begins_at_its_beginning(autojump_clock, monkeypatch):
    async def open_tcp_stream(*_: object, **__: object) -> trio.abc.Stream:
        return streams.pop() if streams else await trio.sleep_forever()

    redirect = rejection("302 Found", "Location: ws://other.example/")
    streams = [CannedStream(OK, redirect)]
    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    error = await timeout("ws://server.example/", "http://proxy.example", max_redirects=1)
    assert error.phase == "connect"


async def test_without_a_timeout_a_proxy_is_not_hurried(autojump_clock, monkeypatch):
    async def server(peer: Peer) -> None:
        await peer.read_request()
        await trio.sleep(80_000)
        await peer.send(OK)
        tunnel = Peer(peer.stream)
        await tunnel.accept()
        await tunnel.echo()

    async with memory_server(server) as stream:
        Network(monkeypatch, stream)
        async with open_websocket_client(
            "ws://server.example/", proxy="http://proxy.example", open_timeout=None
        ) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"
