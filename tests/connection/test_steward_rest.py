"""While the steward rests (L3), a ping is answered in time and a dead server is found."""

from __future__ import annotations

import pytest
import trio
import wire
from scripted_server import Peer, loopback_server

from trio_wsclient import ConnectionClosedError, open_websocket_client
from trio_wsclient._connection import shared_reader
from trio_wsclient._connection.shared_reader import Leadership


async def test_a_ping_is_answered_though_the_consumer_takes_its_time():
    waits: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await trio.sleep(0.05)
        start = trio.current_time()
        # Half of what max_buffered_bytes allows.
        await peer.send(wire.binary(bytes(65_536)) * 8 + wire.ping(b"alive?"))
        while (await peer.next_frame()).opcode != wire.PONG:
            pass
        waits.append(trio.current_time() - start)
        await peer.close_politely()

    async with loopback_server(script) as url, open_websocket_client(url, close_timeout=1) as ws:
        await ws.send("go")
        for _ in range(4):
            await ws.receive()
            await trio.sleep(0.6)
        await trio.sleep(0.5)
    assert waits[0] < 1.5, f"the pong came {waits[0]:.1f} s after the ping"


async def test_a_dead_server_is_found_by_one_that_polls():
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await trio.sleep(0.05)
        await peer.send(wire.text("the last thing that it says"))
        await trio.sleep_forever()

    async with loopback_server(script) as url:
        async with open_websocket_client(
            url, ping_interval=0.1, ping_timeout=0.3, close_timeout=0.5
        ) as ws:
            await ws.send("hello")
            await ws.receive()
            with trio.move_on_after(3), pytest.raises(ConnectionClosedError):
                while True:  # as in the loop of a game: a look at the socket, then other work
                    with trio.move_on_after(0.005):
                        await ws.receive()
                    await trio.sleep(0.1)
            protocol = ws._connection.protocol
            assert protocol.closing.closed_by is not None, (
                "dead for 3 s, 0.4 s were allowed, not noticed"
            )


async def test_latency_is_that_of_the_server():
    async def script(peer: Peer) -> None:
        await peer.accept()
        while (frame := await peer.next_frame()) is not None:
            if frame.opcode == wire.PING:
                await peer.send(wire.pong(frame.payload))  # at once
            elif frame.opcode == wire.CLOSE:
                await peer.send(wire.close())
                await peer.stream.aclose()
                return
            else:
                await trio.sleep(0.02)
                await peer.send(wire.text("answer"))

    async with loopback_server(script) as url:
        async with open_websocket_client(url, ping_interval=0.15, ping_timeout=5) as ws:
            worst = 0.0
            for _ in range(4):
                await ws.send("question")
                await ws.receive()
                await trio.sleep(0.6)
                worst = max(worst, ws.latency or 0.0)
                await ws.send("question")
                await ws.receive()
                worst = max(worst, ws.latency or 0.0)
    assert worst < 0.2, f"{worst:.2f} s on loopback"


async def test_a_rest_may_end_at_any_time(monkeypatch):
    monkeypatch.setattr(
        shared_reader, "_REST", 0.00002
    )  # so that it ends between two looks at the clock

    async def step() -> None:
        await trio.lowlevel.checkpoint()

    leadership = Leadership(step)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leadership.stand_in, lambda: False, lambda: True)
        for _ in range(5000):
            looks = iter((False, False, True))
            await leadership.wait_until(lambda looks=looks: next(looks, True))
            assert next(looks, None) is None
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
