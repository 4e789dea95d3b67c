"""Other ways to the server than TCP to the URL's host: a unix socket, TLS over each."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
import wire
from scripted_server import Peer, echo_script, loopback_server, memory_server

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    WebSocketClient,
    open_websocket_client,
)

BOUND = 10  # seconds for what takes a fraction of one

needs_unix_sockets = pytest.mark.skipif(sys.platform == "win32", reason="Trio has none there")


async def assert_echoes(ws: WebSocketClient) -> None:
    await ws.send("a")
    assert await ws.receive() == "a"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A relative one, as a Unix socket's has 107 bytes at most, and `tmp_path` may have more."""
    monkeypatch.chdir(tmp_path)
    return Path("socket")


@asynccontextmanager
async def unix_server(
    path: Path, script=echo_script, *, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    socket = trio.socket.socket(trio.socket.AF_UNIX)
    await socket.bind(str(path))
    socket.listen()

    async def handle(stream: trio.abc.Stream) -> None:
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        await script(Peer(stream))

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, [trio.SocketListener(socket)])
        yield
        nursery.cancel_scope.cancel()


@needs_unix_sockets
@pytest.mark.parametrize("as_path", [str, Path])
async def test_unix_socket_stands_for_the_urls_host(path: Path, as_path):
    requests = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        requests.append(peer.request)
        await peer.echo()

    async with unix_server(path, script):
        async with open_websocket_client("ws://api.example/v1", unix_socket=as_path(path)) as ws:
            await assert_echoes(ws)
            assert ws.url == "ws://api.example/v1"
    assert b"\r\nHost: api.example\r\n" in requests[0]


@needs_unix_sockets
async def test_tls_works_over_a_unix_socket(path, server_ssl_context, client_ssl_context):
    async with unix_server(path, ssl_context=server_ssl_context):
        async with open_websocket_client(
            "wss://127.0.0.1/", unix_socket=path, ssl_context=client_ssl_context
        ) as ws:
            await assert_echoes(ws)


@needs_unix_sockets
async def test_nobody_at_a_unix_socket_is_a_handshake_error(path: Path):
    with pytest.raises(HandshakeError, match="Unix socket") as caught:
        async with open_websocket_client("ws://x/", unix_socket=path):
            pytest.fail("it is not open")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@needs_unix_sockets
async def test_deaf_unix_socket_ends_in_the_handshakes_phase(path: Path):
    async def deaf(peer: Peer) -> None:
        await peer.wait_eof()

    async with unix_server(path, deaf):
        with trio.fail_after(BOUND), pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client("ws://x/", unix_socket=path, open_timeout=0.2):
                pytest.fail("it is not open")
    assert caught.value.phase == "handshake"


@needs_unix_sockets
async def test_unix_socket_follows_redirects_within_its_origin(path: Path):
    async def script(peer: Peer) -> None:
        request = await peer.read_request()
        target = {b"/": b"/there", b"/away": b"ws://other.example/"}.get(request.split()[1])
        if target is not None:
            await peer.send(b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % target)
            return
        await peer.send(wire.answer(request))
        await peer.echo()

    async with unix_server(path, script):
        async with open_websocket_client("ws://x/", unix_socket=path, max_redirects=2) as ws:
            assert ws.url == "ws://x/there"
        with trio.fail_after(BOUND), pytest.raises(ConnectionRejected, match="another origin"):
            async with open_websocket_client("ws://x/away", unix_socket=path, max_redirects=2):
                pytest.fail("it is not open")


async def test_missing_unix_sockets_are_a_handshake_error(monkeypatch, path):
    async def unsupported(path: object) -> None:
        raise RuntimeError("Unix sockets are not supported on this platform")

    monkeypatch.setattr(trio, "open_unix_socket", unsupported)
    with pytest.raises(HandshakeError, match="not supported"):
        async with open_websocket_client("ws://x/", unix_socket=path):
            pytest.fail("it is not open")


async def test_tls_works_over_a_users_stream_in_memory(server_ssl_context, client_ssl_context):
    async def script(peer: Peer) -> None:
        tls = trio.SSLStream(
            peer.stream, server_ssl_context, server_side=True, https_compatible=True
        )
        await echo_script(Peer(tls))

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "wss://127.0.0.1/", stream=stream, ssl_context=client_ssl_context
        ) as ws:
            await assert_echoes(ws)


async def test_tls_works_from_a_local_address(server_ssl_context, client_ssl_context):
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(
            url, local_address="127.0.0.1", ssl_context=client_ssl_context
        ) as ws:
            await assert_echoes(ws)
            assert ws.local_address[0] == "127.0.0.1"


# Certificates


async def test_client_certificate_of_the_context_is_shown(ca: trustme.CA, client_ssl_context):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(server)
    ca.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    # TLS 1.3 would let the client go on before the server has checked its certificate.
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    async with loopback_server(_forgiving_echo, ssl_context=server) as url:
        with trio.fail_after(BOUND), pytest.raises(HandshakeError):
            async with open_websocket_client(url, ssl_context=client_ssl_context):
                pytest.fail("it is not open")
        own = ssl.create_default_context()  # The fixture is for other tests too.
        ca.configure_trust(own)
        ca.issue_cert("client@example.org").configure_cert(own)
        async with open_websocket_client(url, ssl_context=own) as ws:
            await assert_echoes(ws)


async def _forgiving_echo(peer: Peer) -> None:
    try:
        await echo_script(peer)
    except trio.BrokenResourceError:  # what a server sees of a client without a certificate
        await trio.aclose_forcefully(peer.stream)


async def test_servers_name_is_sent_as_sni(ca: trustme.CA, client_ssl_context):
    seen = []
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost", "other.example").configure_cert(server)
    server.sni_callback = lambda _, name, __: seen.append(name)
    async with loopback_server(echo_script, ssl_context=server) as url:
        local = url.replace("127.0.0.1", "localhost")
        async with open_websocket_client(local, ssl_context=client_ssl_context):
            pass
        # A dot at the end is no part of a name in a certificate (RFC 6066 §3).
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
        async with open_websocket_client(
            "wss://localhost./", stream=stream, ssl_context=client_ssl_context
        ):
            pass
        async with open_websocket_client(
            url, ssl_context=client_ssl_context, server_hostname="other.example"
        ):
            pass
    assert seen == ["localhost", "localhost", "other.example"]


async def test_ca_file_of_ones_own_is_enough(ca: trustme.CA, tmp_path, server_ssl_context):
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(cafile=os.fspath(tmp_path / "ca.pem"))
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(url, ssl_context=context) as ws:
            await assert_echoes(ws)
