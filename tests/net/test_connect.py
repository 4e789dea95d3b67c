"""From a URL to a stream: TCP to the first address that answers, and TLS without a context."""

from __future__ import annotations

import socket
import ssl
import sys
import threading

import pytest
import trio
import truststore
from scripted_server import echo_script, loopback_server

from trio_wsclient import HandshakeError, InvalidURL, open_websocket_client
from trio_wsclient._net import connect

BOUND = 10  # seconds for what takes a fraction of one


# TCP


class Resolver(trio.abc.HostnameResolver):
    """Finds every name on loopback, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked = []

    async def getaddrinfo(self, host, port, *_):
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def unused_port():
    """Return a port of loopback that was free a moment ago."""
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        return listener.socket.getsockname()[1]


async def test_a_refused_connection_is_a_handshake_error_about_the_os_error():
    port = await unused_port()
    with pytest.raises(
        HandshakeError, match=f"no TCP connection to 127.0.0.1 port {port}"
    ) as error:
        async with open_websocket_client(f"ws://127.0.0.1:{port}/"):
            pytest.fail("it is not open")
    assert isinstance(error.value.__cause__, OSError)


class NoSuchName(Resolver):
    """Finds no name at all."""

    async def getaddrinfo(self, *args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("::1", socket.AF_INET6),
        ("localhost", None),
        ("127.1", None),
        ("0x7f000001", None),
    ],
)
def test_an_address_is_told_from_a_name(host: str, family: int | None):
    assert connect._family(host) == family


async def test_an_unknown_host_name_is_a_handshake_error_about_the_look_up():
    trio.socket.set_custom_hostname_resolver(NoSuchName())
    with pytest.raises(HandshakeError, match=r"nowhere\.example .*not known") as error:
        async with open_websocket_client("wss://nowhere.example/"):
            pytest.fail("it is not open")
    assert isinstance(error.value.__cause__, socket.gaierror)


@pytest.mark.parametrize(
    "host", ["a..example", f"{'a' * 64}.example"], ids=["an empty label", "a label of 64"]
)
async def test_a_name_that_dns_cannot_hold_is_an_error_of_this_library(host):
    with pytest.raises((HandshakeError, InvalidURL)):
        async with open_websocket_client(f"ws://{host}/"):
            pytest.fail("it is not open")


async def test_a_name_with_an_underscore_is_looked_up_as_it_is():
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    async with (
        loopback_server(echo_script) as url,
        open_websocket_client(url.replace("127.0.0.1", "chat_1.example")) as ws,
    ):
        await ws.send("hello")
        assert await ws.receive() == "hello"
    assert resolver.asked == [b"chat_1.example"]


@pytest.mark.skipif(sys.platform == "darwin", reason="it has no 127.0.0.2")
async def test_the_connection_comes_from_the_local_address():
    async with (
        loopback_server(echo_script) as url,
        open_websocket_client(url, local_address="127.0.0.2") as ws,
    ):
        assert ws.local_address[0] == "127.0.0.2"


@pytest.mark.parametrize("local_address", ["::1", "192.0.2.1"], ids=["IPv6", "not ours"])
async def test_a_local_address_that_does_not_fit_is_a_handshake_error(local_address):
    async with loopback_server(echo_script) as url:
        with pytest.raises(HandshakeError, match=f"{local_address}.* is incompatible with"):
            async with open_websocket_client(url, local_address=local_address):
                pytest.fail("it is not open")


@pytest.mark.parametrize("local_address", ["a..b", "a\0b", "localhost", ""])
def test_a_local_address_that_is_none_raises_in_the_call(local_address):
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        open_websocket_client("ws://server/", local_address=local_address)


# The default context


@pytest.fixture
def first_use(monkeypatch):
    """As at the first use of TLS in the process."""
    monkeypatch.setattr(connect, "_default_context", None)


class Builder:
    """A fake of `_new_default_context`: slow, until it is let go."""

    def __init__(self, monkeypatch) -> None:
        self.started = threading.Event()
        self.released = threading.Event()
        self.threads = []
        monkeypatch.setattr(connect, "_default_context", None)
        monkeypatch.setattr(connect, "_new_default_context", self)

    def __call__(self, platform):
        assert platform == sys.platform
        self.threads.append(threading.get_ident())
        self.started.set()
        assert self.released.wait(BOUND), "the event loop was blocked"
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def wait_started(self) -> None:
        assert await trio.to_thread.run_sync(self.started.wait, BOUND)


async def test_the_default_context_is_built_once_off_the_event_loop(monkeypatch):
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect.default_ssl_context)
        await builder.wait_started()
        builder.released.set()  # The event loop got here while the context was being built.
    context = await connect.default_ssl_context()
    assert await connect.default_ssl_context() is context
    assert len(builder.threads) == 1
    assert threading.get_ident() not in builder.threads


async def test_first_uses_at_the_same_time_build_one_context(monkeypatch):
    async def use() -> None:
        contexts.append(await connect.default_ssl_context())

    contexts = []
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(use)
        await builder.wait_started()
        builder.released.set()
    assert contexts == [contexts[0]] * 5
    assert len(builder.threads) == 1


async def test_a_cancelled_first_use_does_not_wait_and_its_work_is_not_lost(monkeypatch):
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect.default_ssl_context)
        await builder.wait_started()
        nursery.cancel_scope.cancel()
    builder.released.set()
    await connect.default_ssl_context()
    assert len(builder.threads) == 1


@pytest.fixture
def no_cas_named(monkeypatch):
    """Take out of the environment what names CAs."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_on_macos_and_windows_the_platform_is_asked(platform):
    context = connect._new_default_context(platform)
    assert isinstance(context, truststore.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_who_names_cas_in_the_environment_has_decided(monkeypatch, platform, name):
    cas_of_openssl(monkeypatch)  # A wrong path must not fall back to trust in others.
    monkeypatch.setenv(name, "/nowhere")
    assert type(connect._new_default_context(platform)) is ssl.SSLContext


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_an_empty_variable_decides_nothing(monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert isinstance(connect._new_default_context("darwin"), truststore.SSLContext)


def cas_of_openssl(monkeypatch, cafile=None, capath=None):
    paths = ssl.DefaultVerifyPaths(cafile, capath, "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)


@pytest.mark.usefixtures("no_cas_named")
def test_on_linux_openssl_reads_its_cas_once(monkeypatch):
    cas_of_openssl(monkeypatch, cafile="/etc/ssl/cert.pem")
    context = connect._new_default_context("linux")
    assert type(context) is ssl.SSLContext
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("names", "has_cas"),
    [
        (["5ed36f99.0", "ca6e4ad9.0", "ca.pem"], True),
        (["ca-bundle.crt", "README"], False),  # OpenSSL looks for hashed names alone.
        ([], False),
    ],
    ids=["hashed names", "others", "empty"],
)
def test_a_directory_of_cas_counts_if_openssl_would_find_one(monkeypatch, tmp_path, names, has_cas):
    for name in names:
        (tmp_path / name).touch()
    cas_of_openssl(monkeypatch, capath=str(tmp_path))
    assert connect._openssl_has_cas() is has_cas


@pytest.mark.usefixtures("no_cas_named")
def test_where_openssl_has_no_cas_truststore_looks_for_some(monkeypatch):
    cas_of_openssl(monkeypatch)
    assert isinstance(connect._new_default_context("linux"), truststore.SSLContext)


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="the platform is asked there")
@pytest.mark.usefixtures("first_use", "no_cas_named")
async def test_where_openssl_has_no_cas_they_are_read_off_the_event_loop_too(monkeypatch):
    def load_verify_locations(context, *args, **kwargs):
        threads.append(threading.get_ident())
        original(context, *args, **kwargs)

    threads = []
    original = ssl.SSLContext.load_verify_locations
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)
    cas_of_openssl(monkeypatch)
    client, server = trio.testing.memory_stream_pair()
    await server.aclose()
    with pytest.raises(HandshakeError):
        await connect.start_tls(client, ssl_context=None, server_hostname="server.example")
    assert threading.get_ident() not in threads


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="the platform is asked there")
@pytest.mark.usefixtures("first_use")
async def test_the_default_context_trusts_what_ssl_cert_file_says(
    monkeypatch, tmp_path, ca, server_ssl_context
):
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        loopback_server(echo_script, ssl_context=server_ssl_context) as url,
        open_websocket_client(url) as ws,
    ):
        await ws.send("hello")
        assert await ws.receive() == "hello"


# Cutting


class Closable(trio.abc.Stream):
    """A stream of which only the closing is of interest."""

    def __init__(self, close) -> None:
        self.close = close
        self.closed = False

    async def send_all(self, data):
        raise NotImplementedError

    async def wait_send_all_might_not_block(self):
        raise NotImplementedError

    async def receive_some(self, max_bytes=None):
        raise NotImplementedError

    async def aclose(self):
        try:
            await self.close()
        finally:
            self.closed = True


async def fails():
    raise OSError("cannot be closed")


@pytest.mark.parametrize("close", [trio.sleep_forever, fails])
@pytest.mark.parametrize("cancelled", [False, True], ids=["at ease", "cancelled"])
async def test_a_stream_is_cut_without_waiting_and_without_an_error(
    autojump_clock, close, cancelled
):
    stream = Closable(close)
    with trio.CancelScope() as scope:
        if cancelled:
            scope.cancel()
        await connect.close_forcefully(stream)
    assert stream.closed
    assert not scope.cancelled_caught


async def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize("second", [fails, trio.sleep_forever])
async def test_ctrl_c_while_a_stream_is_cut_is_not_lost(second):
    """A stream of two halves closes the second one after it, which is cancelled or fails."""
    halves = Closable(interrupted), Closable(second)
    with pytest.raises(KeyboardInterrupt):
        await connect.close_forcefully(trio.StapledStream(*halves))
    assert [half.closed for half in halves] == [True, True]
