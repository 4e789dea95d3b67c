"""E28, E29, E30: many tasks that wait on one connection, and a writer that is alone."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, loopback_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import WebSocketClient, open_websocket_client

BOUND = 60  # seconds for what takes one
FEW, MANY = 500, 4_000


class Steps(trio.abc.Instrument):
    """Counts the steps of each task."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name] += 1


async def receives(ws: WebSocketClient, number: int) -> None:
    await ws.receive()


async def sends(ws: WebSocketClient, number: int) -> None:
    await ws.send("x")


async def pings(ws: WebSocketClient, number: int) -> None:
    await ws.ping(b"%d" % number)


@pytest.fixture(params=[receives, sends, pings], ids=lambda call: call.__name__)
def call(request):
    return request.param


async def crowd(call, n: int, nursery: trio.Nursery, ws: WebSocketClient) -> None:
    """Have tasks wait in a call."""
    for number in range(n):
        nursery.start_soon(call, ws, number)
    await wait_all_tasks_blocked()


async def seconds_to_cancel(call, n: int) -> float:
    async with opened(Recorder()) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    await crowd(call, n, inner, ws)
                    began = time.thread_time()
                    scope.cancel()
            seconds = time.thread_time() - began
            valve.opened.set()
    return seconds


async def seconds_to_serve(call, n: int) -> float:
    async def script(peer: Peer) -> None:
        server.peer = peer
        await peer.accept()
        while (frame := await peer.next_frame()) is not None:
            if frame.opcode == wire.PING:
                await peer.send(wire.pong(frame.payload))
            elif frame.opcode == wire.CLOSE:
                await peer.send(wire.close(frame.code))
                await peer.stream.aclose()
                break

    server = Recorder()
    async with opened(script) as (ws, valve):
        async with trio.open_nursery() as nursery:
            valve.shut()
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            await crowd(call, n, nursery, ws)
            began = time.thread_time()
            valve.opened.set()
            if call is receives:
                await server.peer.send(wire.text("x") * n)
        return time.thread_time() - began


@pytest.mark.usefixtures("_collector_off")
@pytest.mark.parametrize("measure", [seconds_to_cancel, seconds_to_serve])
async def test_e28_n_waiting_tasks_cost_n(call, measure):
    """Eight times as many cost eight times as much, not 64 times; between them is the noise."""
    with trio.fail_after(BOUND):
        few = min([await measure(call, FEW) for _ in range(3)])
        many = min([await measure(call, MANY) for _ in range(2)])
    assert many < 3 * few * MANY / FEW


async def test_e29_one_message_wakes_one_receiver():
    n, steps = 1_000, Steps()
    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:
        await crowd(receives, n, nursery, ws)
        trio.lowlevel.add_instrument(steps)
        await server.peer.send(wire.text("one"))
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        # Beside the one that is served, another one may be woken to read.
        assert 1 <= sum(n for name, n in steps.of.items() if "receives" in name) <= 2
        await server.peer.send(wire.text("x") * (n - 1))


@pytest.mark.parametrize("reads", [True, False], ids=["a reader rests", "nobody has read"])
async def test_e30_blocked_send_reads_in_a_shielded_scope_after_a_cancel(reads):
    """The server writes as much as it was sent, before it reads that."""
    size = 12 * 2**20

    async def script(peer: Peer) -> None:
        await peer.accept()
        if reads:
            await peer.send(wire.text("first"))
        await begin.wait()
        await peer.send(wire.binary(bytes(1000)) * (size // 1000))
        while (frame := await peer.next_frame()) is not None:
            frames.append(frame)
            if frame.opcode == wire.CLOSE:
                await peer.send(wire.close(frame.code))
                break
        await peer.stream.aclose()

    begin, frames = trio.Event(), []
    with trio.fail_after(BOUND):
        async with loopback_server(script) as url:
            with trio.CancelScope() as scope:
                async with open_websocket_client(
                    url, max_buffered_bytes=2 * size, close_timeout=BOUND, max_message_size=None
                ) as ws:
                    if reads:
                        await ws.receive()
                    scope.cancel()
                    with trio.CancelScope(shield=True):
                        begin.set()
                        await ws.send(bytes(size))
                        await ws.aclose()
    assert [len(frame.payload) for frame in frames if frame.opcode == wire.BINARY] == [size]
