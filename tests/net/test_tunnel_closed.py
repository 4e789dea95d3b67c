"""A tunnel that fails or is cancelled leaves nothing open, at whichever step."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import trio
from canned_stream import CannedStream, reset
from handshake_tables import JUNK, rejection
from network import Names, Network
from socks_tables import BOUND_IPV4, NO_AUTH, PASSWORD, WELCOME
from sweep import AtOwnStep

from trio_wsclient import Proxy, ProxyError
from trio_wsclient._net.tunnel import connect_through

BOUND = 10  # seconds for what takes a fraction of one
HTTP, SOCKS5, SOCKS5H = (
    Proxy("http://name:password@proxy.example"),
    Proxy("socks5://name:password@proxy.example"),
    Proxy("socks5h://name:password@proxy.example"),
)
OK = b"HTTP/1.1 200 OK\r\n\r\n"
UNREACHABLE = NO_AUTH + b"\x05\x04\x00\x01" + bytes(6)


async def through(
    proxy: Proxy, *, enter: Callable[[str], object] = lambda _: None
) -> trio.abc.Stream:
    return await connect_through(
        proxy,
        "server.example",
        80,
        local_address=None,
        user_agent=None,
        enter=enter,
        rejected=lambda _: None,
    )


@pytest.fixture
def https(client_ssl_context) -> Proxy:
    return Proxy("https://proxy.example", ssl_context=client_ssl_context)


# Failed

FAILURES = {
    "HTTP refuses": (HTTP, lambda: CannedStream(rejection("407 No", "Content-Length: 0"))),
    "HTTP refuses without end": (HTTP, lambda: CannedStream(rejection("403 No"), bytes(70_000))),
    "HTTP says nothing": (HTTP, CannedStream),
    "HTTP breaks": (HTTP, lambda: CannedStream(end=reset)),
    "HTTP breaks at once": (HTTP, lambda: CannedStream(writes=0)),
    "HTTP talks junk": (HTTP, lambda: CannedStream(JUNK["another protocol"])),
    "SOCKS refuses": (SOCKS5H, lambda: CannedStream(b"\x05\xff")),
    "SOCKS refuses the password": (SOCKS5H, lambda: CannedStream(PASSWORD, b"\x01\x01")),
    "SOCKS does not reach the name": (SOCKS5H, lambda: CannedStream(UNREACHABLE)),
    "SOCKS does not reach the address": (SOCKS5, lambda: CannedStream(UNREACHABLE)),
    "SOCKS says nothing": (SOCKS5, CannedStream),
    "SOCKS breaks": (SOCKS5, lambda: CannedStream(NO_AUTH, end=reset)),
    "SOCKS breaks at once": (SOCKS5, lambda: CannedStream(writes=0)),
    "SOCKS talks junk": (SOCKS5, lambda: CannedStream(JUNK["another protocol"])),
}


@pytest.mark.parametrize(("proxy", "make_stream"), FAILURES.values(), ids=FAILURES)
async def test_tunnel_that_fails_is_closed(monkeypatch, proxy: Proxy, make_stream):
    stream = make_stream()
    Names({"server.example": ["192.0.2.1"]})
    Network(monkeypatch, stream)
    with trio.fail_after(BOUND), pytest.raises(ProxyError):
        await through(proxy)
    assert stream.closed


@pytest.mark.parametrize(
    "make_stream",
    [
        CannedStream,
        lambda: CannedStream(end=reset),
        lambda: CannedStream(writes=0),
        lambda: CannedStream(OK),
    ],
    ids=["says nothing", "breaks", "breaks at once", "knows no TLS"],
)
async def test_tunnel_without_tls_is_closed(monkeypatch, https: Proxy, make_stream):
    stream = make_stream()
    Network(monkeypatch, stream)
    with trio.fail_after(BOUND), pytest.raises(ProxyError, match="the proxy: no TLS with"):
        await through(https)
    assert stream.closed


ERRORS = [ZeroDivisionError(), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("proxy", "answer"),
    [(HTTP, b""), (HTTP, rejection("403 No")), (SOCKS5, b""), (SOCKS5, NO_AUTH), (SOCKS5H, b"")],
    ids=["HTTP", "HTTP refuses", "SOCKS", "SOCKS goes on", "SOCKS resolves"],
)
async def test_whatever_else_a_stream_raises_leaves_as_it_is(monkeypatch, proxy, answer, error):
    async def fail() -> bytes:
        raise error

    stream = CannedStream(answer, end=fail)
    Names({"server.example": ["192.0.2.1", "192.0.2.2"]})
    Network(monkeypatch, stream)
    with pytest.raises(type(error)) as caught:
        await through(proxy)
    assert caught.value is error
    assert stream.closed


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("proxy", [HTTP, SOCKS5H], ids=str)
async def test_exception_of_enter_leaves_unchanged(monkeypatch, proxy, error):
    def fail(_phase: str) -> None:
        raise error

    stream = CannedStream()
    Network(monkeypatch, stream)
    with pytest.raises(type(error)) as caught:
        await through(proxy, enter=fail)
    assert caught.value is error
    assert stream.closed
    assert stream.sent == []


# Cancelled

DIALOGUES = {
    "HTTP": (HTTP, lambda: [CannedStream(OK[:9], OK[9:])]),
    "HTTP refuses": (HTTP, lambda: [CannedStream(rejection("403 No"), b"a", b"b")]),
    "SOCKS": (SOCKS5H, lambda: [CannedStream(PASSWORD + WELCOME + BOUND_IPV4)]),
    "SOCKS, several addresses": (
        SOCKS5,
        lambda: [CannedStream(UNREACHABLE), CannedStream(UNREACHABLE), CannedStream(UNREACHABLE)],
    ),
}


@pytest.mark.parametrize(("proxy", "make_streams"), DIALOGUES.values(), ids=DIALOGUES)
async def test_cancelled_at_any_await_nothing_stays_open(monkeypatch, proxy: Proxy, make_streams):
    Names({"server.example": ["192.0.2.1", "2001:db8::1", "192.0.2.2"]})
    for k in itertools.count(1):
        streams = make_streams()
        network = Network(monkeypatch, *streams)
        strike, tunnel = AtOwnStep(k), None
        with trio.CancelScope() as scope:
            trio.lowlevel.add_instrument(strike)
            strike.arm(scope.cancel)
            try:
                tunnel = await through(proxy)
            except ProxyError:
                pass
            finally:
                strike.disarm()
                trio.lowlevel.remove_instrument(strike)
        open_ones = [stream for stream in streams[: len(network.asked)] if not stream.closed]
        assert open_ones == ([] if tunnel is None else [tunnel]), k
        if not strike.struck:
            break
    assert k > 5
