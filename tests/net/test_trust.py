"""The default TLS context: it is made once, off the event loop, and trusts the right CAs."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
import types

import pytest
import trio
import truststore
from scripted_server import echo_script, loopback_server

from trio_wsclient import HandshakeError, open_websocket_client
from trio_wsclient._net import connect, trust

BOUND = 10  # seconds for what takes a fraction of one


@pytest.fixture
def first_use(monkeypatch):
    """As at the first use of TLS in the process."""
    monkeypatch.setattr(trust, "_default_context", None)


class Builder:
    """A fake of `_new_default_context`: slow, until it is let go."""

    def __init__(self, monkeypatch) -> None:
        self.started = threading.Event()
        self.released = threading.Event()
        self.threads = []
        monkeypatch.setattr(trust, "_default_context", None)
        monkeypatch.setattr(trust, "_new_default_context", self)

    def __call__(self, platform):
        assert platform == sys.platform
        self.threads.append(threading.get_ident())
        self.started.set()
        assert self.released.wait(BOUND), "the event loop was blocked"
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def wait_started(self) -> None:
        assert await trio.to_thread.run_sync(self.started.wait, BOUND)


async def test_default_context_is_built_once_off_the_event_loop(monkeypatch):
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trust.default_ssl_context)
        await builder.wait_started()
        builder.released.set()  # The event loop got here while the context was being built.
    context = await trust.default_ssl_context()
    assert await trust.default_ssl_context() is context
    assert len(builder.threads) == 1
    assert threading.get_ident() not in builder.threads


async def test_first_uses_at_the_same_time_build_one_context(monkeypatch):
    async def use() -> None:
        contexts.append(await trust.default_ssl_context())

    contexts = []
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(use)
        await builder.wait_started()
        builder.released.set()
    assert contexts == [contexts[0]] * 5
    assert len(builder.threads) == 1


async def test_cancelled_first_use_returns_and_its_work_is_kept(monkeypatch):
    builder = Builder(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trust.default_ssl_context)
        await builder.wait_started()
        nursery.cancel_scope.cancel()
    builder.released.set()
    await trust.default_ssl_context()
    assert len(builder.threads) == 1


def test_lock_is_renewed_for_a_child(monkeypatch):
    lock = threading.Lock()
    monkeypatch.setattr(trust, "_default_context_lock", lock)
    with lock:
        trust._renew_lock()
        assert not trust._default_context_lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_e41_forked_child_can_make_the_context(monkeypatch):
    """The lock is held by another thread at the moment of the fork."""
    builder = Builder(monkeypatch)
    thread = threading.Thread(target=trio.run, args=[trust.default_ssl_context])
    thread.start()
    assert builder.started.wait(BOUND)
    pid = os.fork()
    if pid == 0:
        builder.released.set()
        signal.alarm(BOUND)  # It ends the child if the child waits for the lock.
        trust._make_default_context()
        os._exit(0)
    builder.released.set()
    thread.join()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.fixture
def no_cas_named(monkeypatch):
    """Take out of the environment what names CAs."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_on_macos_and_windows_the_platform_is_asked(platform):
    context = trust._new_default_context(platform)
    assert isinstance(context, truststore.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_who_names_cas_in_the_environment_has_decided(monkeypatch, platform, name):
    cas_of_openssl(monkeypatch)  # A wrong path must not fall back to trust in others.
    monkeypatch.setenv(name, "/nowhere")
    assert type(trust._new_default_context(platform)) is ssl.SSLContext


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_empty_variable_decides_nothing(monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert isinstance(trust._new_default_context("darwin"), truststore.SSLContext)


def cas_of_openssl(monkeypatch, cafile=None, capath=None):
    paths = ssl.DefaultVerifyPaths(cafile, capath, "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)


@pytest.mark.usefixtures("no_cas_named")
def test_on_linux_openssl_reads_its_cas_once(monkeypatch):
    cas_of_openssl(monkeypatch, cafile="/etc/ssl/cert.pem")
    context = trust._new_default_context("linux")
    assert type(context) is ssl.SSLContext
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
def test_sslkeylogfile_is_used_on_each_platform(monkeypatch, tmp_path, platform):
    cas_of_openssl(monkeypatch, cafile="/etc/ssl/cert.pem")
    path = str(tmp_path / "keys.log")
    monkeypatch.setenv("SSLKEYLOGFILE", path)
    assert trust._new_default_context(platform).keylog_filename == path


@pytest.mark.usefixtures("no_cas_named")
@pytest.mark.parametrize("platform", ["darwin", "linux"])
@pytest.mark.parametrize("value", ["", None])
def test_no_keys_are_logged_without_sslkeylogfile(monkeypatch, platform, value):
    cas_of_openssl(monkeypatch, cafile="/etc/ssl/cert.pem")
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    if value is not None:
        monkeypatch.setenv("SSLKEYLOGFILE", value)
    assert trust._new_default_context(platform).keylog_filename is None


@pytest.mark.usefixtures("no_cas_named")
def test_sslkeylogfile_is_ignored_if_python_ignores_the_environment(monkeypatch, tmp_path):
    """Python's own contexts ignore it then, too."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    monkeypatch.setattr(sys, "flags", types.SimpleNamespace(ignore_environment=True))
    assert trust._new_default_context("darwin").keylog_filename is None


@pytest.mark.parametrize(
    ("names", "has_cas"),
    [
        (["5ed36f99.0", "ca6e4ad9.0", "ca.pem"], True),
        (["ca-bundle.crt", "README"], False),  # OpenSSL looks for hashed names alone.
        ([], False),
    ],
    ids=["hashed names", "others", "empty"],
)
def test_directory_of_cas_counts_if_openssl_would_find_one(monkeypatch, tmp_path, names, has_cas):
    for name in names:
        (tmp_path / name).touch()
    cas_of_openssl(monkeypatch, capath=str(tmp_path))
    assert trust._openssl_has_cas() is has_cas


@pytest.mark.usefixtures("no_cas_named")
def test_where_openssl_has_no_cas_truststore_looks_for_some(monkeypatch):
    cas_of_openssl(monkeypatch)
    assert isinstance(trust._new_default_context("linux"), truststore.SSLContext)


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="the platform is asked there")
@pytest.mark.usefixtures("first_use", "no_cas_named")
async def test_missing_cas_are_loaded_outside_the_event_loop(monkeypatch):
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
async def test_default_context_trusts_what_ssl_cert_file_says(
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


@pytest.mark.usefixtures("first_use", "no_cas_named")
async def test_sslkeylogfile_gets_the_keys_of_a_connection(
    monkeypatch, tmp_path, ca, server_ssl_context
):
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    cas_of_openssl(monkeypatch)
    context = trust._new_default_context("linux")
    assert isinstance(context, truststore.SSLContext)
    ca.configure_trust(context)
    monkeypatch.setattr(trust, "_default_context", context)
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(url):
            assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in keys.read_text(encoding="utf-8")


@pytest.mark.usefixtures("first_use", "no_cas_named")
async def test_sslkeylogfile_that_can_not_be_written_is_a_handshake_error(
    monkeypatch, tmp_path, server_ssl_context
):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys.log"))
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        with pytest.raises(HandshakeError, match="No such file"):
            async with open_websocket_client(url):
                pytest.fail("it is not open")
