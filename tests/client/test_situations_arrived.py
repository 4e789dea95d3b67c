"""E25, E26: what has arrived counts, also if no task reads at the moment (C3).

After a task has waited in ``receive``, the receive task rests for up to a second: nobody reads. In
that second the server sends; then the client asks, closes, or leaves its block.
"""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import memory_server
from streams import Valve
from thread_server import ThreadPeer, thread_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)
from trio_wsclient._connection import shared_reader
from trio_wsclient._scheduling import TimeSlice

BOUND = 30  # seconds for what takes a few hundredths


class Scene:
    """A client whose receive task rests, and a server that has then sent something."""

    def __init__(self, data: bytes, end: str | None) -> None:
        self._data = data
        self._end = end  # how the server ends TCP, if it does
        self._may_warm_up = threading.Event()
        self._may_send = threading.Event()
        self._has_sent = threading.Event()

    def script(self, peer: ThreadPeer) -> list[wire.ClientFrame]:
        peer.accept()
        assert self._may_warm_up.wait(BOUND)
        peer.send(wire.text("warm"))
        assert self._may_send.wait(BOUND)
        peer.send(self._data)
        if self._end == "reset":
            peer.reset()
        elif self._end == "eof":
            peer.close()
        self._has_sent.set()
        frames = []
        with suppress(EOFError, OSError, ValueError):
            while (frame := peer.next_frame()) is not None:
                frames.append(frame)
                if frame.opcode == wire.CLOSE:
                    break
        return frames

    async def play(self, ws: WebSocketClient) -> None:
        """Return when the data has arrived, and no task reads."""
        await wait_all_tasks_blocked()  # Until the background reader reads.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await wait_all_tasks_blocked(0.01)
            self._may_warm_up.set()
        assert not ws._connection.shared_reader.is_active
        self._may_send.set()
        await trio.to_thread.run_sync(self._has_sent.wait, BOUND)


@pytest.fixture(params=["ws", "wss"])
def arrived(request, monkeypatch, server_ssl_context, client_ssl_context):
    """Return a function that opens a client for which something has arrived."""
    monkeypatch.setattr(shared_reader, "_REST", BOUND)  # also on a very slow machine
    tls = request.param == "wss"

    @asynccontextmanager
    async def open_scene(data: bytes, *, end: str | None = None, **options: object):
        stage = Scene(data, end)
        options = {"ssl_context": client_ssl_context, **options} if tls else options
        with (
            trio.fail_after(BOUND),
            thread_server(stage.script, tls=server_ssl_context if tls else None) as server,
        ):
            url = server.url.replace("127.0.0.1", "localhost")
            async with open_websocket_client(url, close_timeout=BOUND, **options) as ws:
                await stage.play(ws)
                yield ws, server

    return open_scene


THREE = wire.text("a") + wire.binary(b"b") + wire.text("c")


async def take_all(ws: WebSocketClient) -> tuple[list[str | bytes], ConnectionClosed]:
    messages = []
    while True:
        try:
            messages.append(await ws.receive())
        except ConnectionClosed as exc:
            return messages, exc


async def test_e25_messages_before_our_close_can_be_taken(arrived):
    async with arrived(THREE + wire.close(1000)) as (ws, _):
        await ws.aclose()
        messages, _ = await take_all(ws)
    assert messages == ["a", b"b", "c"]


async def test_e25_messages_before_leaving_can_be_taken(arrived):
    async with arrived(THREE + wire.close(1000)) as (ws, _):
        pass
    assert (await take_all(ws))[0] == ["a", b"b", "c"]


async def test_e25_close_of_the_server_before_ours_decides(arrived):
    async with arrived(THREE + wire.close(4000, b"shard gone")) as (ws, server):
        await ws.aclose(1000)
        messages, exc = await take_all(ws)
        (close,) = await server.seen()
    assert messages == ["a", b"b", "c"]
    assert isinstance(exc, ConnectionClosedError)
    assert (exc.code, exc.reason) == (4000, "shard gone")
    assert close.code == 4000


async def test_e25_close_of_the_server_decides_when_the_block_is_cancelled(arrived):
    with trio.CancelScope() as scope:
        async with arrived(THREE + wire.close(4000)) as (ws, _):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    messages, exc = await take_all(ws)
    assert messages == ["a", b"b", "c"]
    assert exc.code == 4000
    assert exc.closed_by == "server"


async def test_e25_close_of_the_server_decides_when_the_block_raises(arrived):
    with pytest.raises(ZeroDivisionError):
        async with arrived(THREE + wire.close(4000)) as (ws, _):
            raise ZeroDivisionError
    messages, exc = await take_all(ws)
    assert messages == ["a", b"b", "c"]
    assert exc.closed_by == "server"


async def test_e25_close_of_the_server_decides_when_a_writer_fails(arrived):
    async with arrived(THREE + wire.close(4000)) as (ws, _):
        with pytest.raises(ZeroDivisionError):
            async with ws.text_writer():
                raise ZeroDivisionError
        messages, exc = await take_all(ws)
    assert messages == ["a", b"b", "c"]
    assert exc.closed_by == "server"


async def test_e25_end_of_tcp_before_our_close_decides(arrived):
    async with arrived(THREE, end="eof") as (ws, _):
        await ws.aclose()
        messages, exc = await take_all(ws)
    assert messages == ["a", b"b", "c"]
    assert isinstance(exc, ConnectionClosedError)
    assert exc.code == 1006


async def test_e25_violation_before_our_close_decides(arrived):
    async with arrived(THREE + wire.frame(3)) as (ws, server):
        await ws.aclose()
        messages, exc = await take_all(ws)
        (close,) = await server.seen()
    assert messages == ["a", b"b", "c"]
    assert exc.sent is not None
    assert exc.sent.code == close.code == 1002


async def test_e43_ping_before_our_close_is_answered(arrived):
    """RFC 6455 §5.5.2: the pong goes before the Close."""
    async with arrived(wire.ping(b"1") + wire.ping(b"2")) as (_, server):
        pass
    frames = await server.seen()
    assert [(frame.opcode, frame.payload) for frame in frames[:-1]] == [
        (wire.PONG, b"1"),
        (wire.PONG, b"2"),
    ]
    assert frames[-1].code == 1000


async def test_e26_receive_nowait_sees_what_has_arrived(arrived):
    async with arrived(THREE + wire.close(1000)) as (ws, _):
        assert [ws.receive_nowait() for _ in range(3)] == ["a", b"b", "c"]
        with pytest.raises(ConnectionClosedOK):
            ws.receive_nowait()


async def test_e26_outcome_sees_what_has_arrived(arrived):
    async with arrived(THREE + wire.close(4000)) as (ws, _):
        outcome = ws.outcome
        assert outcome is not None
        assert outcome.code == 4000
        assert (await take_all(ws))[0] == ["a", b"b", "c"]


@pytest.mark.parametrize("end", ["eof", "reset"])
async def test_e26_outcome_sees_the_end_of_tcp(arrived, end):
    async with arrived(b"", end=end) as (ws, _):
        outcome = ws.outcome
        assert outcome is not None
        assert outcome.code == 1006


async def test_e26_receive_nowait_takes_many_messages_without_a_wait(arrived):
    """They are more than one slice of work has."""
    async with arrived(wire.text("x") * 4_000 + wire.close(1000)) as (ws, _):
        assert [ws.receive_nowait() for _ in range(4_000)] == ["x"] * 4_000


async def test_e26_outcome_reads_no_more_than_the_queue_holds(arrived):
    data = wire.binary(bytes(1_000)) * 400
    async with arrived(data, max_buffered_bytes=10_000) as (ws, _):
        for _ in range(100):
            assert ws.outcome is None
        buffered = ws.statistics().buffered_messages
        assert 0 < buffered < 400
        assert [ws.receive_nowait() for _ in range(400)] == [bytes(1_000)] * 400


async def test_e26_long_message_is_seen_by_receive_nowait(arrived):
    data = bytes(100_000)
    async with arrived(wire.binary(data) + wire.close(1000)) as (ws, _):
        while True:
            with suppress(trio.WouldBlock):
                assert ws.receive_nowait() == data
                break
            await trio.lowlevel.checkpoint()


async def test_c3_what_is_behind_a_full_queue_has_not_arrived(arrived):
    data = wire.binary(bytes(1_000)) * 400 + wire.close(4000)
    async with arrived(data, max_buffered_bytes=10_000) as (ws, _):
        await ws.aclose()
        messages, exc = await take_all(ws)
    assert 0 < len(messages) < 400
    assert isinstance(exc, ConnectionClosedOK)


MANY = 5_000  # messages: two slices of work and a bit


async def test_c3_closing_reads_in_as_many_slices_as_it_takes(arrived, monkeypatch):
    monkeypatch.setattr(TimeSlice, "is_over", True)
    async with arrived(wire.text("x") * MANY + wire.close(4000)) as (ws, _):
        await ws.aclose()
        messages, exc = await take_all(ws)
    assert messages == ["x"] * MANY
    assert exc.closed_by == "server"


@pytest.mark.parametrize("is_long", [True, False], ids=["a long slice", "a short slice"])
async def test_c3_cancelled_block_reads_for_one_slice(is_long, arrived, monkeypatch):
    monkeypatch.setattr(TimeSlice, "is_over", not is_long)
    with trio.CancelScope() as scope:
        async with arrived(wire.text("x") * MANY + wire.close(4000)) as (ws, _):
            scope.cancel()
            await trio.sleep_forever()
    messages, exc = await take_all(ws)
    if is_long:
        assert len(messages) == MANY
    else:
        assert 0 < len(messages) < MANY
    assert exc.closed_by == ("server" if is_long else "client")


class Piecewise(Valve):
    """A stream that hands over three bytes at a time, each piece after 5 scheduler ticks.

    The stream in memory takes two of the ticks.
    """

    is_slow = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self.is_slow:
            return await super().receive_some(max_bytes)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        return await super().receive_some(3)


@pytest.mark.parametrize("end", ["aclose", "leaving", "raising"])
async def test_c3_users_stream_has_some_ticks_for_each_piece(end, autojump_clock):
    """All pieces together take longer than the 8 ticks that one of them may take."""
    server = Recorder()
    async with memory_server(server) as stream:
        piecewise = Piecewise(stream)
        with suppress(ZeroDivisionError):
            async with open_websocket_client("ws://x/", stream=piecewise) as ws:
                piecewise.is_slow = True
                await server.peer.send(THREE + wire.close(4000))
                if end == "aclose":
                    await ws.aclose()
                elif end == "raising":
                    raise ZeroDivisionError
    messages, exc = await take_all(ws)
    assert messages == ["a", b"b", "c"]
    assert exc.closed_by == "server"


async def test_e26_message_of_a_users_stream_is_seen_a_tick_later():
    """Trio runs the tasks of a tick in any order, so there are many rounds."""
    async with opened(Recorder()) as (ws, valve):
        for number in range(20):
            await wait_all_tasks_blocked()
            valve.inner.receive_stream.put_data(wire.text(str(number)))
            await trio.lowlevel.checkpoint()  # The stream hands it over.
            await trio.lowlevel.checkpoint()
            assert ws.receive_nowait() == str(number)


@pytest.mark.slow
@pytest.mark.parametrize("frame", [wire.ping(b"x"), wire.text("x" * 1_000)], ids=["ping", "text"])
async def test_c1_flood_does_not_hold_up_leaving(frame):
    """Neither fills the queue."""

    def script(peer: ThreadPeer) -> None:
        peer.accept()
        flood = frame * 10_000
        with suppress(OSError):
            while True:
                peer.send(flood)

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(server.url, close_timeout=0.5, max_buffered_bytes=10**12):
            await trio.sleep(0.1)
            begin = time.monotonic()
        assert time.monotonic() - begin < 5  # seconds; the flood is endless
