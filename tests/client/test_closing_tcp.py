"""The end of TCP and of TLS: which side ends it, and what it means (RFC 6455 §7.1)."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, Script, memory_server

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)


class SlowToEnd:
    """A script that exchanges Close frames, and ends TCP some seconds later."""

    def __init__(self, seconds: float, *, begins: bool) -> None:
        self.seconds = seconds
        self.begins = begins
        self.was_first = False

    async def __call__(self, peer: Peer) -> None:
        await peer.accept()
        if self.begins:
            await peer.send(wire.close(1000))
        code = await peer.expect_close()
        if not self.begins:
            await peer.send(wire.close(code))
        await trio.sleep(min(self.seconds, 10))
        try:
            await peer.send(wire.ping())
            self.was_first = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.was_first = False
        await peer.stream.aclose()


@pytest.mark.parametrize("begins", [False, True], ids=["our Close first", "the server's first"])
@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (2, 2), (math.inf, 3)])
async def test_server_may_end_tcp_within_close_timeout_after_both_closes(
    begins, seconds, expected, autojump_clock
):
    """RFC 6455 §7.1.1."""
    server = SlowToEnd(seconds, begins=begins)
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=3) as ws:
            if begins:
                await ws.wait_closed()
            started = trio.current_time()
        assert trio.current_time() - started == pytest.approx(expected)
    assert server.was_first == (seconds < 3)


async def test_tcp_closes_within_close_timeout_while_the_block_goes_on(
    autojump_clock,
):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=2) as (ws, _):
        await server.peer.send(wire.close())
        assert (await ws.wait_closed()).code == 1000
        started = trio.current_time()
        await server.eof.wait()
        assert trio.current_time() - started == pytest.approx(2)


# TLS


@asynccontextmanager
async def tls_server(
    script: Script, context: ssl.SSLContext, *, notifies: bool
) -> AsyncIterator[trio.abc.Stream]:
    """Run a script over TLS that ends with close_notify, or without (RFC 8446 §6.1)."""

    async def over_tls(peer: Peer) -> None:
        stream = trio.SSLStream(
            peer.stream, context, server_side=True, https_compatible=not notifies
        )
        await script(Peer(stream))

    async with memory_server(over_tls) as stream:
        yield stream


@pytest.mark.parametrize("notifies", [True, False])
@pytest.mark.parametrize("begins", [False, True], ids=["our Close first", "the server's first"])
async def test_behind_both_closes_tls_may_end_without_close_notify(
    notifies, begins, server_ssl_context, client_ssl_context, autojump_clock
):
    server = SlowToEnd(0, begins=begins)
    async with tls_server(server, server_ssl_context, notifies=notifies) as stream:
        async with open_websocket_client(
            "wss://localhost/", stream=stream, ssl_context=client_ssl_context
        ) as ws:
            if begins:
                await ws.wait_closed()
            started = trio.current_time()
        assert trio.current_time() == started
        assert await ws.wait_closed() == CloseFrame(1000)
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


@pytest.mark.parametrize("notifies", [True, False])
async def test_end_of_tls_is_the_same_error_as_end_of_tcp(
    notifies, server_ssl_context, client_ssl_context, autojump_clock
):
    async def leaves(peer: Peer) -> None:
        await peer.accept(behind=wire.text("last"))
        await peer.stream.aclose()

    async with tls_server(leaves, server_ssl_context, notifies=notifies) as stream:
        async with open_websocket_client(
            "wss://localhost/", stream=stream, ssl_context=client_ssl_context
        ) as ws:
            assert await ws.receive() == "last"
            with pytest.raises(
                ConnectionClosedError, match="no Close frame: the stream ended"
            ) as caught:
                await ws.receive()
    assert caught.value.code == 1006
    assert isinstance(caught.value.__cause__, EOFError)
