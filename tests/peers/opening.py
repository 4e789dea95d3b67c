"""Checks of E11, E13, E15, E16: opening."""

from __future__ import annotations

import datetime as dt
import re
import ssl

import situations
import trio
import trustme
from situations import Script, scene

from peers.check import check, expect, fault, name, step
from peers.library import Library

TRUSTED_CA = trustme.CA()


async def rejection(library: Library, url: str, **options) -> tuple[BaseException | None, float]:
    """Fail to open; return with what, and after how many seconds."""
    start = trio.current_time()
    step("opening")
    try:
        async with library.connect(url, **options):
            fault("opened")
            step("leaving the block")
    except Exception as exc:
        return exc, trio.current_time() - start
    return None, trio.current_time() - start


@check("E11", "TCP ends during the opening handshake")
async def _(library: Library) -> None:
    async with scene(situations.ends_in_handshake(b"")) as server:
        exc, seconds = await rejection(library, server.url, open_timeout=4)
        expect(seconds < 2, f"waits for the whole open timeout, then {name(exc)}")


@check("E13", "IPv6 literal")
async def _(library: Library) -> None:
    trio.open_tcp_stream = situations.open_ipv6_as_ipv4
    async with scene(situations.accepts) as server:
        port = re.sub(r"\D", "", server.url.rpartition(":")[2])
        async with library.connect(f"ws://[::1]:{port}/"):
            step("leaving the block")
        request = (await server.seen()).decode().replace(port, "8080")
    host = re.search("(?im)^host: *([^\r]*)", request)
    expect(host[1] == "[::1]:8080", f"Host: {host[1]}")


async def endless(library: Library, script: Script[object]) -> None:
    async with scene(script) as server:
        exc, seconds = await rejection(library, server.url, open_timeout=1)
        expect(seconds < 3, f"{name(exc)} after {seconds:.0f} s")
        with trio.move_on_after(2) as scope:
            await server.seen()
        expect(not scope.cancelled_caught, "the socket leaks")


@check("E15, silent", "the handshake is never answered")
async def _(library: Library) -> None:
    await endless(library, situations.is_silent)


@check("E15, slow", "the handshake is answered a byte at a time")
async def _(library: Library) -> None:
    await endless(library, situations.drips(b"HTTP/1.1 101 Ok\r\nX: ", b"x", 0.1))


@check("E15, body", "a rejection has an endless body")
async def _(library: Library) -> None:
    await endless(library, situations.refuses_without_end)


async def bad_certificate(library: Library, ca: trustme.CA, host: str, **kwargs) -> None:
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host, **kwargs).configure_cert(server_context)
    client_context = ssl.create_default_context()
    TRUSTED_CA.configure_trust(client_context)
    async with scene(situations.is_silent, ssl_context=server_context) as server:
        exc, seconds = await rejection(
            library, server.url, ssl_context=client_context, open_timeout=3
        )
        told = exc
        while told is not None and not isinstance(told, ssl.SSLCertVerificationError):
            told = told.__cause__ or told.__context__
        expect(told is not None, f"a bare {name(exc)}")
        expect(seconds < 2, f"after {seconds:.0f} s")


@check("E16, CA", "TLS: unknown CA")
async def _(library: Library) -> None:
    await bad_certificate(library, trustme.CA(), "127.0.0.1")


@check("E16, host", "TLS: wrong host")
async def _(library: Library) -> None:
    await bad_certificate(library, TRUSTED_CA, "other.example")


@check("E16, time", "TLS: expired certificate")
async def _(library: Library) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    await bad_certificate(library, TRUSTED_CA, "127.0.0.1", not_after=past)
