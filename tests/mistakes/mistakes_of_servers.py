"""Servers that are not there, are something else, or do not want a WebSocket."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
import trio.testing
import wire
from mistakes import Place, situation
from network import Names
from scripted_server import Peer, Script, tls_of
from situations import reset


def says(answer: bytes) -> Script:
    """Read the request, and send an answer in which <accept> stands for the right key."""

    async def script(peer: Peer) -> None:
        request = await peer.read_request()
        key = wire.accept_key(request) if b"<accept>" in answer else ""
        await peer.send(answer.replace(b"<accept>", key.encode()))
        await peer.stream.aclose()

    return script


def greets(banner: bytes) -> Script:
    """Send a banner before anything is asked, as servers of other protocols do."""

    async def script(peer: Peer) -> None:
        await peer.send(banner)
        await peer.wait_eof()

    return script


def without_end(start: bytes, part: bytes) -> Script:
    """Send a start, then one part over and over until the client ends TCP."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(start)
        while True:
            await peer.send(part)

    return script


def served(title: str, script: Script, **options: Any) -> None:
    """Add a situation: a client that opens a connection to a server."""

    @situation(title)
    async def _(place: Place) -> None:
        await place.open(await place.serve(script), **options)


def response(status: str, *lines: str, body: str = "") -> bytes:
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]
    return ("\r\n".join(head) + body).encode()


def switching(
    *lines: str,
    upgrade: str = "Upgrade: websocket",
    connection: str = "Connection: Upgrade",
    accept: str = "Sec-WebSocket-Accept: <accept>",
) -> bytes:
    fields = [line for line in (upgrade, connection, accept, *lines) if line]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *fields, "", ""]).encode()


# Nobody is there


@situation("a port on which nobody listens")
async def _(place: Place) -> None:
    await place.open(f"ws://127.0.0.1:{place.unused_port()}/")


@situation("a name with two addresses, and nobody listens on either")
async def _(place: Place) -> None:
    Names({"server.example": ["127.0.0.2", "127.0.0.1"]})
    await place.open(f"ws://server.example:{place.unused_port()}/")


@situation("a host name that does not exist")
async def _(place: Place) -> None:
    Names({})
    await place.open("ws://sever.example/")


@situation("an address that can't be reached")
async def _(place: Place) -> None:
    await place.open("ws://255.255.255.255/")


@situation("a local_address that is not one of this machine")
async def _(place: Place) -> None:
    await place.open(f"ws://127.0.0.1:{place.unused_port()}/", local_address="192.0.2.1")


@situation("a Unix socket that does not exist")
async def _(place: Place) -> None:
    await place.open("ws://server.example/", unix_socket="/nowhere/ws.sock")


# TCP ends


async def ends_too_early(peer: Peer) -> None:
    """End TCP before all that has come is read: the system makes a reset of that."""
    await peer.stream.receive_some(1)
    await peer.stream.aclose()


served("a server that ends TCP before it has read the request", ends_too_early)
served("a server that resets TCP at once", reset)


async def _reads_and_ends(peer: Peer) -> None:
    await peer.read_request()
    await peer.stream.aclose()


served("a server that reads the request and ends TCP", _reads_and_ends)
served("a server that ends TCP within its response", says(b"HTTP/1.1 101 Switching Proto"))

# Other protocols

served("a ws URL for an SSH server", greets(b"SSH-2.0-OpenSSH_9.6\r\n"))
served("a ws URL for an SMTP server", greets(b"220 mail.example ESMTP Postfix\r\n"))
served(
    "a ws URL for a Redis server",
    says(b"-ERR wrong number of arguments for 'get' command\r\n"),
)
served(
    "a ws URL for a MySQL server",
    greets(b"\x5b\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00" + bytes(80)),
)
served(
    "a ws URL for a server of HTTP/2 only",
    greets(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64" + bytes(12)),
)
served("a ws URL for a server of HTTP/1.0", says(b"HTTP/1.0 101 OK\r\nUpgrade: websocket\r\n\r\n"))
served(
    "a ws URL for a server that only says HTTP/2 in letters", says(b"HTTP/2 101 Switching\r\n\r\n")
)


async def _sends_back(peer: Peer) -> None:
    await peer.send(await peer.read_request())
    await peer.wait_eof()


served("a ws URL for a server that echoes TCP", _sends_back)


@situation("a ws URL for a port of TLS")
async def _(place: Place) -> None:
    async def handshake(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):
            await peer.stream.do_handshake()
        await peer.stream.aclose()

    url = await place.serve(handshake, tls=tls_of(place.ca, "127.0.0.1"))
    await place.open(url.replace("wss:", "ws:"))


served("a ws URL for a port of TLS that answers by an alert", says(b"\x15\x03\x01\x00\x02\x02\x28"))
served(
    "a ws URL for a port of TLS of nginx",
    says(
        response(
            "400 Bad Request",
            "Content-Type: text/html",
            body="<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>",
        )
    ),
)
served(
    "a ws URL for a port of TLS of Go",
    says(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
)

# Another status

HTML = "<!DOCTYPE html>\n<html><head><title>{}</title></head><body>...</body></html>"

served("status 200 with a page", says(response("200 OK", body=HTML.format("Welcome"))))
served("status 204", says(b"HTTP/1.1 204 No Content\r\n\r\n"))
served("status 304", says(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
served("status 400 with a reason", says(response("400 Bad Request", body='{"error": "no token"}')))
served(
    "status 400 with a compressed body",
    says(response("400 Bad Request", "Content-Encoding: gzip", body="\x1f\x08")),
)
served(
    "status 401",
    says(response("401 Unauthorized", 'WWW-Authenticate: Bearer realm="api"', body="no token")),
)


@situation("status 401 that quotes the token")
async def _(place: Place) -> None:
    url = await place.serve(says(response("401 Unauthorized", body="bad token: s3cr3t-t0k3n")))
    await place.open(url, extra_headers={"Authorization": "Bearer s3cr3t-t0k3n"})


served("status 403", says(response("403 Forbidden", body="origin not allowed")))
served("status 404", says(response("404 Not Found", body=HTML.format("404 Not Found"))))
served("status 405", says(response("405 Method Not Allowed", "Allow: POST")))
served(
    "status 407 of a server",
    says(response("407 Proxy Authentication Required", "Proxy-Authenticate: Basic")),
)
served(
    "status 426 that wants another version",
    says(response("426 Upgrade Required", "Sec-WebSocket-Version: 8, 7")),
)
served(
    "status 426 that wants HTTP/2",
    says(response("426 Upgrade Required", "Upgrade: h2", "Connection: Upgrade")),
)
served(
    "status 429",
    says(response("429 Too Many Requests", "Retry-After: 30", body="10 connections a minute")),
)
served(
    "status 500", says(response("500 Internal Server Error", body="Traceback:\n  KeyError: 'x'\n"))
)
served("status 502", says(response("502 Bad Gateway", body=HTML.format("502 Bad Gateway"))))
served(
    "status 503",
    says(response("503 Service Unavailable", "Retry-After: 120", body="down for maintenance")),
)
served("status 520, without a reason phrase", says(b"HTTP/1.1 520\r\nContent-Length: 0\r\n\r\n"))
served("status 403 without a body's end", without_end(b"HTTP/1.1 403 No\r\n\r\n", b"no! " * 1000))

# Redirects

served(
    "a redirect", says(response("301 Moved Permanently", "Location: wss://server.example/v2?t=1"))
)
served("a redirect without a Location", says(response("302 Found")), max_redirects=5)
served(
    "a redirect to another scheme",
    says(response("302 Found", "Location: ftp://server.example/")),
    max_redirects=5,
)
served(
    "a redirect to an invalid URL",
    says(response("302 Found", "Location: ws://server.example:http/")),
    max_redirects=5,
)
served(
    "a redirect to a URL with a space",
    says(response("302 Found", "Location: /log in")),
    max_redirects=5,
)
served("a redirect to itself", says(response("302 Found", "Location: /")), max_redirects=2)
served(
    "a redirect by status 300",
    says(response("300 Multiple Choices", "Location: /a")),
    max_redirects=5,
)


@situation("a redirect from wss to ws")
async def _(place: Place) -> None:
    script = says(response("302 Found", "Location: ws://127.0.0.1/"))
    url = await place.serve(script, tls=tls_of(place.ca, "127.0.0.1"))
    await place.open(url, ssl_context=place.trusting, max_redirects=5)


@situation("a redirect to a port on which nobody listens")
async def _(place: Place) -> None:
    location = f"Location: ws://127.0.0.1:{place.unused_port()}/"
    await place.open(await place.serve(says(response("302 Found", location))), max_redirects=5)


# A 101 that is not right

OFFERS = {"subprotocols": ["chat", "superchat"]}

served(
    "another key in Sec-WebSocket-Accept",
    says(switching(accept="Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
)
served("no Sec-WebSocket-Accept", says(switching(accept="")))
served("no Upgrade", says(switching(upgrade="")))
served("another Upgrade", says(switching(upgrade="Upgrade: h2c")))
served("no Connection", says(switching(connection="")))
served("another Connection", says(switching(connection="Connection: keep-alive")))
served("a subprotocol that was not offered", says(switching("Sec-WebSocket-Protocol: mqtt")))
served(
    "another subprotocol than those offered",
    says(switching("Sec-WebSocket-Protocol: mqtt")),
    **OFFERS,
)
served(
    "all subprotocols that were offered",
    says(switching("Sec-WebSocket-Protocol: chat, superchat")),
    **OFFERS,
)
served(
    "an extension that was not offered",
    says(switching("Sec-WebSocket-Extensions: permessage-deflate")),
)
served(
    "another extension than the one offered",
    says(switching("Sec-WebSocket-Extensions: x-webkit-deflate-frame")),
    compression="deflate",
)


def deflates(title: str, params: str) -> None:
    script = says(switching(f"Sec-WebSocket-Extensions: permessage-deflate{params}"))
    served(title, script, compression="deflate")


deflates("an unknown parameter of permessage-deflate", "; level=9")
deflates("a window of permessage-deflate out of range", "; server_max_window_bits=20")
deflates("a window of permessage-deflate without a size", "; server_max_window_bits")
deflates("a value where permessage-deflate has none", "; server_no_context_takeover=1")
deflates("permessage-deflate twice", ", permessage-deflate")
deflates("an extension that breaks the grammar", "; =")

# A head that is not right

served("a header without a colon", says(switching("X-Name")))
served("a header with a space before its colon", says(switching("X-Name : value")))
served("a header with a NUL", says(switching("X-Name: a\0b")))
served("a status that is no number", says(b"HTTP/1.1 OK\r\n\r\n"))
served("two lengths", says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"))
served("too many headers", says(switching(*(f"X-{number}: x" for number in range(300)))))
served("headers without end", without_end(switching()[:-2], b"X-Name: value\r\n" * 100))
served("interim responses without end", without_end(b"", b"HTTP/1.1 103 Hints\r\n\r\n" * 100))


# Timeouts


async def pass_second() -> None:
    """Have the clock of the test pass a second, once all that was sent has been read."""
    await trio.testing.wait_all_tasks_blocked(0.01)
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(1)


async def never_answers(peer: Peer) -> None:
    await peer.stream.receive_some()
    await pass_second()
    await peer.wait_eof()


class HangingNames(Names):
    async def getaddrinfo(self, *_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_second)
            await trio.sleep_forever()


@situation("a name whose look-up never ends")
async def _(place: Place) -> None:
    HangingNames({})
    await place.open("ws://server.example/", open_timeout=1)


served("a server that never answers", never_answers, open_timeout=1)


async def _half_a_head(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    await pass_second()
    await peer.wait_eof()


served("a server that never ends its response", _half_a_head, open_timeout=1)


async def _half_a_body(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nnot for you")
    await pass_second()
    await peer.wait_eof()


served("a server that never ends the body of its rejection", _half_a_body, open_timeout=1)


@situation("a server that never answers to TLS")
async def _(place: Place) -> None:
    url = await place.serve(never_answers)
    await place.open(url.replace("ws:", "wss:"), ssl_context=place.trusting, open_timeout=1)
