"""E26: a call that doesn't wait handles a part of what has arrived; the reader handles the rest.

`receive_nowait` and `outcome` read for a time slice at most. The active reader, which waits for the
socket, has to hear of what they leave, because the kernel has nothing more to say.
"""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import wire
from scripted_server import Peer, loopback_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import ConnectionClosed, WebSocketClient, open_websocket_client

BOUND = 30  # seconds for what takes a few hundredths
NUMBERS = [str(number) for number in range(5_000)]  # messages: two slices of work and a bit
BURST = b"".join(map(wire.text, NUMBERS))


class Crowd:
    """Tasks that receive from one client, and the socket of its server."""

    def __init__(self, nursery: trio.Nursery, ws: WebSocketClient, server: socket.socket) -> None:
        self.ws = ws
        self.taken: list[str | bytes] = []
        self.errors: list[ConnectionClosed] = []
        self.server = server
        self._nursery = nursery

    async def start(self, receivers: int) -> None:
        """Start receivers, and return when they wait."""
        for _ in range(receivers):
            self._nursery.start_soon(self._receive)
        await wait_all_tasks_blocked(0.05)

    async def _receive(self) -> None:
        try:
            while True:
                self.taken.append(await self.ws.receive())
        except ConnectionClosed as exc:
            self.errors.append(exc)

    def arrive(self, data: bytes) -> None:
        """Let data arrive before any task runs."""
        assert self.server.send(data) == len(data)
        client = self.ws._connection.stream_reader._eager.socket
        assert select.select([client], [], [], BOUND)[0]

    def look(self, call: str) -> None:
        """Make a call that reads once, because its time slice is over."""
        self.ws._connection.time_slice.ends = 0.0
        if call == "outcome":
            assert self.ws.outcome is None
        else:
            with suppress(trio.WouldBlock):
                self.taken.append(self.ws.receive_nowait())


@asynccontextmanager
async def crowd(receivers: int, *, close_timeout: float = 0.1) -> AsyncIterator[Crowd]:
    """Yield the crowd; wait for its receivers, or for one that comes only then."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        sender.send_nowait(peer.stream.socket._sock)
        await trio.sleep_forever()

    sender, servers = trio.open_memory_channel[socket.socket](1)
    with trio.fail_after(BOUND):
        async with (
            loopback_server(script) as url,
            open_websocket_client(url, close_timeout=close_timeout) as ws,
            trio.open_nursery() as nursery,
        ):
            subject = Crowd(nursery, ws, await servers.receive())
            await subject.start(receivers)
            yield subject
            if not receivers:
                await subject.start(1)


each_call = pytest.mark.parametrize("call", ["receive_nowait", "outcome"])
each_crowd = pytest.mark.parametrize("receivers", [0, 1, 2])


@each_call
@each_crowd
async def test_e26_reader_handles_the_rest_of_a_burst(call, receivers):
    """The Close is its last frame."""
    async with crowd(receivers) as subject:
        subject.arrive(BURST + wire.close(1000))
        subject.look(call)
    assert sorted(subject.taken, key=int) == NUMBERS
    assert {error.code for error in subject.errors} == {1000}


@each_call
@each_crowd
async def test_e26_rest_of_a_burst_is_not_lost_when_tcp_ends(call, receivers):
    async with crowd(receivers) as subject:
        subject.arrive(BURST)
        subject.look(call)
        subject.server.shutdown(socket.SHUT_WR)
    assert sorted(subject.taken, key=int) == NUMBERS
    assert {error.code for error in subject.errors} == {1006}


@each_call
@each_crowd
async def test_e26_violation_ends_the_connection_although_nothing_follows(call, receivers):
    async with crowd(receivers) as subject:
        subject.arrive(wire.frame(3))
        subject.look(call)
    assert {error.sent.code for error in subject.errors} == {1002}


@pytest.mark.parametrize("call", ["outcome", "aclose"])
@pytest.mark.parametrize("reader", ["background reader", "receiver"])
async def test_c3_what_arrived_counts_while_another_task_waits_to_read(reader, call):
    async with crowd(0, close_timeout=BOUND) as subject:
        await wait_all_tasks_blocked()  # Until the background reader reads.
        await subject.start(1)
        if reader == "receiver":
            subject.arrive(wire.text("0"))
            await wait_all_tasks_blocked(0.01)
        before = [*subject.taken]
        assert subject.ws._connection.shared_reader.is_active
        assert subject.ws._connection.shared_reader.is_led_by_receiver is (reader == "receiver")
        subject.arrive(wire.text("1") + wire.close(4000))
        subject.server.shutdown(socket.SHUT_WR)
        if call == "aclose":
            await subject.ws.aclose()
        outcome = subject.ws.outcome
        assert outcome is not None
        assert outcome.closed_by == "server"
    assert subject.taken == [*before, "1"]


async def test_e26_parked_receiver_gets_what_outcome_has_read():
    async with crowd(0) as subject:
        await wait_all_tasks_blocked()  # Until the background reader reads.
        await subject.start(1)
        subject.arrive(wire.text("1"))
        assert subject.ws.outcome is None
        await wait_all_tasks_blocked()
        assert subject.taken == ["1"]
        subject.arrive(wire.close(1000))
