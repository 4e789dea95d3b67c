"""A message that need not wait for anything is written without waiting. Here that fails."""

from __future__ import annotations

import pytest
import trio
import wire
from extensions import Faulty
from scripted_server import Peer, echo_script, loopback_server
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from trio_wsclient import CloseFrame, ConnectionClosedError, open_websocket_client
from trio_wsclient._net.sockets import EagerSocketStream

BOUND = 20  # seconds for what takes a fraction of one


async def test_rest_of_a_message_follows_in_order():
    got: list[bytes] = []
    count = 90

    async def script(peer: Peer) -> None:
        await peer.accept()
        await full.wait()
        while len(got) < count:
            frame = await peer.next_frame()
            assert frame is not None
            got.append(frame.payload[:3])
        await peer.close_politely()

    full = trio.Event()
    with trio.fail_after(BOUND):
        async with loopback_server(script) as url:
            async with open_websocket_client(url) as ws:

                async def send() -> None:
                    for number in range(count):
                        await ws.send(b"%03d" % number + bytes(60_000))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    await wait_all_tasks_blocked(0.05)  # The last one has no room.
                    full.set()
    assert got == [b"%03d" % number for number in range(count)]


async def test_rest_of_a_close_follows(monkeypatch):
    """Only the reply task waits for the socket, and nothing else is written then."""

    def full(stream: EagerSocketStream, data: bytes) -> bool:
        if data[0] & 0x0F == wire.CLOSE and not kept:
            kept.append(data)
            stream._unsent = memoryview(data)
            return False
        return send_nowait(stream, data)

    kept: list[bytes] = []
    send_nowait = EagerSocketStream.send_nowait
    monkeypatch.setattr(EagerSocketStream, "send_nowait", full)
    with trio.fail_after(BOUND):
        async with loopback_server(echo_script) as url:
            async with open_websocket_client(url) as ws:
                await ws.aclose(3000, "bye")
            received = await ws.wait_closed()
    assert received == CloseFrame(3000, "bye")


async def quiet(peer: Peer) -> None:
    await peer.accept()
    while await peer.next_frame() is not None:
        pass


async def test_broken_stream_ends_the_connection(monkeypatch):
    def breaks(stream: EagerSocketStream, data: bytes) -> bool:
        raise trio.BrokenResourceError("broken pipe")

    with trio.fail_after(BOUND):
        async with loopback_server(quiet) as url:
            async with open_websocket_client(url, close_timeout=0.1) as ws:
                monkeypatch.setattr(EagerSocketStream, "send_nowait", breaks)
                with pytest.raises(ConnectionClosedError, match="broken pipe"):
                    await ws.send("a")


async def test_broken_stream_ends_the_connection_when_closing(monkeypatch):
    def breaks(stream: EagerSocketStream, data: bytes) -> bool:
        raise trio.BrokenResourceError("broken pipe")

    with trio.fail_after(BOUND):
        async with loopback_server(quiet) as url:
            async with open_websocket_client(url, close_timeout=0.1) as ws:
                monkeypatch.setattr(EagerSocketStream, "send_nowait", breaks)
                await ws.aclose()
                assert await ws.wait_closed() is None


async def test_failing_extension_ends_the_connection():
    bug = ValueError("a bug")
    faulty = Faulty("outbound", Opcode.TEXT, bug)

    async def script(peer: Peer) -> None:
        await peer.accept()
        codes.append(await peer.expect_close())
        await peer.send(wire.close(1011))

    codes: list[int | None] = []
    with trio.fail_after(BOUND):
        async with loopback_server(script) as url:
            async with open_websocket_client(url, extensions=[faulty], close_timeout=1) as ws:
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.send("a")
    assert caught.value.__cause__ is bug
    assert codes == [1011]
