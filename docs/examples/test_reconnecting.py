"""A program that reconnects, tested without a network, and without waiting for its pauses."""

from contextlib import asynccontextmanager

import pytest
import trio

from trio_wsclient import ConnectionClosedError, background_task, reconnecting
from trio_wsclient.testing import memory_websocket_pair


async def collect(connections, wanted):
    """Be the program: it takes the loop as an argument, so that a test can pass another one."""
    messages = []
    async for connection in connections:
        async with connection as ws:
            async for message in ws:
                messages.append(message)
                if len(messages) == wanted:
                    return messages
    return messages


class Server:
    """Hands out the peer of each connection, one after the other."""

    def __init__(self):
        self._opened, self._peers = trio.open_memory_channel(1)
        self.loop = reconnecting(self._connect)

    @asynccontextmanager
    async def _connect(self):
        async with memory_websocket_pair() as (ws, peer):
            await self._opened.send(peer)
            yield ws

    async def next_peer(self):
        return await self._peers.receive()


async def test_it_comes_back_after_a_break(autojump_clock):
    server = Server()

    async def serve():
        peer = await server.next_peer()
        await peer.send("one")
        await peer.cut()
        peer = await server.next_peer()
        await peer.send("two")

    async with background_task(serve):
        assert await collect(server.loop, 2) == ["one", "two"]


async def test_it_gives_up_when_the_server_says_so(autojump_clock):
    server = Server()

    async def serve():
        peer = await server.next_peer()
        await peer.close(4003, "no account")

    async with background_task(serve):
        with pytest.raises(ConnectionClosedError, match="no account"):
            await collect(server.loop, 1)
