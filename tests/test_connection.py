"""The invariants of reading, writing and closing, each on a connection whose server is scripted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import wire
from scripted_server import Peer, echo_script, memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)


class Valve(trio.abc.Stream):
    """A stream whose writes can be held up, and that counts what goes through."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.opened = trio.Event()
        self.opened.set()
        self.writing = 0

    def shut(self) -> None:
        self.opened = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writing += 1
        try:
            await self.opened.wait()
            await self.inner.send_all(data)
        finally:
            self.writing -= 1

    async def wait_send_all_might_not_block(self) -> None:
        await self.opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.opened.set()
        await self.inner.aclose()


@asynccontextmanager
async def opened(
    script: Callable[[Peer], Awaitable[object]], **options: object
) -> AsyncIterator[tuple[WebSocketClient, Valve]]:
    async with memory_server(script) as stream:
        valve = Valve(stream)
        async with open_websocket_client("ws://server/", stream=valve, **options) as ws:
            yield ws, valve


class Recorder:
    """A script that accepts, records the client's frames, and sends what the test says."""

    def __init__(self, *, closes: bool = True) -> None:
        self.closes = closes
        self.frames: list[wire.ClientFrame] = []
        self.torn = b""
        self.eof = trio.Event()
        self.peer: Peer

    async def __call__(self, peer: Peer) -> None:
        self.peer = peer
        await peer.accept()
        try:
            while (frame := await peer.next_frame()) is not None:
                self.frames.append(frame)
                if frame.opcode == wire.CLOSE and self.closes:
                    await peer.send(wire.close(frame.code))
                    await peer.stream.aclose()
                    break
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.torn = peer._reader.pending
        self.eof.set()

    def opcodes(self) -> list[int]:
        return [frame.opcode for frame in self.frames]


async def test_r1_the_reader_reads_on_while_a_reply_cannot_be_written(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        await server.peer.send(wire.ping(b"1"))
        await wait_all_tasks_blocked()
        assert valve.writing == 1
        await server.peer.send(wire.text("behind the ping"))
        assert await ws.receive() == "behind the ping"
        valve.opened.set()


async def test_r2_pings_are_answered_while_nobody_receives(autojump_clock):
    server = Recorder()
    async with opened(server) as (_, _):
        await server.peer.send(wire.text("unread") + wire.ping(b"1"))
        await wait_all_tasks_blocked()
        assert server.frames == [wire.ClientFrame(wire.PONG, b"1")]


async def test_r2_reading_pauses_at_max_buffered_bytes_and_goes_on_when_messages_are_taken(
    autojump_clock,
):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.binary(bytes(1000)))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.ping(b"behind"))
        await wait_all_tasks_blocked()
        assert server.frames == []
        await ws.receive()
        await wait_all_tasks_blocked()
        assert server.frames == [wire.ClientFrame(wire.PONG, b"behind")]


async def test_r2_who_waits_for_a_message_reads_beyond_max_buffered_bytes(autojump_clock):
    async with opened(echo_script, max_buffered_bytes=10, fragment_size=100) as (ws, _):
        await ws.send(bytes(1000))
        with trio.fail_after(5):
            assert await ws.receive() == bytes(1000)


async def test_r2_taking_frames_makes_room_too(autojump_clock):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.binary(bytes(1000), fin=False))
        await wait_all_tasks_blocked()
        await server.peer.send(wire.ping(b"behind"))
        await wait_all_tasks_blocked()
        assert server.frames == []
        await ws.frames().__anext__()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.PONG]


async def test_r2_after_our_close_what_comes_is_dropped(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, max_buffered_bytes=1000) as (ws, _):
        await server.peer.send(wire.text("before"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await wait_all_tasks_blocked()
            await server.peer.send(wire.binary(bytes(900)) * 100 + wire.close(1000))
            await wait_all_tasks_blocked()
            assert ws.statistics().buffered_messages == 1
            await server.peer.stream.aclose()
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


async def test_r3_only_the_latest_ping_is_answered_after_a_blocked_write(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "blocked")
            await wait_all_tasks_blocked()
            for number in range(1000):
                await server.peer.send(wire.ping(b"%d" % number))
            await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.frames[0].payload == b"blocked"
        assert server.frames[1:] == [wire.ClientFrame(wire.PONG, b"999")]


async def test_w1_bytes_leave_in_the_order_of_the_calls(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ws.send, f"{number}")
                await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"%d" % n for n in range(10)]


async def test_w2_a_send_that_is_cancelled_before_its_turn_has_not_happened(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "first")
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await ws.send("never")
            assert scope.cancelled_caught
            valve.opened.set()
        await ws.send("last")
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"first", b"last"]


async def test_w2_a_send_in_a_cancelled_scope_has_not_happened(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.send("never")
        assert scope.cancelled_caught
        await ws.send("sent")
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"sent"]


async def test_w2_after_a_torn_frame_nothing_is_written_and_every_call_says_so(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        await server.peer.send(wire.text("came before"))
        await wait_all_tasks_blocked()
        valve.shut()
        with trio.move_on_after(1) as scope:
            await ws.send("torn")
        assert scope.cancelled_caught
        for call in (ws.send, ws.send_text, ws.send_binary, ws.pong):
            with pytest.raises(ConnectionClosedError, match="torn"):
                await call(b"x")
        with pytest.raises(ConnectionClosedError, match="torn"):
            await ws.ping()
        assert await ws.receive() == "came before"
        with pytest.raises(ConnectionClosedError, match="torn") as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert await ws.wait_closed() is None
    await server.eof.wait()
    assert server.frames == []


async def test_w3_no_message_comes_between_the_fragments_of_another_but_pongs_do(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        async with trio.open_nursery() as nursery:
            async with ws.text_writer() as writer:
                await writer.write("one")
                nursery.start_soon(ws.send, "other")
                await wait_all_tasks_blocked()
                await server.peer.send(wire.ping(b"ping"))
                await wait_all_tasks_blocked()
                await writer.write("two")
        await wait_all_tasks_blocked()
        assert server.opcodes() == [
            wire.TEXT,
            wire.PONG,
            wire.CONTINUATION,
            wire.CONTINUATION,
            wire.TEXT,
        ]


async def test_w3_a_pong_passes_between_the_fragments_of_a_long_send(autojump_clock):
    server = Recorder()
    async with opened(server, fragment_size=10) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(30))
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"ping"))
            await wait_all_tasks_blocked()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes()[0] == wire.BINARY
        assert wire.PONG in server.opcodes()[1:-1]


@pytest.mark.parametrize("unread", [0, 1, 100])
async def test_c1_leaving_ends_within_close_timeout_with_a_deaf_server(unread, autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=3):
            await server.peer.send(wire.binary(bytes(50_000)) * unread)
            started = trio.current_time()
        assert trio.current_time() - started == pytest.approx(3)
    assert server.opcodes() == [wire.CLOSE]


async def test_c1_leaving_ends_within_close_timeout_while_a_send_is_blocked(autojump_clock):
    server = Recorder(closes=False)

    async def blocked() -> None:
        with pytest.raises(ConnectionClosedOK):
            await ws.send("blocked")

    async with memory_server(server) as stream, trio.open_nursery() as nursery:
        valve = Valve(stream)
        async with open_websocket_client("ws://server/", stream=valve, close_timeout=3) as ws:
            valve.shut()
            nursery.start_soon(blocked)
            await wait_all_tasks_blocked()
            started = trio.current_time()
        assert trio.current_time() - started == pytest.approx(3)


async def test_c2_a_cancelled_block_sends_1001_and_waits_for_nobody(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        with trio.move_on_after(1):
            async with open_websocket_client("ws://server/", stream=stream):
                await trio.sleep_forever()
        await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1001]


async def test_c2_a_cancelled_block_writes_nothing_behind_a_blocked_write(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream, trio.open_nursery() as nursery:
        valve = Valve(stream)

        async def blocked() -> None:
            with pytest.raises(ConnectionClosedOK):
                await ws.send("blocked")

        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=valve) as ws:
                valve.shut()
                nursery.start_soon(blocked)
                await wait_all_tasks_blocked()
                scope.cancel()
                started = trio.current_time()
        assert trio.current_time() == started
        await server.eof.wait()
    assert server.frames == []


async def test_c2_a_farewell_that_would_have_to_wait_is_given_up(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        valve = Valve(stream)
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=valve):
                valve.shut()
                scope.cancel()
                started = trio.current_time()
        assert trio.current_time() == started
        await server.eof.wait()
    assert server.frames == []


async def test_c2_the_servers_close_is_echoed_rather_than_1001_sent(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await server.peer.send(wire.close(4321))
                    with pytest.raises(ConnectionClosedError):
                        await ws.receive()
        await server.eof.wait()
    assert [frame.code for frame in server.frames] == [4321]


async def test_x2_after_an_outer_cancel_a_shielded_block_sends_receives_and_closes(autojump_clock):
    async with memory_server(echo_script) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    await ws.send("goodbye")
                    assert await ws.receive() == "goodbye"
                    assert await ws.ping() >= 0
                    await ws.aclose(1000)
                    assert (await ws.wait_closed()).code == 1000
        assert scope.cancel_called


async def test_x2_after_an_outer_cancel_pings_are_answered_as_long_as_somebody_reads(
    autojump_clock,
):
    server = Recorder()
    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await server.peer.send(wire.ping(b"1") + wire.text("message"))
                    assert await ws.receive() == "message"
                    await wait_all_tasks_blocked()
                    assert server.opcodes() == [wire.PONG]


async def test_a_pong_leaves_in_front_of_the_answer_to_what_came_behind_its_ping():
    server = Recorder()
    async with opened(server) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "first")
            await wait_all_tasks_blocked()
            nursery.start_soon(ws.send, "answer")
            await server.peer.send(wire.ping(b"1"))
            await trio.lowlevel.checkpoint()
            valve.opened.set()
        await wait_all_tasks_blocked()
        assert server.opcodes() == [wire.TEXT, wire.PONG, wire.TEXT]


async def test_all_pings_are_answered_while_no_write_is_blocked():
    server = Recorder()
    async with opened(server) as (_, _):
        await server.peer.send(b"".join(wire.ping(b"%d" % number) for number in range(10)))
        await wait_all_tasks_blocked()
        assert [frame.payload for frame in server.frames] == [b"%d" % n for n in range(10)]


async def test_the_answer_to_a_message_leaves_before_the_close_for_a_breach_behind_it():
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") + wire.frame(3))
        await ws.send(await ws.receive())
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    assert server.opcodes() == [wire.TEXT, wire.CLOSE]


async def test_a_breach_behind_our_close_is_no_error(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=3) as (ws, _), trio.open_nursery() as nursery:
        await server.peer.send(wire.text("a") + wire.frame(3))
        await ws.receive()
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_a_servers_close_in_good_order_ends_the_loop_before_tcp_ends(code, autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=1) as (ws, _):
        await server.peer.send(wire.text("a") + wire.close(code))
        assert [message async for message in ws] == ["a"]
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.receive()
        assert isinstance(caught.value, trio.EndOfChannel)
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send("x")
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert not isinstance(caught.value, trio.EndOfChannel)
        assert caught.value.code == (1005 if code is None else code)
        await wait_all_tasks_blocked()
        assert [frame.code for frame in server.frames] == [code]


async def test_another_code_of_the_server_is_an_error_with_code_and_reason(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.close(1011, b"shard\x1b gone"))
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (1011, "shard\x1b gone")
        text = r'closed by the server: 1011 (internal error) "shard\x1b gone"'
        assert str(caught.value) == text
        assert caught.value.sent.code == 1011


async def test_after_the_servers_close_tcp_is_closed_within_close_timeout_though_the_block_goes_on(
    autojump_clock,
):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=2) as (ws, _):
        await server.peer.send(wire.close())
        assert (await ws.wait_closed()).code == 1000
        started = trio.current_time()
        await server.eof.wait()
        assert trio.current_time() - started == pytest.approx(2)


async def test_a_message_cut_off_by_the_servers_close_is_an_error(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("whole") + wire.text("ha", fin=False) + wire.close(1000))
        assert await ws.receive() == "whole"
        with pytest.raises(ConnectionClosedError, match="in the middle of a message") as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, EOFError)


async def test_eof_without_a_close_is_1006(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("before"))
        await server.peer.stream.aclose()
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionClosedError, match="no Close frame") as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (1006, "")
        assert (caught.value.received, caught.value.sent) == (None, None)
        assert isinstance(caught.value.__cause__, EOFError)


async def test_a_breach_is_answered_by_a_close_that_the_error_tells_of(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.frame(wire.TEXT, b"x", rsv=4))
        with pytest.raises(ConnectionClosedError, match="failed by this side: 1002") as caught:
            await ws.receive()
        assert caught.value.sent.code == 1002
        assert caught.value.code == 1006
        assert caught.value.__cause__ is not None
    assert [frame.code for frame in server.frames] == [1002]


async def test_own_close_is_no_error_for_others_though_the_server_is_deaf(autojump_clock):
    server = Recorder(closes=False)
    outcomes = []

    async def consumer() -> None:
        outcomes.append([message async for message in ws])

    async with opened(server, close_timeout=1) as (ws, _), trio.open_nursery() as nursery:
        nursery.start_soon(consumer)
        await wait_all_tasks_blocked()
        await ws.aclose(4000, "enough")
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send("late")
        assert caught.value.sent.code == 4000
        assert str(caught.value) == 'closed by this side: 4000 "enough"'
    assert outcomes == [[]]


async def test_many_closers_send_one_close(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        async with trio.open_nursery() as nursery:
            for code in (4001, 4002, 4003):
                nursery.start_soon(ws.aclose, code)
        await ws.aclose()
    assert server.opcodes() == [wire.CLOSE]


async def test_a_cancelled_aclose_closes_the_stream_at_once(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        started = trio.current_time()
        with trio.move_on_after(1) as scope:
            await ws.aclose()
        assert scope.cancelled_caught
        await server.eof.wait()
        assert trio.current_time() - started == pytest.approx(1)


async def test_a_send_after_our_close_waits_for_the_outcome(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=5) as (ws, _), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        nursery.start_soon(_after, 1, server.peer.send, wire.close(1000))
        nursery.start_soon(_after, 2, server.peer.stream.aclose)
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send("late")
        assert caught.value.received.code == 1000


async def _after(seconds: float, function: Callable[..., Awaitable[None]], *args: object) -> None:
    await trio.sleep(seconds)
    await function(*args)


class BreaksOnWrite(Valve):
    """A stream that can be read, but no longer written to."""

    broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("broken pipe")
        await super().send_all(data)


@pytest.mark.parametrize("says_why", [True, False])
async def test_a_failed_write_gives_the_server_the_time_to_say_why(says_why, autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            async with trio.open_nursery() as nursery:
                if says_why:
                    nursery.start_soon(_after, 1, server.peer.send, wire.close(1008, b"spam"))
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.send("x")
            if says_why:
                assert (caught.value.code, caught.value.reason) == (1008, "spam")
            else:
                assert str(caught.value) == "no Close frame: broken pipe"


async def test_a_pong_that_cannot_be_written_ends_nothing_that_can_still_be_read(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping() + wire.text("a"))
            assert await ws.receive() == "a"
            await server.peer.send(wire.ping() + wire.text("b") + wire.close(1000))
            assert await ws.receive() == "b"
            with pytest.raises(ConnectionClosedOK):
                await ws.receive()


class RaisesAnything(Valve):
    """A user's stream that keeps to no contract."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        if b"raise" in data:
            raise ZeroDivisionError("what a stream")
        return data

    async def aclose(self) -> None:
        await super().aclose()
        raise ZeroDivisionError("what a stream")


async def test_whatever_a_users_stream_raises_ends_the_connection(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        async with open_websocket_client("ws://server/", stream=RaisesAnything(stream)) as ws:
            await server.peer.send(wire.text("raise"))
            with pytest.raises(ConnectionClosed, match="what a stream") as caught:
                await ws.receive()
            assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("ending", ["close", "breach", "eof"])
@pytest.mark.parametrize("pinged", [True, False])
async def test_c1_a_blocked_send_ends_with_a_server_that_has_stopped_to_read(
    ending, pinged, autojump_clock
):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=6) as (ws, valve):
        valve.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_closed_error, ws)
            await wait_all_tasks_blocked()
            started = trio.current_time()
            if pinged:
                await server.peer.send(wire.ping(b"1"))
                await wait_all_tasks_blocked()
            if ending == "close":
                await server.peer.send(wire.close(1011))
            elif ending == "breach":
                await server.peer.send(wire.frame(3))
            else:
                await server.peer.stream.send_stream.aclose()
        expected = 0 if ending == "eof" else 6
        assert trio.current_time() - started == pytest.approx(expected)


async def _expect_closed_error(ws: WebSocketClient) -> None:
    with pytest.raises(ConnectionClosedError):
        await ws.send("blocked")


async def test_x2_an_outer_cancel_does_not_cut_a_shielded_closing(autojump_clock):
    async def slow_to_close(peer: Peer) -> None:
        await peer.accept()
        await peer.expect_close()
        await trio.sleep(1)
        await peer.send(wire.close(1000))
        await peer.stream.aclose()

    async with memory_server(slow_to_close) as stream:
        with trio.move_on_after(0.5):
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                with trio.CancelScope(shield=True):
                    await ws.aclose()
                    assert (await ws.wait_closed()).code == 1000


async def test_x2_an_outer_cancel_does_not_tear_a_pong(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        valve = Valve(stream)
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=valve) as ws:
                valve.shut()
                await server.peer.send(wire.ping(b"1"))
                await wait_all_tasks_blocked()
                assert valve.writing == 1
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    valve.opened.set()
                    await ws.send("goodbye")
    await server.eof.wait()
    assert server.opcodes() == [wire.PONG, wire.TEXT, wire.CLOSE]


async def test_c2_a_close_that_is_about_to_be_written_is_written(autojump_clock):
    server = Recorder(closes=False)
    for _ in range(20):
        async with memory_server(server) as stream:
            with trio.CancelScope() as scope:
                async with open_websocket_client("ws://server/", stream=stream) as ws:
                    await server.peer.send(wire.frame(3))
                    with pytest.raises(ConnectionClosedError):
                        await ws.receive()
                    scope.cancel()
            await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1002] * 20


async def test_c2_a_deadline_that_trio_has_not_looked_at_yet_counts():
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        with trio.move_on_after(0.01) as scope:
            async with open_websocket_client("ws://server/", stream=stream):
                while trio.current_time() <= scope.deadline:
                    pass
        await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1001]


async def test_r2_the_part_of_a_frame_that_has_come_counts_too(autojump_clock):
    async def endless_frame(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.frame(wire.BINARY, length=2**40))
        with suppress(trio.BrokenResourceError):
            for _ in range(1000):
                await peer.send(bytes(10_000))

    async with opened(endless_frame, max_message_size=None, close_timeout=1) as (ws, _):
        await wait_all_tasks_blocked()
        assert ws.statistics().bytes_received < 1_048_576 + 2 * 65_536


async def test_r3_nothing_piles_up_once_nothing_can_be_written(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping())
            await wait_all_tasks_blocked()
            await server.peer.send(wire.ping(b"x" * 100) * 1000)
            await wait_all_tasks_blocked()
            assert ws._connection.outbox._pongs == []


async def test_a_stream_that_can_only_be_read_any_more_ends_within_close_timeout(autojump_clock):
    server = Recorder()
    async with memory_server(server) as stream:
        broken = BreaksOnWrite(stream)
        async with open_websocket_client("ws://server/", stream=broken, close_timeout=3) as ws:
            broken.broken = True
            await server.peer.send(wire.ping())
            started = trio.current_time()
            with pytest.raises(ConnectionClosedError, match="broken pipe"):
                await ws.receive()
            assert trio.current_time() - started == pytest.approx(3)
