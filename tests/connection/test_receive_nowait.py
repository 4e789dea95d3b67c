"""`receive_nowait`, for a task that has other things to do than to wait."""

from __future__ import annotations

import signal

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, loopback_server, memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import DataFrame, open_websocket_client
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._net.sockets import EagerSocketStream


async def test_large_message_comes_to_receive_nowait(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(4):
            await peer.send((wire.binary(bytes(4000)))[_ * 1001 : (_ + 1) * 1001])
            await trio.sleep(1)
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, max_buffered_bytes=1000, close_timeout=1
        ) as ws:
            with trio.fail_after(100):
                while True:
                    try:
                        assert ws.receive_nowait() == bytes(4000)
                        break
                    except trio.WouldBlock:
                        await trio.sleep(0.1)


async def test_r2_limit_holds_again_after_a_large_message(autojump_clock):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        data = wire.binary(bytes(4000))
        await server.peer.send(data[:2000])
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            ws.receive_nowait()
        await server.peer.send(data[2000:])
        await wait_all_tasks_blocked()
        assert ws.receive_nowait() == bytes(4000)
        await server.peer.send(wire.binary(bytes(1000)))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.ping(b"behind"))
        await wait_all_tasks_blocked()
        assert server.frames == []


def test_ctrl_c_does_not_strike_within_receive_nowait(monkeypatch):
    join = ReceiveQueue._join

    def strike(queue: ReceiveQueue, entry: DataFrame) -> str | bytes:
        signal.raise_signal(signal.SIGINT)  # half of the message was taken
        return join(queue, entry)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("a", fin=False) + wire.continuation(b"b") + wire.text("c"))
        await peer.close_politely()

    async def main() -> list[str | bytes]:
        got: list[str | bytes] = []
        async with memory_server(script) as stream:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                await wait_all_tasks_blocked()
                with pytest.raises(KeyboardInterrupt):
                    got.append(ws.receive_nowait())
                    await trio.lowlevel.checkpoint()  # where it strikes, as it was held back
                with trio.move_on_after(1):
                    got.append(await ws.receive())
        return got

    monkeypatch.setattr(ReceiveQueue, "_join", strike)
    assert trio.run(main) == ["ab", "c"]


def test_ctrl_c_does_not_strike_within_outcome(monkeypatch):
    receive_nowait = EagerSocketStream.receive_nowait

    def strike(stream: EagerSocketStream, *args: int) -> int | None:
        size = receive_nowait(stream, *args)
        if is_armed:
            signal.raise_signal(signal.SIGINT)  # the bytes are read, and not handled yet
        return size

    async def main() -> None:
        nonlocal is_armed
        server = Recorder()
        async with loopback_server(server) as url, open_websocket_client(url) as ws:
            await wait_all_tasks_blocked()
            # Without a schedule point, so that `outcome` reads this.
            server.peer.stream.socket._sock.send(wire.text("a") + wire.text("b"))
            is_armed = True
            with pytest.raises(KeyboardInterrupt):
                assert ws.outcome is None
                is_armed = False
                await trio.lowlevel.checkpoint()
            is_armed = False
            with trio.fail_after(10):
                assert [await ws.receive(), await ws.receive()] == ["a", "b"]

    is_armed = False
    monkeypatch.setattr(EagerSocketStream, "receive_nowait", strike)
    trio.run(main)
