"""Testing a program with pytest-trio, with no network and no time that passes."""

import pytest
import trio

from trio_wsclient import WebSocketClient
from trio_wsclient.testing import Peer, memory_websocket_pair


async def greeter(ws: WebSocketClient) -> None:
    """The program: it greets whoever says a name, and everybody once an hour."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remind, ws)
        async for name in ws:
            await ws.send(f"Hello, {name}!")
        nursery.cancel_scope.cancel()


async def remind(ws: WebSocketClient) -> None:
    while True:
        await trio.sleep(3600)
        await ws.send("Hello, everybody!")


@pytest.fixture
async def peer(nursery):
    async with memory_websocket_pair() as (ws, peer):
        nursery.start_soon(greeter, ws)
        yield peer


async def test_whoever_says_a_name_is_greeted(peer: Peer):
    await peer.send("Ada")
    assert await peer.receive() == "Hello, Ada!"


async def test_everybody_is_greeted_once_an_hour(peer: Peer, autojump_clock):
    before = trio.current_time()
    assert await peer.receive() == "Hello, everybody!"
    assert trio.current_time() - before == pytest.approx(3600)


async def test_it_ends_when_the_server_closes(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send_close(1001)
        with trio.fail_after(5):
            await greeter(ws)
