"""permessage-deflate with the servers that have it, and with each of its parameters."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import ServerConnection, serve

from trio_wsclient import PerMessageDeflate, open_websocket_client

from .conftest import CASE_TIMEOUT, Connect

MESSAGES = ["", "short", "x" * 255, "lorem ipsum " * 1000, bytes(range(100)) * 1000, "wörld" * 999]


async def test_server_compresses_both_ways(connect: Connect) -> None:
    async with connect("/echo", compression="deflate") as ws:
        assert ws.extensions == ("permessage-deflate",)
        for message in MESSAGES * 2:
            await ws.send(message)
            assert await ws.receive() == message
        statistics = ws.statistics()
    size = 2 * sum(len(message) for message in MESSAGES)
    assert statistics.bytes_sent < size / 10
    assert statistics.bytes_received < size / 2


@contextmanager
def deflating(factory: ServerPerMessageDeflateFactory) -> Iterator[tuple[str, list[str]]]:
    """Run a server that echoes; gives its URL, and what it has negotiated."""
    negotiated = []

    def echo(ws: ServerConnection) -> None:
        negotiated.extend(repr(extension) for extension in ws.protocol.extensions)
        try:
            for message in ws:
                ws.send(message)
        except ConnectionClosed:
            pass

    with serve(echo, "127.0.0.1", 0, extensions=[factory]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/", negotiated
        finally:
            server.shutdown()
            thread.join(CASE_TIMEOUT)


TAKEOVERS = list(itertools.product([False, True], repeat=2))
# The server can't compress with a window of 8 bits, and would decline.
WINDOWS = list(itertools.product([None, 9, 12, 15], [None, 8, 9, 12, 15]))


@pytest.mark.parametrize(("server_no", "client_no"), TAKEOVERS)
@pytest.mark.parametrize(("server_bits", "client_bits"), WINDOWS)
@pytest.mark.parametrize("asks", ["the client", "the server"])
async def test_each_parameter(
    server_bits: int | None, client_bits: int | None, server_no: bool, client_no: bool, asks: str
) -> None:
    if asks == "the client":
        factory = ServerPerMessageDeflateFactory()
        settings = PerMessageDeflate(
            server_max_window_bits=server_bits or 15,
            client_max_window_bits=client_bits or 15,
            server_no_context_takeover=server_no,
            client_no_context_takeover=client_no,
        )
    else:
        factory = ServerPerMessageDeflateFactory(
            server_no_context_takeover=server_no,
            client_no_context_takeover=client_no,
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
        )
        settings = PerMessageDeflate()
    with deflating(factory) as (url, negotiated):
        with trio.fail_after(CASE_TIMEOUT):
            async with open_websocket_client(url, compression=settings) as ws:
                for message in MESSAGES * 2:
                    await ws.send(message)
                    assert await ws.receive() == message
                async with ws.text_writer() as writer:
                    await writer.write("one " * 100)
                    await writer.write("two")
                assert await ws.receive() == "one " * 100 + "two"
                statistics = ws.statistics()
    expected = (
        f"PerMessageDeflate(remote_no_context_takeover={client_no}, "
        f"local_no_context_takeover={server_no}, "
        f"remote_max_window_bits={client_bits or 15}, local_max_window_bits={server_bits or 15})"
    )
    assert negotiated == [expected]
    assert statistics.bytes_sent < 2 * sum(len(message) for message in MESSAGES) / 5
