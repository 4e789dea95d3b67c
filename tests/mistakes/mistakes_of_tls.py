"""Certificates, versions and protocols of TLS that do not fit."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Any

import trustme
from mistakes import Place, situation
from mistakes_of_servers import greets
from network import Names
from scripted_server import Peer, Script, tls_of
from situations import end, reset

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


async def open_to(place: Place, tls: ssl.SSLContext, **options: Any) -> None:
    """Open a connection to a server with this TLS, trusting the CA of the place."""
    url = place.serve_tls(tls)
    await place.open(url, **{"ssl_context": place.trusting, **options})


# The server's certificate


@situation("a certificate of an unknown CA")
async def _(place: Place) -> None:
    await open_to(place, tls_of(trustme.CA(), "127.0.0.1"))


@situation("a self-signed certificate")
async def _(place: Place) -> None:
    await open_to(place, _self_signed())


def _self_signed() -> ssl.SSLContext:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = trustme.Blob(ca.private_key_pem.bytes() + ca.cert_pem.bytes())
    with pem.tempfile() as path:
        context.load_cert_chain(path)
    return context


@situation("a certificate of an unknown CA, with the default ssl_context")
async def _(place: Place) -> None:
    await open_to(place, tls_of(place.ca, "127.0.0.1"), ssl_context=None)


@situation("a certificate that has expired")
async def _(place: Place) -> None:
    await open_to(place, tls_of(place.ca, "127.0.0.1", not_after=PAST))


@situation("a certificate for another address")
async def _(place: Place) -> None:
    await open_to(place, tls_of(place.ca, "server.example"))


@situation("a certificate for another name")
async def _(place: Place) -> None:
    Names({"other.example": ["127.0.0.1"]})
    url = place.serve_tls(tls_of(place.ca, "server.example"))
    await place.open(url.replace("127.0.0.1", "other.example"), ssl_context=place.trusting)


@situation("a certificate for another name than server_hostname")
async def _(place: Place) -> None:
    await open_to(place, tls_of(place.ca, "127.0.0.1"), server_hostname="server.example")


@situation("a server_hostname that begins with a dot")
async def _(place: Place) -> None:
    await open_to(place, tls_of(place.ca, "127.0.0.1"), server_hostname=".example")


# The client's certificate


def wants_certificate(place: Place, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = tls_of(place.ca, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    place.ca.configure_trust(context)
    return context


@situation("a client certificate is missing, with TLS 1.3")
async def _(place: Place) -> None:
    await open_to(place, wants_certificate(place, ssl.TLSVersion.TLSv1_3))


@situation("a client certificate is missing, with TLS 1.2")
async def _(place: Place) -> None:
    await open_to(place, wants_certificate(place, ssl.TLSVersion.TLSv1_2))


@situation("a client certificate of a CA that the server does not know")
async def _(place: Place) -> None:
    trusting = place.trusting
    trustme.CA().issue_cert("client@server.example").configure_cert(trusting)
    tls = wants_certificate(place, ssl.TLSVersion.TLSv1_3)
    await open_to(place, tls, ssl_context=trusting)


# Versions and protocols


@situation("a server with TLS 1.2 only, for a client with TLS 1.3 only")
async def _(place: Place) -> None:
    tls, trusting = tls_of(place.ca, "127.0.0.1"), place.trusting
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    trusting.minimum_version = ssl.TLSVersion.TLSv1_3
    await open_to(place, tls, ssl_context=trusting)


@situation("no cipher that both have")
async def _(place: Place) -> None:
    tls, trusting = tls_of(place.ca, "127.0.0.1"), place.trusting
    for context, ciphers in ((tls, "AES128-GCM-SHA256"), (trusting, "AES256-GCM-SHA384")):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    await open_to(place, tls, ssl_context=trusting)


@situation("an ssl_context that offers h2 by ALPN, and a server that takes it")
async def _(place: Place) -> None:
    tls, trusting = tls_of(place.ca, "127.0.0.1"), place.trusting
    tls.set_alpn_protocols(["h2", "http/1.1"])
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    await open_to(place, tls, ssl_context=trusting)


@situation("a server that does not know the name in SNI")
async def _(place: Place) -> None:
    tls = tls_of(place.ca, "server.example")
    tls.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    await open_to(place, tls, server_hostname="server.example")


# No TLS at all


def plain(title: str, script: Script) -> None:
    @situation(title)
    async def _(place: Place) -> None:
        url = await place.serve(script)
        await place.open(url.replace("ws:", "wss:"), ssl_context=place.trusting)


async def _says_bad_request(peer: Peer) -> None:
    await peer.stream.receive_some()
    await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await peer.wait_eof()


async def hears_and(peer: Peer, what: Script) -> None:
    await peer.stream.receive_some()
    await what(peer)


plain("a wss URL for a server of ws", _says_bad_request)
plain("a wss URL for an SSH server", greets(b"SSH-2.0-OpenSSH_9.6\r\n"))
plain("a server that ends TCP within TLS", lambda peer: hears_and(peer, end))
plain("a server that resets TCP within TLS", lambda peer: hears_and(peer, reset))
