"""A message that need not wait for anything is written without waiting. Here that fails."""

from __future__ import annotations

import math
import select
import threading

import pytest
import trio
import wire
from extensions import Faulty
from scripted_server import Peer, echo_script, loopback_server
from thread_server import ThreadPeer, thread_server
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)
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


@pytest.fixture
def full_socket(monkeypatch):
    """Block the socket at the frame with b"first" until the returned event is set."""

    def send(stream: EagerSocketStream, data: bytes | bytearray | memoryview) -> bool:
        if may_flush.is_set() or len(data) != 2 + 4 + len(b"first"):
            return send_nowait(stream, data)
        stream._unsent = memoryview(data)
        return False

    async def flush_later(stream: EagerSocketStream) -> bool:
        await may_flush.wait()
        return await flush_some(stream)

    may_flush = trio.Event()
    send_nowait, flush_some = EagerSocketStream.send_nowait, EagerSocketStream.flush_some
    monkeypatch.setattr(EagerSocketStream, "send_nowait", send)
    monkeypatch.setattr(EagerSocketStream, "flush_some", flush_later)
    return may_flush


async def sends(ws: WebSocketClient, payload: bytes) -> None:
    await ws.send(payload)


async def pongs(ws: WebSocketClient, payload: bytes) -> None:
    await ws.pong(payload)


@pytest.mark.parametrize("second", [sends, pongs])
@pytest.mark.parametrize("first", [sends, pongs])
async def test_w1_frame_waits_for_the_rest_of_another(first, second, full_socket):
    frames: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(2):
            frame = await peer.next_frame()
            assert frame is not None
            frames.append(frame.payload)
        await peer.close_politely()

    with trio.fail_after(BOUND):
        async with loopback_server(script) as url, open_websocket_client(url) as ws:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first, ws, b"first")
                await wait_all_tasks_blocked()
                nursery.start_soon(second, ws, b"the second")
                await wait_all_tasks_blocked()
                full_socket.set()
    assert frames == [b"first", b"the second"]


async def test_e27_rest_of_a_message_counts_as_a_message_under_way(full_socket):
    async def send() -> None:
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send(b"first")
        errors.append(caught.value)

    errors: list[ConnectionClosedOK] = []
    with trio.fail_after(BOUND):
        async with loopback_server(echo_script) as url:
            async with open_websocket_client(url, close_timeout=0.2) as ws:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    await wait_all_tasks_blocked()
                    await ws.aclose(1000)
                    full_socket.set()
    [error] = errors
    assert error.sent is not None
    assert error.sent.code == 1011
    assert str(error.__cause__) == "a message was left unfinished"


async def test_due_pong_leaves_before_a_message_that_need_not_wait():
    """The reply task has not run since the ping was read."""

    def script(peer: ThreadPeer) -> list[wire.ClientFrame]:
        peer.accept()
        assert peer.next_frame() == wire.ClientFrame(wire.TEXT, b"go")
        peer.send(wire.ping(b"1") + wire.text("question"))
        has_sent.set()
        return peer.frames_to_end()

    has_sent = threading.Event()
    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(server.url) as ws:
            await wait_all_tasks_blocked()
            ws._connection.time_slice.ends = math.inf  # From here on, no call is a schedule point.
            await ws.send("go")
            assert has_sent.wait(BOUND)
            assert select.select([ws._connection.stream_reader._eager.socket], [], [], BOUND)[0]
            assert ws.receive_nowait() == "question"
            await ws.send("answer")
        frames = await server.seen()
    assert [frame.opcode for frame in frames] == [wire.PONG, wire.TEXT, wire.CLOSE]


@pytest.mark.parametrize("ends", [0.0, math.inf], ids=["a new slice", "within a slice"])
async def test_w2_send_in_a_cancelled_scope_has_not_happened(ends):
    with trio.fail_after(BOUND):
        async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
            await wait_all_tasks_blocked()
            ws._connection.time_slice.ends = ends
            with trio.CancelScope() as scope:
                scope.cancel()
                await ws.send("never")
            assert scope.cancelled_caught
            await ws.send("sent")
            assert await ws.receive() == "sent"


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
