"""E11, E13, E15, E16, E35 to E37: opening a connection in situations that break other clients."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
import situations
import trio
import trustme
from canned_stream import CannedStream, reset
from handshake_tables import rejection
from scripted_server import Peer, echo_script, tls_of
from situations import scene

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    InvalidResponse,
    OpenTimeout,
    Proxy,
    ProxyError,
    open_websocket_client,
)
from trio_wsclient._net import connect

BOUND = 10  # seconds for what takes a fraction of one
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("start", [b"", ANSWER[:12], ANSWER], ids=["nothing", "12 bytes", "half"])
@pytest.mark.parametrize("how", [situations.end, situations.reset])
async def test_e11_tcp_end_within_handshake_is_noticed(start, how):
    with trio.fail_after(BOUND):
        async with scene(situations.ends_in_handshake(start, how)) as server:
            with pytest.raises(HandshakeError) as caught:
                async with open_websocket_client(server.url, open_timeout=60):
                    pytest.fail("it is not open")
    assert not isinstance(caught.value, OpenTimeout)


async def test_e11_tcp_end_before_request_is_noticed():
    with trio.fail_after(BOUND):
        async with scene(situations.reset) as server:
            with pytest.raises(HandshakeError) as caught:
                async with open_websocket_client(server.url, open_timeout=60):
                    pytest.fail("it is not open")
    assert not isinstance(caught.value, OpenTimeout)


async def test_e13_host_header_of_ipv6_has_brackets(monkeypatch):
    monkeypatch.setattr(connect, "connect_tcp", situations.open_ipv6_as_ipv4)
    with trio.fail_after(BOUND):
        async with scene(situations.accepts) as server:
            port = server.url.rpartition(":")[2]
            async with open_websocket_client(f"ws://[::1]:{port}"):
                pass
            request = await server.seen()
    assert f"\r\nhost: [::1]:{port.rstrip('/')}\r\n".encode() in request.lower()


@pytest.mark.parametrize(
    "script",
    [
        situations.is_silent,
        situations.drips(b"HTTP/1.1 101 Switching Protocols\r\nX: ", b"x", 0.05),
        situations.drips(b"HTTP/1.1 101 Switching Protocols\r\n", b"X: y\r\n", 0.05),
        situations.drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05),
    ],
    ids=["silent", "a byte at a time", "a header at a time", "an interim answer at a time"],
)
async def test_e15_open_timeout_covers_a_slow_handshake(script):
    with trio.fail_after(BOUND):
        async with scene(script) as server:
            with pytest.raises(OpenTimeout) as caught:
                async with open_websocket_client(server.url, open_timeout=0.5):
                    pytest.fail("it is not open")
            await server.seen()  # The socket is closed.
    assert caught.value.phase == "handshake"


async def test_e15_open_timeout_covers_silence_within_tls():
    with trio.fail_after(BOUND):
        async with scene(situations.is_silent) as server:
            with pytest.raises(OpenTimeout) as caught:
                async with open_websocket_client(
                    server.url.replace("ws:", "wss:"),
                    open_timeout=0.5,
                    ssl_context=ssl.create_default_context(),
                ):
                    pytest.fail("it is not open")
            await server.seen()
    assert caught.value.phase == "tls"


REJECTION = b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [situations.refuses_without_end, situations.drips(REJECTION, b"1\r\nx\r\n", 0.05)],
    ids=["fast", "slow"],
)
@pytest.mark.parametrize("open_timeout", [0.5, 60])
async def test_e15_rejection_with_endless_body_is_raised(script, open_timeout):
    with trio.fail_after(BOUND):
        async with scene(script) as server:
            with pytest.raises(ConnectionRejected) as caught:
                async with open_websocket_client(server.url, open_timeout=open_timeout):
                    pytest.fail("it is not open")
            await server.seen()
    assert caught.value.status_code == 403
    assert 0 < len(caught.value.body) <= 65_536


def server_context(ca, *names, **kwargs):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names, **kwargs).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("make_context", "fault"),
    [
        (lambda ca: server_context(trustme.CA(), "127.0.0.1"), "unable to get local issuer"),
        (lambda ca: server_context(ca, "other.example"), "IP address mismatch"),
        (
            lambda ca: server_context(
                ca, "127.0.0.1", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
            ),
            "certificate has expired",
        ),
    ],
    ids=["unknown CA", "wrong host", "expired"],
)
async def test_e16_bad_certificate_is_named_at_once(ca, client_ssl_context, make_context, fault):
    with trio.fail_after(BOUND):
        async with scene(situations.is_silent, ssl_context=make_context(ca)) as server:
            start = trio.current_time()
            with pytest.raises(HandshakeError, match=fault) as caught:
                async with open_websocket_client(
                    server.url, ssl_context=client_ssl_context, open_timeout=60
                ):
                    pytest.fail("it is not open")
            assert trio.current_time() - start < 1
            assert await server.seen() == b"", "something was sent to a server that is not it"
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_e35_response_counts_though_the_request_was_not_written():
    stream = CannedStream(
        rejection("503 Busy", "Content-Length: 4", body=b"busy"), end=reset, writes=0
    )
    with pytest.raises(ConnectionRejected) as caught:
        async with open_websocket_client("ws://server/", stream=stream):
            pytest.fail("it is not open")
    assert (caught.value.status_code, caught.value.body) == (503, b"busy")
    assert stream.closed


async def test_e35_missing_client_certificate_is_named_every_time(ca, client_ssl_context):
    """TLS 1.3: the alert comes after the client's handshake, often with a reset right after it."""
    context = tls_of(ca, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED

    async def server(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while not refused:
            incoming.write(await peer.stream.receive_some())
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                refused = True
            await peer.send(outgoing.read())
        await situations.reset(peer)

    with trio.fail_after(BOUND):
        for _ in range(20):
            async with scene(server) as stage:
                url = stage.url.replace("ws:", "wss:")
                with pytest.raises(HandshakeError, match="certificate required"):
                    async with open_websocket_client(url, ssl_context=client_ssl_context):
                        pytest.fail("it is not open")
                await stage.seen()


@pytest.fixture
def h2_contexts(ca) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server and a client that prefer HTTP/2, as contexts of HTTP clients do."""
    server, client = tls_of(ca, "127.0.0.1"), ssl.create_default_context()
    ca.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["h2", "http/1.1"])
    return server, client


async def test_e36_alpn_other_than_http11_is_named_before_the_request(h2_contexts):
    server, client = h2_contexts
    async with scene(Peer.wait_eof, ssl_context=server) as stage:
        with pytest.raises(HandshakeError, match=r"^ALPN chose 'h2', not http/1\.1: ") as caught:
            async with open_websocket_client(stage.url, ssl_context=client):
                pytest.fail("it is not open")
        assert await stage.seen() == b""
    assert "set_alpn_protocols(['http/1.1'])" in str(caught.value)


async def test_e36_alpn_of_a_proxy_is_checked_too(h2_contexts):
    server, client = h2_contexts
    async with scene(Peer.wait_eof, ssl_context=server) as stage:
        proxy = Proxy(stage.url.replace("wss:", "https:"), ssl_context=client)
        with pytest.raises(ProxyError, match=r"^the proxy: ALPN chose 'h2'"):
            async with open_websocket_client("ws://server.example/", proxy=proxy):
                pytest.fail("it is not open")
        assert await stage.seen() == b""


async def test_e36_alpn_may_choose_http11(ca):
    server, client = tls_of(ca, "127.0.0.1"), ssl.create_default_context()
    ca.configure_trust(client)
    server.set_alpn_protocols(["http/1.1"])
    client.set_alpn_protocols(["h2", "http/1.1"])
    async with scene(echo_script, ssl_context=server) as stage:
        async with open_websocket_client(stage.url, ssl_context=client) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_e37_banner_of_another_service_is_shown_within_a_round_trip():
    async def server(peer: Peer) -> None:
        await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.wait_eof()

    with trio.fail_after(BOUND):
        async with scene(server) as stage:
            with pytest.raises(InvalidResponse, match=r"^not HTTP/1\.1: 'SSH-2\.0-OpenSSH_9\.6'"):
                async with open_websocket_client(stage.url, open_timeout=None):
                    pytest.fail("it is not open")
