"""What TLS has agreed on: ``ws.tls``, and ``check_tls``, which may refuse a server."""

from __future__ import annotations

import dataclasses
import ssl

import pytest
import trio
from redirecting import Redirecting
from scripted_proxy import HTTPProxy, as_proxy
from scripted_server import Peer, echo_script, loopback_server, memory_server, tls_of

from trio_wsclient import HandshakeError, Proxy, TLSInfo, open_websocket_client, reconnecting

BOUND = 10  # seconds for what takes a fraction of one


class Refused(Exception):
    """An exception of the user's."""


def refuse(tls: TLSInfo) -> None:
    raise Refused


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def unasked(peer: Peer) -> None:
    """Be a server that gets no request: the client refuses it before."""
    assert await peer.wait_eof() == b""


# What it tells


@pytest.mark.parametrize("verified", [True, False], ids=["verified", "CERT_NONE"])
async def test_tls_tells_what_was_agreed_on(ca, client_ssl_context, verified: bool):
    context = client_ssl_context if verified else unverified()
    certificate = ca.issue_cert("127.0.0.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(server)
    expected = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    async with loopback_server(echo_script, ssl_context=server) as url:
        async with open_websocket_client(url, ssl_context=context) as ws:
            tls = ws.tls
    assert isinstance(tls, TLSInfo)
    assert tls.version == "TLSv1.3"
    assert tls.cipher.startswith("TLS_")
    assert tls.alpn_protocol is None
    assert tls.server_hostname == "127.0.0.1"
    assert tls.peer_certificate == expected


async def test_tls_tells_version_and_alpn_protocol(ca, client_ssl_context):
    server = tls_of(ca, "127.0.0.1")
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_alpn_protocols(["http/1.1"])
    client = ssl.create_default_context()
    ca.configure_trust(client)
    client.set_alpn_protocols(["http/1.1"])
    async with loopback_server(echo_script, ssl_context=server) as url:
        async with open_websocket_client(url, ssl_context=client) as ws:
            assert ws.tls is not None
            assert (ws.tls.version, ws.tls.alpn_protocol) == ("TLSv1.2", "http/1.1")


async def test_tls_stays_when_the_connection_is_over(server_ssl_context, client_ssl_context):
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(url, ssl_context=client_ssl_context) as ws:
            before = ws.tls
        assert ws.tls is before is not None


def test_tls_info_is_frozen_and_shows_no_certificate():
    info = TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, "a", b"certificate")
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.version = "TLSv1.2"
    assert "certificate" not in repr(info)


async def test_tls_is_none_without_tls():
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        assert ws.tls is None


async def test_tls_over_a_stream_of_the_users_is_told(server_ssl_context, client_ssl_context):
    async def script(peer: Peer) -> None:
        await echo_script(Peer(trio.SSLStream(peer.stream, server_ssl_context, server_side=True)))

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "wss://127.0.0.1/", stream=stream, ssl_context=client_ssl_context
        ) as ws:
            assert ws.tls is not None
            assert ws.tls.version == "TLSv1.3"
            assert ws.tls.server_hostname == "127.0.0.1"
            assert ws.tls.peer_certificate


async def test_tls_that_the_user_has_started_is_told(server_ssl_context, client_ssl_context):
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        port = int(url.split(":")[2].strip("/"))
        stream = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", port),
            client_ssl_context,
            server_hostname="localhost",
            https_compatible=True,
        )
        async with open_websocket_client(f"ws://127.0.0.1:{port}/", stream=stream) as ws:
            assert ws.tls is not None
            assert ws.tls.server_hostname == "localhost"


async def test_tls_with_a_proxy_is_not_tls_with_the_server(server_ssl_context, client_ssl_context):
    async with (
        loopback_server(echo_script) as url,
        loopback_server(HTTPProxy(), ssl_context=server_ssl_context) as proxy_url,
    ):
        proxy = Proxy(as_proxy(proxy_url, "https"), ssl_context=client_ssl_context)
        async with open_websocket_client(url, proxy=proxy) as ws:
            assert ws.tls is None


# Who is checked


async def test_check_tls_gets_what_the_client_has_then(server_ssl_context, client_ssl_context):
    checked: list[TLSInfo] = []
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(
            url, ssl_context=client_ssl_context, check_tls=checked.append
        ) as ws:
            assert checked == [ws.tls]


@pytest.mark.parametrize("over", ["tcp", "a stream"])
async def test_what_check_tls_raises_leaves_before_the_request_is_sent(server_ssl_context, over):
    received: list[bytes] = []
    over_it = trio.Event()

    async def script(peer: Peer) -> None:
        if over == "a stream":
            peer = Peer(
                trio.SSLStream(
                    peer.stream, server_ssl_context, server_side=True, https_compatible=True
                )
            )
        received.append(await peer.wait_eof())
        over_it.set()

    async def check(url: str, **options: object) -> None:
        error = Refused()

        def refuse(tls: TLSInfo) -> None:
            raise error

        with pytest.raises(Refused) as caught:
            async with open_websocket_client(
                url, ssl_context=unverified(), check_tls=refuse, **options
            ):
                pytest.fail("it is not open")
        assert caught.value is error
        assert error.__context__ is error.__cause__ is None
        with trio.fail_after(BOUND):
            await over_it.wait()

    if over == "tcp":
        async with loopback_server(script, ssl_context=server_ssl_context) as url:
            await check(url)
    else:
        async with memory_server(script) as stream:
            await check("wss://device/", stream=stream)
    assert received == [b""]


async def test_check_tls_is_not_asked_about_a_proxy(server_ssl_context, client_ssl_context):
    checked: list[str | None] = []
    async with (
        loopback_server(echo_script, ssl_context=server_ssl_context) as url,
        loopback_server(HTTPProxy(), ssl_context=server_ssl_context) as proxy_url,
    ):
        proxy = Proxy(
            as_proxy(proxy_url, "https").replace("127.0.0.1", "localhost"),
            ssl_context=client_ssl_context,
        )
        async with open_websocket_client(
            url,
            proxy=proxy,
            ssl_context=client_ssl_context,
            check_tls=lambda tls: checked.append(tls.server_hostname),
        ):
            pass
    assert checked == ["127.0.0.1"]


async def test_check_tls_is_asked_about_each_host_of_a_redirect(ca, client_ssl_context):
    checked: list[str | None] = []
    async with loopback_server(Redirecting({}), ssl_context=tls_of(ca, "localhost")) as second:
        first_server = Redirecting({"/": second.replace("127.0.0.1", "localhost")})
        async with loopback_server(first_server, ssl_context=tls_of(ca, "127.0.0.1")) as first:
            plain = Redirecting({"/": first})
            async with loopback_server(plain) as url:
                async with open_websocket_client(
                    url,
                    max_redirects=2,
                    ssl_context=client_ssl_context,
                    check_tls=lambda tls: checked.append(tls.server_hostname),
                ) as ws:
                    assert ws.tls is not None
                    assert ws.tls.server_hostname == "localhost"
    assert checked == ["127.0.0.1", "localhost"]


async def test_check_tls_may_refuse_the_second_host(server_ssl_context):
    async with loopback_server(unasked, ssl_context=server_ssl_context) as second_url:
        first = Redirecting({"/": second_url})
        async with loopback_server(first, ssl_context=server_ssl_context) as url:
            checked: list[TLSInfo] = []

            def check(tls: TLSInfo) -> None:
                checked.append(tls)
                if len(checked) == 2:
                    raise Refused

            with pytest.raises(Refused):
                async with open_websocket_client(
                    url, max_redirects=1, ssl_context=unverified(), check_tls=check
                ):
                    pytest.fail("it is not open")
    assert len(checked) == 2


async def test_check_tls_is_asked_in_each_round_of_a_loop(server_ssl_context, client_ssl_context):
    checked: list[TLSInfo] = []

    async def once(peer: Peer) -> None:
        await peer.read_request()
        if len(checked) < 3:
            await peer.stream.aclose()
        else:
            await peer.accept()
            await peer.echo()

    async with loopback_server(once, ssl_context=server_ssl_context) as url:
        async for connection in reconnecting(
            url, first_delay=0, ssl_context=client_ssl_context, check_tls=checked.append
        ):
            async with connection:
                break
    assert len(checked) == 3


async def test_what_check_tls_raises_leaves_a_loop(server_ssl_context):
    async with loopback_server(unasked, ssl_context=server_ssl_context) as url:
        with pytest.raises(Refused):
            async for connection in reconnecting(url, ssl_context=unverified(), check_tls=refuse):
                async with connection:
                    pytest.fail("it is not open")


# Mistakes


@pytest.mark.parametrize("verdict", [True, False, b""])
async def test_check_tls_that_returns_a_verdict_is_a_type_error(server_ssl_context, verdict):
    async with loopback_server(unasked, ssl_context=server_ssl_context) as url:
        with pytest.raises(TypeError) as caught:
            async with open_websocket_client(
                url, ssl_context=unverified(), check_tls=lambda _: verdict
            ):
                pytest.fail("it is not open")
    kind = type(verdict).__name__
    assert str(caught.value) == (
        f"check_tls has to raise if it refuses, and to return None, not {kind}"
    )


async def test_async_check_tls_is_a_type_error(server_ssl_context):
    async def check(tls: TLSInfo) -> None:
        pytest.fail("it runs")

    async with loopback_server(unasked, ssl_context=server_ssl_context) as url:
        with pytest.raises(TypeError, match="check_tls has to be a plain function, not an async"):
            async with open_websocket_client(url, ssl_context=unverified(), check_tls=check):
                pytest.fail("it is not open")


async def test_check_tls_is_not_asked_if_tls_fails(server_ssl_context):
    async with loopback_server(unasked, ssl_context=server_ssl_context) as url:
        with pytest.raises(HandshakeError, match="not trusted"):
            async with open_websocket_client(url, check_tls=refuse):
                pytest.fail("it is not open")


async def test_ctrl_c_reaches_check_tls(server_ssl_context):
    def check(tls: TLSInfo) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())

    protected: list[bool] = []
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(url, ssl_context=unverified(), check_tls=check):
            pass
    assert protected == [False]
