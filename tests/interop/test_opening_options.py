"""The functions that a user passes for opening, with programs and servers that others wrote."""

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trustme
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    TLSInfo,
    open_websocket_client,
    reconnecting,
)

from . import programs
from .conftest import CASE_TIMEOUT
from .programs import PASSWORD, USER
from .running import Server, started

DIGEST = Path(__file__).parent.parent.parent / "docs" / "examples" / "digest.py"


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


# nginx, with TLS


async def test_nginx_is_reached_at_another_address(nginx: int, ssl_context: ssl.SSLContext) -> None:
    """As with DNS of one's own: the certificate is checked for the name in the URL."""

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        asked.append((host, port))
        return await trio.open_tcp_stream("127.0.0.1", nginx)

    async def connect(url: str) -> None:
        async with open_websocket_client(
            url, open_stream=open_stream, ssl_context=ssl_context, server_hostname="127.0.0.1"
        ) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"

    asked: list[tuple[str, int]] = []
    with trio.fail_after(CASE_TIMEOUT):
        await connect("wss://service.internal/echo")
        with pytest.raises(HandshakeError, match="another name"):
            async with open_websocket_client(
                "wss://service.internal/echo", open_stream=open_stream, ssl_context=ssl_context
            ):
                pytest.fail("it is not open")
    assert asked == [("service.internal", 443)] * 2


async def test_tls_of_nginx_is_told(nginx: int, ssl_context: ssl.SSLContext) -> None:
    checked: list[TLSInfo] = []
    with trio.fail_after(CASE_TIMEOUT):
        async with open_websocket_client(
            f"wss://127.0.0.1:{nginx}/echo", ssl_context=ssl_context, check_tls=checked.append
        ) as ws:
            assert ws.tls is not None
            assert checked == [ws.tls]
            assert ws.tls.version in {"TLSv1.2", "TLSv1.3"}
            seen = await trio.to_thread.run_sync(ssl.get_server_certificate, ("127.0.0.1", nginx))
            assert ws.tls.peer_certificate == ssl.PEM_cert_to_DER_cert(seen)


# A device with a certificate that it has signed itself


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bytes]]:
    """A server with a certificate that no CA vouches for; gives that in DER, too."""
    path = tmp_path_factory.mktemp("device") / "device.pem"
    self_signed = self_signed_certificate("device.local")
    path.write_bytes(b"".join(self_signed))
    with started("websockets", path) as server:
        yield server, ssl.PEM_cert_to_DER_cert(self_signed[1].decode())


def self_signed_certificate(name: str) -> tuple[bytes, bytes]:
    """Return the key and the certificate, in PEM."""
    ca = trustme.CA(organization_name=name)  # A CA's own certificate is signed by itself.
    return ca.private_key_pem.bytes(), ca.cert_pem.bytes()


def pinned_to(certificate: bytes) -> dict[str, object]:
    def check(tls: TLSInfo) -> None:
        if tls.peer_certificate != certificate:
            raise ssl.SSLCertVerificationError("another certificate than that of the device")

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return {"ssl_context": context, "check_tls": check}


async def test_device_is_known_by_its_certificate(device: tuple[Server, bytes]) -> None:
    server, certificate = device
    with trio.fail_after(CASE_TIMEOUT):
        async with open_websocket_client(
            server.url("wss", "/echo"), **pinned_to(certificate)
        ) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_another_device_is_refused(nginx: int, device: tuple[Server, bytes]) -> None:
    _, certificate = device
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ssl.SSLCertVerificationError):
        async with open_websocket_client(f"wss://127.0.0.1:{nginx}/echo", **pinned_to(certificate)):
            pytest.fail("it is not open")


# Digest


@pytest.fixture(scope="module")
def lighttpd(upstream: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("lighttpd")
    with programs.lighttpd(directory, upstream.ports["ws"]) as port:
        yield port


async def run_recipe(port: int, password: str) -> tuple[str, str]:
    """Run the recipe of the docs; return what it prints and the last line of its errors."""
    program = DIGEST.read_text(encoding="utf-8")
    for before, after in (
        ("wss://example.org/echo", f"ws://127.0.0.1:{port}/echo?a=b&c=%20d"),
        ('"user", "pass-word"', f'"{USER}", "{password}"'),
    ):
        assert program.count(before) == 1
        program = program.replace(before, after)
    with trio.fail_after(CASE_TIMEOUT):
        done = await trio.run_process(
            [sys.executable, "-c", program], capture_stdout=True, capture_stderr=True, check=False
        )
    return done.stdout.decode(), (done.stderr.decode().splitlines() or [""])[-1]


async def test_digest_of_the_docs_is_let_in_by_lighttpd(lighttpd: int) -> None:
    assert await run_recipe(lighttpd, PASSWORD) == ("let me in\n", "")


async def test_digest_with_a_wrong_password_is_rejected_by_lighttpd(lighttpd: int) -> None:
    printed, error = await run_recipe(lighttpd, "wrong")
    assert printed == ""
    assert "ConnectionRejected" in error
    assert "401" in error


async def test_lighttpd_rejects_without_digest(lighttpd: int) -> None:
    with trio.fail_after(CASE_TIMEOUT), pytest.raises(ConnectionRejected) as caught:
        async with open_websocket_client(f"ws://127.0.0.1:{lighttpd}/echo"):
            pytest.fail("it is not open")
    assert caught.value.status_code == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Digest ")


# A token that expires


class OneTimeTokens:
    """A token service, and a check that a server makes: each token is good for one connection."""

    def __init__(self) -> None:
        self.issued = 0
        self._valid: set[str] = set()

    async def headers(self) -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        self.issued += 1
        token = f"token-{self.issued}"
        self._valid.add(token)
        return {"Authorization": f"Bearer {token}"}

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self._valid:
            self._valid.remove(token)
            return None
        return connection.respond(401, "expired\n")


@contextmanager
def serving(tokens: OneTimeTokens) -> Iterator[str]:
    """Run a server that wants a token, and restarts at each message; gives its URL."""
    with serve(restart, "127.0.0.1", 0, process_request=tokens.check) as server:
        port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{port}/"
        server.shutdown()
    thread.join()


def restart(connection: ServerConnection) -> None:
    """Take a message, and close as a server that restarts."""
    connection.recv()
    connection.close(1012)


async def test_token_is_renewed_for_each_reconnection() -> None:
    tokens = OneTimeTokens()
    with serving(tokens) as url:
        with trio.fail_after(CASE_TIMEOUT):
            async for connection in reconnecting(url, first_delay=0, extra_headers=tokens.headers):
                async with connection as ws:
                    if tokens.issued == 3:
                        break
                    await ws.send("hello")
                    await ws.wait_closed()
                    await ws.receive()


async def test_token_that_was_used_is_rejected_and_renewed_on_request() -> None:
    async def renew(rejected: ConnectionRejected) -> dict[str, str]:
        assert rejected.body == b"expired\n"
        return await tokens.headers()

    tokens = OneTimeTokens()
    with serving(tokens) as url:
        with trio.fail_after(CASE_TIMEOUT):
            async with open_websocket_client(
                url, extra_headers={"Authorization": "Bearer old"}, on_rejected=renew
            ):
                pass
    assert tokens.issued == 1
