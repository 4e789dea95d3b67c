"""E28, E29, E30: many tasks that wait on one connection, and a writer that is alone."""

from __future__ import annotations

import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, loopback_server
from trio.testing import wait_all_tasks_blocked

import trio_wsclient
from trio_wsclient import WebSocketClient, open_websocket_client
from trio_wsclient._connection import shared_reader

BOUND = 60  # seconds for what takes one
FEW, MANY = 500, 4_000

Clock = Callable[[], float]


class Steps(trio.abc.Instrument):
    """Counts the steps of each task."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name] += 1


class Lines:
    """Counts the lines of the package that run. Unlike seconds, they have no noise."""

    _PACKAGE = str(Path(trio_wsclient.__file__).parent)

    def __init__(self) -> None:
        self._count = 0

    def clock(self) -> float:
        return self._count

    @contextmanager
    def counted(self) -> Iterator[None]:
        former = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(former)

    def _trace(self, frame: types.FrameType, event: str, arg: object) -> object:
        if not frame.f_code.co_filename.startswith(self._PACKAGE):
            return None
        self._count += event == "line"
        return self._trace


async def receives(ws: WebSocketClient, number: int) -> None:
    await ws.receive()


async def sends(ws: WebSocketClient, number: int) -> None:
    await ws.send("x")


async def pings(ws: WebSocketClient, number: int) -> None:
    await ws.ping(b"%d" % number)


async def waits_for_the_end(ws: WebSocketClient, number: int) -> None:
    await ws.wait_closed()


async def crowd(call, n: int, nursery: trio.Nursery, ws: WebSocketClient) -> None:
    """Have tasks wait in a call."""
    for number in range(n):
        nursery.start_soon(call, ws, number)
    await wait_all_tasks_blocked()


async def cost_to_enter(call, n: int, clock: Clock) -> float:
    async with opened(Recorder()) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            began = clock()
            await crowd(call, n, nursery, ws)
            cost = clock() - began
            nursery.cancel_scope.cancel()
    return cost


async def cost_to_cancel(call, n: int, clock: Clock) -> float:
    async with opened(Recorder()) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    await crowd(call, n, inner, ws)
                    began = clock()
                    scope.cancel()
            cost = clock() - began
            valve.opened.set()
    return cost


async def cost_to_serve(call, n: int, clock: Clock) -> float:
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
            began = clock()
            valve.opened.set()
            if call is receives:
                await server.peer.send(wire.text("x") * n)
            elif call is waits_for_the_end:
                await wait_all_tasks_blocked()
                await server.peer.send(wire.close(1000))
        return clock() - began


CALLS = [receives, sends, pings]
each_cost = pytest.mark.parametrize("cost", [cost_to_enter, cost_to_cancel, cost_to_serve])


@pytest.mark.slow
@pytest.mark.usefixtures("_collector_off")
@pytest.mark.parametrize("call", CALLS)
@each_cost
async def test_e28_n_waiting_tasks_cost_n(call, cost):
    """Eight times as many cost eight times as much, not 64 times; between them is the noise."""
    limit = 2 * MANY / FEW
    with trio.fail_after(BOUND):
        few, many = [await cost(call, FEW, time.thread_time)], []
        while not many or (min(many) >= limit * min(few) and len(many) < 5):
            few.append(await cost(call, FEW, time.thread_time))
            many.append(await cost(call, MANY, time.thread_time))
    assert min(many) < limit * min(few)


@pytest.mark.parametrize("call", [*CALLS, waits_for_the_end])
@each_cost
async def test_n1_waiting_tasks_run_a_linear_number_of_lines(call, cost):
    """Ten times as many tasks run ten times as many lines of the package."""
    counts = {}
    with trio.fail_after(BOUND):
        for n in (25, 250):
            lines = Lines()
            with lines.counted():
                counts[n] = await cost(call, n, lines.clock)
    assert 250 < counts[250] <= 11 * counts[25]


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
async def test_e30_blocked_send_reads_in_a_shielded_scope_after_a_cancel(reads, monkeypatch):
    """The server writes as much as it was sent, before it reads that."""
    monkeypatch.setattr(shared_reader, "_REST", 10 * BOUND)  # The rest does not end by itself.
    size = 12 * 2**20

    async def script(peer: Peer) -> None:
        await peer.accept()
        if reads:
            await parked.wait()
            await peer.send(wire.text("first"))
        await begin.wait()
        await peer.send(wire.binary(bytes(1000)) * (size // 1000))
        while (frame := await peer.next_frame()) is not None:
            frames.append(frame)
            if frame.opcode == wire.CLOSE:
                await peer.send(wire.close(frame.code))
                break
        await peer.stream.aclose()

    parked, begin, frames = trio.Event(), trio.Event(), []
    with trio.fail_after(BOUND):
        async with loopback_server(script) as url:
            with trio.CancelScope() as scope:
                async with open_websocket_client(
                    url, max_buffered_bytes=2 * size, close_timeout=BOUND, max_message_size=None
                ) as ws:
                    await wait_all_tasks_blocked()  # Until the background reader reads.
                    if reads:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(ws.receive)
                            await wait_all_tasks_blocked()
                            parked.set()
                    assert ws._connection.shared_reader.is_active is not reads
                    scope.cancel()
                    with trio.fail_after(BOUND, shield=True):
                        begin.set()
                        await ws.send(bytes(size))
                        await ws.aclose()
    assert [len(frame.payload) for frame in frames if frame.opcode == wire.BINARY] == [size]
