"""Answers that are wrong: each one clear error, and the socket is closed after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import wire
from scripted_server import Peer
from situations import Script, scene

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    InvalidResponse,
    open_websocket_client,
)

BOUND = 10  # seconds for what takes a fraction of one


async def failed_opening(script: Script[object], **options: object) -> HandshakeError:
    """Run a script that ends when the client has closed the socket, and return the error."""
    with trio.fail_after(BOUND):
        async with scene(script) as server:
            with pytest.raises(HandshakeError) as caught:
                async with open_websocket_client(server.url, open_timeout=None, **options):
                    pytest.fail("it is not open")
            await server.seen()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return caught.value


def answers(make: Callable[[bytes], bytes]) -> Script[None]:
    """Answer with what is made of the request, and wait for the client to end TCP."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(make(peer.request))
        assert await peer.wait_eof() == b""

    return script


# A 101 that RFC 6455 §4.1 does not allow


def without(name: str) -> Callable[[bytes], bytes]:
    line = re.compile(rf"(?im)^{name}:.*\r\n".encode())
    return lambda request: line.sub(b"", wire.answer(request))


def with_value(name: str, value: str) -> Callable[[bytes], bytes]:
    line = re.compile(rf"(?im)^({name}):.*\r\n".encode())
    return lambda request: line.sub(rb"\1: " + value.encode() + b"\r\n", wire.answer(request))


def adding(*lines: str) -> Callable[[bytes], bytes]:
    return lambda request: wire.answer(request, *lines)


def twice_accepted(request: bytes) -> bytes:
    return wire.answer(request, f"Sec-WebSocket-Accept: {wire.accept_key(request)}")


def accepted_in_another_case(request: bytes) -> bytes:
    accept = wire.accept_key(request)
    return wire.answer(request).replace(accept.encode(), accept.swapcase().encode())


def http_1_0(request: bytes) -> bytes:
    return wire.answer(request).replace(b"HTTP/1.1", b"HTTP/1.0")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (http_1_0, "status 101 by HTTP/1.0; it has to be HTTP/1.1"),
        (without("Upgrade"), "header Upgrade is missing; it has to be websocket"),
        (with_value("Upgrade", "h2c"), "header Upgrade is 'h2c'"),
        (with_value("Upgrade", "websocket, h2c"), "header Upgrade is 'websocket, h2c'"),
        (adding("Upgrade: websocket"), "header Upgrade is 'websocket' and 'websocket'"),
        (without("Connection"), "header Connection is missing; it has to be Upgrade"),
        (with_value("Connection", "close"), "header Connection is 'close'"),
        (with_value("Connection", "Upgraded"), "header Connection is 'Upgraded'"),
        (without("Sec-WebSocket-Accept"), "header Sec-WebSocket-Accept is missing"),
        (with_value("Sec-WebSocket-Accept", "x"), "header Sec-WebSocket-Accept is 'x'"),
        (with_value("Sec-WebSocket-Accept", ""), "header Sec-WebSocket-Accept is ''"),
        (accepted_in_another_case, "header Sec-WebSocket-Accept is '"),
        (twice_accepted, "header Sec-WebSocket-Accept is '"),
        (adding("Sec-WebSocket-Extensions: x"), "Sec-WebSocket-Extensions: 'x' was not offered"),
        (
            adding("Sec-WebSocket-Extensions: permessage-deflate"),
            "Sec-WebSocket-Extensions: 'permessage-deflate' was not offered",
        ),
        (adding("Sec-WebSocket-Protocol: a"), "header Sec-WebSocket-Protocol is 'a'"),
        (adding("Sec-WebSocket-Protocol:"), "header Sec-WebSocket-Protocol is ''"),
        (adding(*["X: y"] * 300), "more than 256 response headers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_wrong_101_is_an_invalid_response_that_names_the_fault(make, fault):
    error = await failed_opening(answers(make))
    assert isinstance(error, InvalidResponse)
    assert fault in str(error)


@pytest.mark.parametrize("chosen", ["c", "A", "a, b", "a\r\nSec-WebSocket-Protocol: b", ""])
async def test_subprotocol_has_to_be_one_of_those_offered(chosen):
    error = await failed_opening(
        answers(adding(f"Sec-WebSocket-Protocol: {chosen}")), subprotocols=["a", "b"]
    )
    assert isinstance(error, InvalidResponse)
    assert str(error).endswith("it has to be exactly one of those offered")


async def test_connection_may_be_a_list_over_several_fields():
    """RFC 9110 §7.6.1: that field is a list, unlike the others."""

    async def script(peer: Peer) -> None:
        await peer.accept("Connection: keep-alive, x")
        await peer.close_politely()

    async with scene(script) as server, open_websocket_client(server.url):
        pass


# What is not HTTP/1.1, or has no end


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"<!DOCTYPE html>\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\r\n\r\n",
        bytes(range(256)) * 8,
        "HTTP/1.1 101 Schaltstörung\r\nÜ: Ü\r\n\r\n".encode(),
        b"HTTP/2 101\r\n\r\n",
        b"HTTP/1.1 1O1 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: \x00\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=[
        "SSH",
        "empty lines",
        "HTML",
        "TLS alert",
        "HTTP/2 settings",
        "every byte",
        "a name outside ASCII",
        "HTTP/2 in letters",
        "letter O in the status",
        "no colon",
        "NUL",
        "space before the colon",
        "no length",
        "two lengths",
    ],
)
async def test_junk_is_an_invalid_response(junk):
    error = await failed_opening(answers(lambda _: junk))
    assert isinstance(error, InvalidResponse)
    assert str(error).startswith("not HTTP/1.1: ")


def without_end(start: bytes, part: bytes) -> Script[None]:
    """Send a start, then one part over and over until the client ends TCP."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        with suppress(trio.BrokenResourceError):
            await peer.send(start)
            while True:
                await peer.send(part)

    return script


STATUS = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(
    ("start", "part", "limit"),
    [
        (STATUS, b"X: y\r\n" * 100, "more than 256"),
        (STATUS + b"X: ", b"y" * 1000, "more than 65536 bytes of"),
        (STATUS + b"X: ", b"y," * 1000, "more than 2048 commas in the"),
        (b"HTTP/1.1 101 ", b"Switching " * 100, "more than 65536 bytes of"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, "more than 65536 bytes of"),
        (b"HTTP/1.1 403 Forbidden\r\n", b"X: y\r\n" * 100, "more than 256"),
    ],
    ids=["headers", "header", "commas", "status line", "interim answers", "rejection"],
)
async def test_head_without_end_is_an_invalid_response(start, part, limit):
    error = await failed_opening(without_end(start, part))
    assert isinstance(error, InvalidResponse)
    assert f"{limit} response headers" in str(error)


# Another status


@pytest.mark.parametrize(
    ("status_code", "head", "rest", "body"),
    [
        (401, b"HTTP/1.1 401 Unauthorized", b"Content-Length: 2\r\n\r\nno", b"no"),
        (302, b"HTTP/1.1 302 Found", b"Location: /\r\nContent-Length: 0\r\n\r\n", b""),
        (204, b"HTTP/1.1 204 No Content", b"\r\n", b""),
        (426, b"HTTP/1.1 426 Upgrade Required", b"Upgrade: h2c\r\nContent-Length: 0\r\n\r\n", b""),
        (403, b"HTTP/1.0 403 Forbidden", b"Content-Length: 1\r\n\r\nx", b"x"),
        (500, b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 500 Oops", b"Content-Length: 1\r\n\r\nx", b"x"),
        (200, b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
        (503, b"HTTP/1.1 503 Busy", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\njunk\r\n", b"x"),
    ],
    ids=["401", "302", "204", "426", "HTTP/1.0", "500 after 103", "chunks", "broken chunks"],
)
async def test_another_status_is_a_rejection_with_status_headers_and_body(
    status_code, head, rest, body
):
    error = await failed_opening(answers(lambda _: head + b"\r\nX-A: 1\r\n" + rest))
    assert isinstance(error, ConnectionRejected)
    assert error.status_code == status_code
    assert f"HTTP status {status_code} {error.reason_phrase}" in str(error)
    assert head.decode().endswith(f"{status_code} {error.reason_phrase}")
    assert not body or str(error).endswith(f": '{body.decode()}'")
    assert error.headers["x-a"] == "1"
    assert error.body == body


async def test_of_an_endless_body_64_kib_are_kept():
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000000000\r\n\r\n"
    error = await failed_opening(without_end(head, b"0123456789abcdef" * 1000))
    assert isinstance(error, ConnectionRejected)
    assert error.body == b"0123456789abcdef" * 4096


PLAIN_TO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


async def test_wss_is_advised_where_the_rejection_is_about_tls():
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(PLAIN_TO_TLS)
        await peer.stream.aclose()

    error = await failed_opening(script)
    assert isinstance(error, ConnectionRejected)
    assert error.problem == "does the server want wss?"
    assert str(error) == (
        "the server refused the WebSocket: HTTP status 400 Bad Request (does the server want wss?):"
        " 'Client sent an HTTP request to an HTTPS server.'"
    )
