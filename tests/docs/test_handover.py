"""The recipe for a change of connections: nothing is missing, nothing comes twice."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_wsclient._net import connect
from trio_wsclient.testing import Peer, open_loopback_server

HANDOVER = Path(__file__).parents[2] / "docs" / "examples" / "handover.py"
RENEWALS = 1000

follow = runpy.run_path(str(HANDOVER))["follow"]


class Feed:
    """A server that sends each number on all connections that have subscribed."""

    def __init__(self) -> None:
        self._subscribers: list[Peer] = []
        self._lock = trio.Lock()  # held while a number is sent, and while a client subscribes
        self.connections = 0
        self.sent = 0
        self.both = 0  # numbers that were sent on more than one connection

    async def serve(self, peer: Peer) -> None:
        assert await peer.receive() == "subscribe"
        async with self._lock:
            await peer.send("subscribed")
            self.connections += 1
            self._subscribers.append(peer)
        try:
            await peer.wait_closed()
        finally:
            self._subscribers.remove(peer)

    async def tick(self) -> None:
        """Send the next number."""
        async with self._lock:
            if not self._subscribers:
                return
            self.sent += 1
            self.both += len(self._subscribers) > 1
            message = json.dumps({"number": self.sent})
            for peer in list(self._subscribers):
                await send_unless_over(peer, message)


async def send_unless_over(peer: Peer, message: str) -> None:
    try:
        await peer.send(message)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        assert peer.is_over or peer.close_received is not None


async def follow_renewals(feed: Feed, url: str, *, renew_after: float, pause: float) -> list[int]:
    """Follow a feed for so many renewals; return the numbers that were handled."""
    handled: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, url, renew_after, handled.append)
        while feed.connections <= RENEWALS:
            await feed.tick()
            await trio.sleep(pause)
        last = feed.sent
        while not handled or handled[-1] < last:
            await feed.tick()
            await trio.sleep(pause)
        nursery.cancel_scope.cancel()
    return handled


@pytest.mark.slow
async def test_handover_in_memory_loses_and_doubles_nothing(
    autojump_clock, monkeypatch, nursery: trio.Nursery
):
    feed = Feed()

    async def serve(peer: Peer) -> None:
        await peer.shake_hands()
        async with trio.open_nursery() as inner:
            inner.start_soon(peer.read)
            await feed.serve(peer)

    async def connect_tcp(*_: object, **__: object) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, Peer(theirs))
        return ours

    monkeypatch.setattr(connect, "connect_tcp", connect_tcp)
    handled = await follow_renewals(feed, "ws://feed/", renew_after=3600, pause=700)
    assert handled == list(range(1, len(handled) + 1))
    assert len(handled) > 4 * RENEWALS


@pytest.mark.slow
async def test_handover_on_sockets_loses_and_doubles_nothing():
    feed = Feed()
    async with open_loopback_server(feed.serve) as server:
        handled = await follow_renewals(feed, server.url, renew_after=0, pause=0.0005)
    assert handled == list(range(1, len(handled) + 1))
    assert feed.both > RENEWALS / 10


async def test_handover_tells_of_an_early_end():
    async def serve(peer: Peer) -> None:
        assert await peer.receive() == "subscribe"
        await peer.send("subscribed")
        await peer.send('{"number": 1}')

    handled: list[int] = []
    async with open_loopback_server(serve) as server:
        with pytest.RaisesGroup(pytest.RaisesExc(ConnectionError, match="before it was renewed")):
            await follow(server.url, 3600, handled.append)
    assert handled == [1]
