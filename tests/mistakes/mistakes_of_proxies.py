"""Proxies that are not there, are none, or refuse."""

from __future__ import annotations

import os
import ssl
from typing import Any
from unittest import mock

import trustme
from mistakes import Place, situation
from mistakes_of_servers import ends_too_early, greets, never_answers, response, says
from mistakes_of_tls import hears_and, wants_certificate
from network import Names
from scripted_proxy import HTTPProxy, SOCKSProxy, as_proxy
from scripted_server import Peer, Script, tls_of
from situations import end

from trio_wsclient import Proxy

TARGET = "ws://server.example/"


def through(title: str, script: Script, scheme: str = "http", **more: Any) -> None:
    """Add a situation: a client that opens a connection through a proxy."""
    userinfo = more.pop("userinfo", "")

    @situation(title)
    async def _(place: Place) -> None:
        proxy = as_proxy(await place.serve(script), scheme, userinfo)
        await place.open(TARGET, proxy=proxy, **more)


# It is not there


@situation("a proxy's port on which nobody listens")
async def _(place: Place) -> None:
    await place.open(TARGET, proxy=f"http://127.0.0.1:{place.unused_port()}")


@situation("a proxy's name that does not exist")
async def _(place: Place) -> None:
    Names({})
    await place.open(TARGET, proxy="http://porxy.example:8080")


@situation("a variable http_proxy that is no URL")
async def _(place: Place) -> None:
    place.enter(
        mock.patch.dict(os.environ, {"http_proxy": "http://proxy.example:http"}, clear=True)
    )
    await place.open(TARGET, proxy="environment")


@situation("a variable all_proxy with another kind of proxy")
async def _(place: Place) -> None:
    place.enter(mock.patch.dict(os.environ, {"all_proxy": "socks4://proxy.example"}, clear=True))
    await place.open(TARGET, proxy="environment")


# By HTTP

through(
    "a proxy that wants a password",
    says(
        response(
            "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="corp"', body="no"
        )
    ),
)
through(
    "a proxy that does not take the password",
    says(response("407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="corp"')),
    userinfo="user:wrong-password@",
)
through(
    "a proxy that wants NTLM",
    says(response("407 Proxy Authentication Required", "Proxy-Authenticate: NTLM")),
    userinfo="user:password@",
)
through(
    "a proxy that does not allow the host",
    says(response("403 Forbidden", body="server.example is not on the list")),
)
through(
    "a proxy that does not reach the host",
    says(response("502 Bad Gateway", body="server.example: connection refused")),
)
through("a proxy that takes too long", says(response("504 Gateway Timeout")))
through("a web server instead of a proxy", says(response("405 Method Not Allowed", "Allow: GET")))
through("a proxy that ends TCP before it has read the request", ends_too_early)
through("a proxy that speaks SSH", greets(b"SSH-2.0-OpenSSH_9.6\r\n"))
through("an http proxy that speaks SOCKS", says(b"\x05\xff"))
through("an http proxy that speaks TLS", says(b"\x15\x03\x01\x00\x02\x02\x28"))
through("a proxy without end of its headers", says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000))


async def _to_a_wall(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await peer.stream.receive_some()
    await peer.stream.aclose()


through("a proxy whose tunnel ends at once", _to_a_wall)

# By HTTP over TLS


@situation("an https proxy with a certificate of an unknown CA")
async def _(place: Place) -> None:
    url = await place.serve(HTTPProxy(), tls=tls_of(trustme.CA(), "127.0.0.1"))
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("an https proxy with a certificate for another name")
async def _(place: Place) -> None:
    url = await place.serve(HTTPProxy(), tls=tls_of(place.ca, "proxy.example"))
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("an https proxy that wants a client certificate")
async def _(place: Place) -> None:
    url = place.serve_tls(wants_certificate(place, ssl.TLSVersion.TLSv1_3))
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("an https proxy that does not know the name in SNI")
async def _(place: Place) -> None:
    tls = tls_of(place.ca, "127.0.0.1")
    tls.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    url = place.serve_tls(tls).replace("127.0.0.1", "localhost")
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("an https proxy that takes h2 by ALPN")
async def _(place: Place) -> None:
    tls, trusting = tls_of(place.ca, "127.0.0.1"), place.trusting
    for context in (tls, trusting):
        context.set_alpn_protocols(["h2"])
    url = place.serve_tls(tls)
    await place.open(TARGET, proxy=Proxy(as_proxy(url, "https"), ssl_context=trusting))


@situation("an https proxy that ends TCP within TLS")
async def _(place: Place) -> None:
    url = await place.serve(lambda peer: hears_and(peer, end))
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("an https proxy that speaks no TLS")
async def _(place: Place) -> None:
    url = await place.serve(greets(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    await place.open(TARGET, proxy=_with_trust(place, as_proxy(url, "https")))


@situation("a server with an untrusted certificate, through a proxy")
async def _(place: Place) -> None:
    url = await place.serve(Peer.wait_eof, tls=tls_of(trustme.CA(), "127.0.0.1"))
    proxy = as_proxy(await place.serve(HTTPProxy()))
    await place.open(url, proxy=proxy, ssl_context=place.trusting)


def _with_trust(place: Place, url: str) -> Proxy:
    return Proxy(url, ssl_context=place.trusting)


# By SOCKS


def replies(data: bytes) -> Script:
    """Take any greeting, and answer the request with these bytes."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(b"\x05\x00")
        await peer.stream.receive_some()
        await peer.send(data)
        await peer.wait_eof()

    return script


for code, reason in enumerate(
    (
        "a general failure",
        "not allowed",
        "network unreachable",
        "host unreachable",
        "connection refused",
        "TTL expired",
        "command not supported",
        "address type not supported",
        "a code that RFC 1928 does not have",
    ),
    1,
):
    through(
        f"a SOCKS proxy refuses: {reason}", replies(bytes([5, code, 0, 1]) + bytes(6)), "socks5h"
    )


def greets_with(data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(data)
        await peer.wait_eof()

    return script


through("a SOCKS proxy that wants a password", greets_with(b"\x05\xff"), "socks5h")
through(
    "a SOCKS proxy that wants more than a password",
    greets_with(b"\x05\xff"),
    "socks5h",
    userinfo="user:password@",
)
through("a SOCKS proxy that chooses what was not offered", greets_with(b"\x05\x01"), "socks5h")


async def _refuses_password(peer: Peer) -> None:
    await peer.stream.receive_some()
    await peer.send(b"\x05\x02")
    await peer.stream.receive_some()
    await peer.send(b"\x01\x01")
    await peer.wait_eof()


through(
    "a SOCKS proxy that does not take the password",
    _refuses_password,
    "socks5h",
    userinfo="user:wrong-password@",
)
through(
    "a socks5h proxy that speaks HTTP",
    greets_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "socks5h",
)
through("a socks5h proxy that speaks SSH", greets(b"SSH-2.0-OpenSSH_9.6\r\n"), "socks5h")
through("a socks5h proxy that speaks SOCKS4", greets_with(b"\x00\x5b" + bytes(6)), "socks5h")
through("a socks5h proxy that speaks TLS", greets_with(b"\x15\x03\x01\x00\x02\x02\x28"), "socks5h")
through("a SOCKS proxy that ends TCP before it has read all", ends_too_early, "socks5h")


@situation("a socks5 proxy, and a name that does not exist")
async def _(place: Place) -> None:
    Names({})
    proxy = as_proxy(await place.serve(SOCKSProxy()), "socks5")
    await place.open("ws://sever.example/", proxy=proxy)


# Timeouts

through("an http proxy that never answers", never_answers, open_timeout=1)
through("a SOCKS proxy that never answers", never_answers, "socks5h", open_timeout=1)
through("an https proxy that never answers to TLS", never_answers, "https", open_timeout=1)
