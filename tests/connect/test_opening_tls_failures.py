"""wss that fails: at once, with an error that names the fault, and the socket is closed."""

from __future__ import annotations

import datetime as dt
import re
import ssl
from contextlib import suppress

import pytest
import trio
import trustme
from scripted_server import Peer, memory_server, tls_of
from situations import end, reset, scene

from trio_wsclient import HandshakeError, InvalidResponse, open_websocket_client

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


async def failed_opening(url: str, **options: object) -> HandshakeError:
    """Try to open what can't be opened, and return the error; it has to come within a second."""
    start = trio.current_time()
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client(url, **options):
            pytest.fail("it is not open")
    assert trio.current_time() - start < 1
    assert str(caught.value).isprintable()
    return caught.value


# Certificates


@pytest.mark.parametrize(
    ("make_context", "fault"),
    [
        (lambda _: tls_of(trustme.CA(), "127.0.0.1"), "unable to get local issuer certificate"),
        (lambda ca: tls_of(ca, "other.example"), "IP address mismatch"),
        (lambda ca: tls_of(ca, "127.0.0.1", not_after=PAST), "certificate has expired"),
    ],
    ids=["unknown CA", "wrong host", "expired"],
)
async def test_bad_certificate_fails_at_once_and_is_named(
    ca, client_ssl_context, make_context, fault
):
    async with scene(Peer.wait_eof, ssl_context=make_context(ca)) as server:
        error = await failed_opening(server.url, ssl_context=client_ssl_context)
        assert await server.seen() == b"", "something was sent to a server that is not it"
    assert fault in str(error)
    is_other_name = "mismatch" in fault
    assert ("its certificate is for another name (" in str(error)) == is_other_name
    assert str(error).endswith("; see server_hostname") == is_other_name
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_bad_certificate_fails_at_once(ca, client_ssl_context, autojump_clock):
    context = tls_of(ca, "other.example")

    async def server(peer: Peer) -> None:
        tls = trio.SSLStream(peer.stream, context, server_side=True, https_compatible=True)
        await Peer(tls).wait_eof()

    async with memory_server(server) as stream:
        start = trio.current_time()
        error = await failed_opening(
            "wss://server.example/", stream=stream, ssl_context=client_ssl_context
        )
        assert trio.current_time() == start
    assert "Hostname mismatch" in str(error)
    assert "server.example" in str(error)


async def test_server_hostname_that_the_certificate_does_not_name_fails(
    server_ssl_context, client_ssl_context
):
    async with scene(Peer.wait_eof, ssl_context=server_ssl_context) as server:
        error = await failed_opening(
            server.url, server_hostname="chat.example", ssl_context=client_ssl_context
        )
    assert "Hostname mismatch, certificate is not valid for 'chat.example'" in str(error)


async def test_host_that_no_certificate_can_name_fails():
    class Refuses(ssl.SSLContext):
        """It refuses every name, as another version of Python may refuse more of them."""

        def wrap_bio(self, *args: object, **kwargs: object) -> ssl.SSLObject:
            raise ValueError("not a name")

    async with scene(Peer.wait_eof) as server:
        error = await failed_opening(
            server.url.replace("ws:", "wss:"), ssl_context=Refuses(ssl.PROTOCOL_TLS_CLIENT)
        )
        assert await server.seen() == b""
    text = "no TLS with 127.0.0.1: it can't be the name in a certificate; see server_hostname"
    assert str(error) == text
    assert isinstance(error.__cause__, ValueError)


# What else can go wrong


async def test_ws_to_a_port_of_tls_fails_cleanly(server_ssl_context):
    async def server(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):
            await peer.stream.do_handshake()
        await peer.stream.aclose()

    async with scene(server, ssl_context=server_ssl_context) as stage:
        error = await failed_opening(stage.url.replace("wss:", "ws:"))
        await stage.seen()
    assert isinstance(error, InvalidResponse)


ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"  # RFC 8446 §6: fatal, unexpected_message


async def test_ws_to_a_port_of_tls_that_says_so_fails_cleanly():
    async def server(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(ALERT)
        await peer.wait_eof()

    async with memory_server(server) as stream:
        error = await failed_opening("ws://server/", stream=stream)
    assert isinstance(error, InvalidResponse)
    assert "not HTTP/1.1" in str(error)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", bytes(1000)],
    ids=["HTTP", "SSH", "zeros"],
)
async def test_wss_to_a_port_without_tls_fails_cleanly(client_ssl_context, answer):
    async def server(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(answer)
        await peer.wait_eof()

    async with scene(server) as stage:
        url = stage.url.replace("ws:", "wss:")
        error = await failed_opening(url, ssl_context=client_ssl_context)
        await stage.seen()
    assert str(error) == (
        "no TLS with 127.0.0.1: wrong version number: the server does not speak TLS; "
        "is the scheme right?"
    )
    assert isinstance(error.__cause__, ssl.SSLError)


@pytest.mark.parametrize("hears_first", [False, True], ids=["at once", "after the hello"])
@pytest.mark.parametrize(
    ("how", "fault"),
    [(end, "the server ended TCP|reset|Broken pipe"), (reset, "reset|Broken pipe")],
    ids=["end", "reset"],
)
async def test_tcp_that_ends_within_tls_is_an_error_that_says_so(
    client_ssl_context, how, fault, hears_first
):
    """After a normal end, a hello that comes too late may still reset TCP."""

    async def server(peer: Peer) -> None:
        if hears_first:
            await peer.stream.receive_some()
        await how(peer)

    async with scene(server) as stage:
        url = stage.url.replace("ws:", "wss:")
        error = await failed_opening(url, ssl_context=client_ssl_context)
        await stage.seen()
    assert re.fullmatch(f"no TLS with 127.0.0.1: .*({fault}).*", str(error))
    assert isinstance(error.__cause__, OSError)  # ssl.SSLError is one


async def test_refused_client_certificate_is_named(ca, client_ssl_context, autojump_clock):
    """TLS 1.3: the server's alert comes when the client's handshake is done already."""
    context = tls_of(ca, "server.example")
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
            except ssl.SSLError as error:
                refused = error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
            await peer.send(outgoing.read())
        await peer.wait_eof()

    async with memory_server(server) as stream:
        error = await failed_opening(
            "wss://server.example/", stream=stream, ssl_context=client_ssl_context
        )
    assert str(error).endswith(
        "certificate required: the server wants a client certificate; see ssl_context"
    )
    assert isinstance(error.__cause__, ssl.SSLError)
