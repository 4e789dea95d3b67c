"""Closing, by either side: C1 and C2."""

from __future__ import annotations

import pytest
import trio
import wire
from recorder import Recorder, after, opened
from scripted_server import Peer, memory_server
from streams import Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)


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


async def test_c2_cancelled_block_sends_1001_and_waits_for_nobody(autojump_clock):
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        with trio.move_on_after(1):
            async with open_websocket_client("ws://server/", stream=stream):
                await trio.sleep_forever()
        await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1001]


async def test_c2_cancelled_block_writes_nothing_after_blocked_write(autojump_clock):
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


async def test_c2_cancelled_block_says_that_a_message_is_unfinished(autojump_clock):
    async def write() -> None:
        async with ws.text_writer() as writer:
            await writer.write("half")
            await trio.sleep_forever()

    server = Recorder(closes=False)
    async with memory_server(server) as stream, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                nursery.start_soon(write)
                await wait_all_tasks_blocked()
                started = trio.current_time()
                scope.cancel()
        assert trio.current_time() == started
        await server.eof.wait()
        nursery.cancel_scope.cancel()
    assert server.opcodes() == [wire.TEXT, wire.CLOSE]
    assert server.frames[-1].code == 1011


async def test_c2_close_that_would_wait_is_given_up(autojump_clock):
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


async def test_c2_servers_close_is_echoed_rather_than_1001_sent(autojump_clock):
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


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_servers_normal_close_ends_the_loop_before_tcp(code, autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=1) as (ws, _):
        await server.peer.send(wire.text("a") + wire.close(code))
        started = trio.current_time()
        assert [message async for message in ws] == ["a"]
        assert trio.current_time() == started
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


@pytest.mark.parametrize("code", [1002, 1003, *range(1007, 1015), 3000, 4000, 4999])
async def test_other_code_of_the_server_ends_the_loop_by_an_error(code, autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("a") + wire.close(code))
        assert await anext(aiter(ws)) == "a"
        with pytest.raises(ConnectionClosedError) as caught:
            await anext(aiter(ws))
        assert caught.value.code == code


async def test_other_code_of_the_server_is_an_error_with_reason(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.close(1011, b"shard\x1b gone"))
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (1011, "shard\x1b gone")
        text = r'closed by the server: 1011 (internal error) "shard\x1b gone"'
        assert str(caught.value) == text
        assert caught.value.sent.code == 1011


async def test_message_cut_off_by_the_servers_close_is_an_error(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _):
        await server.peer.send(wire.text("whole") + wire.text("ha", fin=False) + wire.close(1000))
        assert await ws.receive() == "whole"
        with pytest.raises(ConnectionClosedError, match="in the middle of a message") as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, EOFError)


async def test_own_close_to_a_deaf_server_is_no_error_for_others(autojump_clock):
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


async def test_cancelled_aclose_closes_the_stream_at_once(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        started = trio.current_time()
        with trio.move_on_after(1) as scope:
            await ws.aclose()
        assert scope.cancelled_caught
        await server.eof.wait()
        assert trio.current_time() - started == pytest.approx(1)


async def test_send_after_our_close_waits_for_the_outcome(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server, close_timeout=5) as (ws, _), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose)
        await wait_all_tasks_blocked()
        nursery.start_soon(after, 1, server.peer.send, wire.close(1000))
        nursery.start_soon(after, 2, server.peer.stream.aclose)
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send("late")
        assert caught.value.received.code == 1000


@pytest.mark.parametrize("ending", ["close", "violation", "eof"])
@pytest.mark.parametrize("pinged", [True, False])
async def test_c1_blocked_send_ends_when_the_server_stops_reading(ending, pinged, autojump_clock):
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
            elif ending == "violation":
                await server.peer.send(wire.frame(3))
            else:
                await server.peer.stream.send_stream.aclose()
        expected = 0 if ending == "eof" else 6
        assert trio.current_time() - started == pytest.approx(expected)


async def _expect_closed_error(ws: WebSocketClient) -> None:
    with pytest.raises(ConnectionClosedError):
        await ws.send("blocked")


async def test_x2_outer_cancel_does_not_cut_a_shielded_closing(autojump_clock):
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


async def test_c2_close_about_to_be_written_is_written(autojump_clock):
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


async def test_c2_expired_deadline_counts_before_trio_sees_it():
    server = Recorder(closes=False)
    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=stream):
                scope.deadline = trio.current_time() + 0.01
                while trio.current_time() <= scope.deadline:
                    pass
        await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1001]


@pytest.mark.parametrize("pinged", [True, False])
@pytest.mark.parametrize("unread", [True, False])
async def test_servers_close_is_echoed_when_its_stream_ends(pinged, unread, autojump_clock):
    async def half_closes(peer: Peer) -> None:
        await peer.accept()
        await peer.send((wire.ping(b"1") if pinged else b"") + wire.close(1000))
        await peer.stream.send_stream.aclose()
        codes.append(await peer.expect_close())

    codes: list[int | None] = []
    for _ in range(20):
        async with opened(half_closes) as (ws, _):
            if unread:
                assert [message async for message in ws] == []
            else:
                await wait_all_tasks_blocked()
    assert codes == [1000] * 20
