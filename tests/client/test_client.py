"""What the user holds: the attributes, pings, and being a Channel."""

from __future__ import annotations

import logging

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import Peer, echo_script, loopback_server, memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)


async def test_it_is_a_channel():
    async with opened(echo_script) as (ws, _):
        channel: trio.abc.Channel[str | bytes] = ws
        assert isinstance(channel, trio.abc.SendChannel)
        assert isinstance(channel, trio.abc.ReceiveChannel)
        async with channel:
            await channel.send("a")
            assert await channel.receive() == "a"
        with pytest.raises(ConnectionClosedOK):
            await channel.send("b")


async def test_attributes_tell_of_the_opening():
    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Protocol: two", "X-Twice: 1", "x-twice: 2")
        await peer.echo()

    logger = logging.getLogger("elsewhere")
    async with loopback_server(script) as url:
        async with open_websocket_client(
            url.replace("ws://", "ws://me:secret@") + "path?query",
            subprotocols=["one", "two"],
            logger=logger,
        ) as ws:
            assert ws.url == url + "path?query"
            assert ws.subprotocol == "two"
            assert ws.extensions == ()
            assert ws.redirects == ()
            assert ws.response_headers.get_all("X-TWICE") == ["1", "2"]
            assert ws.remote_address == ("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
            assert ws.local_address[0] == "127.0.0.1"
            assert ws.latency is None
            assert ws.logger is logger
            assert repr(ws) == f"<WebSocketClient {url}path?... OPEN>"
        assert repr(ws) == f"<WebSocketClient {url}path?... CLOSED>"
        assert ws.remote_address is not None


async def test_statistics_count_what_was_sent_and_taken(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve):
        await ws.send("one")
        await server.peer.send(wire.text("a") + wire.text("b") + wire.text("c", fin=False))
        await wait_all_tasks_blocked()
        await ws.receive()
        statistics = ws.statistics()
        assert (statistics.messages_sent, statistics.messages_received) == (1, 1)
        assert (statistics.bytes_sent, statistics.bytes_received) == (9, 9)
        assert (statistics.buffered_messages, statistics.buffered_bytes) == (1, 2 * 129)
        valve.shut()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ws.send, "x")
            await ws.receive()
            for _ in range(2):
                nursery.start_soon(ws.receive)
            await wait_all_tasks_blocked()
            statistics = ws.statistics()
            assert statistics.tasks_waiting_send == 2
            assert statistics.tasks_waiting_receive == 2
            nursery.cancel_scope.cancel()


async def test_statistics_count_each_byte_of_a_long_message_once(autojump_clock):
    async with opened(Recorder()) as (ws, _):
        await ws.send(bytes(200_000))
        assert ws.statistics().bytes_sent == 14 + 200_000


async def test_ping_returns_the_seconds_until_its_pong(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:
        seconds = []

        async def ping() -> None:
            seconds.append(await ws.ping(b"payload"))

        nursery.start_soon(ping)
        await trio.sleep(3)
        assert server.frames == [wire.ClientFrame(wire.PING, b"payload")]
        await server.peer.send(wire.pong(b"another") + wire.pong(b"payload"))
        await wait_all_tasks_blocked()
        assert seconds == [pytest.approx(3)]
        assert ws.latency == pytest.approx(3)


async def test_pong_answers_its_ping_and_all_older_ones():
    server = Recorder()
    answered = []

    async def ping(payload: bytes) -> None:
        await ws.ping(payload)
        answered.append(payload)

    async with opened(server) as (ws, _), trio.open_nursery() as nursery:
        for payload in (b"1", b"2", b"3"):
            nursery.start_soon(ping, payload)
            await wait_all_tasks_blocked()
        await server.peer.send(wire.pong(b"2"))
        await wait_all_tasks_blocked()
        assert sorted(answered) == [b"1", b"2"]
        await server.peer.send(wire.pong(b"3"))


async def test_ping_with_a_payload_in_flight_is_a_value_error(
    autojump_clock,
):
    server = Recorder()
    async with opened(server) as (ws, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"1")
            await wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="in flight"):
                await ws.ping(b"1")
            await server.peer.send(wire.pong(b"1"))
        with trio.move_on_after(1) as scope:
            await ws.ping(b"1")
        assert scope.cancelled_caught
        await server.peer.send(wire.pong(b"1"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"1")
            await wait_all_tasks_blocked()
            await server.peer.send(wire.pong(b"1"))
        assert server.opcodes() == [wire.PING] * 3


async def test_pong_before_its_ping_was_written_is_ignored(autojump_clock):
    server = Recorder()
    async with opened(server) as (ws, valve), trio.open_nursery() as nursery:
        valve.shut()
        nursery.start_soon(ws.send, "blocked")
        await wait_all_tasks_blocked()
        nursery.start_soon(ws.ping, b"1")
        await wait_all_tasks_blocked()
        await server.peer.send(wire.pong(b"1"))
        await wait_all_tasks_blocked()
        assert ws.latency is None
        valve.opened.set()
        await wait_all_tasks_blocked()
        await server.peer.send(wire.pong(b"1"))
        await wait_all_tasks_blocked()
        assert ws.latency is not None


async def test_tasks_may_ping_with_the_same_payload_one_after_the_other():
    async def ping() -> None:
        nonlocal answered
        await ws.ping(b"same")
        answered += 1

    for _ in range(50):
        answered = 0
        async with opened(echo_script) as (ws, _):
            await ping()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ping)
                await wait_all_tasks_blocked()
                nursery.start_soon(ping)
            assert answered == 3


async def test_empty_payload_is_one_too_beside_the_keepalive(autojump_clock):
    server = Recorder()
    async with opened(server, ping_interval=1, ping_timeout=None) as (ws, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"")
            await trio.sleep(3.5)
            await server.peer.send(wire.pong(b""))
        assert ws.latency == pytest.approx(3.5)


async def test_ping_ends_with_the_connection():
    server = Recorder()
    async with opened(server) as (ws, _), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(ConnectionClosedError):
                await ws.ping()

        nursery.start_soon(ping)
        await wait_all_tasks_blocked()
        await server.peer.stream.aclose()


async def test_ping_behind_a_full_buffer_waits_for_a_consumer(autojump_clock):
    server = Recorder()
    async with opened(server, max_buffered_bytes=1) as (ws, _):
        await server.peer.send(wire.text("full"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"1")
            await wait_all_tasks_blocked()
            await server.peer.send(wire.pong(b"1"))
            await trio.sleep(10)
            assert ws.latency is None
            await ws.receive()
        assert ws.latency is not None


async def test_unsolicited_pongs_are_sent_and_ignored():
    server = Recorder()
    async with opened(server) as (ws, _):
        await ws.pong()
        await ws.pong(b"heartbeat")
        await server.peer.send(wire.pong(b"unasked") + wire.text("a"))
        assert await ws.receive() == "a"
        assert server.frames == [
            wire.ClientFrame(wire.PONG, b""),
            wire.ClientFrame(wire.PONG, b"heartbeat"),
        ]


async def test_wait_closed_returns_as_soon_as_the_end_is_known(autojump_clock):
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        outcomes = []

        async def waits(ws: WebSocketClient) -> None:
            outcomes.append(await ws.wait_closed())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits, ws)
            nursery.start_soon(waits, ws)
            await wait_all_tasks_blocked()
            await server.peer.send(wire.close(1012, b"restart"))
            await wait_all_tasks_blocked()
            assert outcomes == [CloseFrame(1012, "restart")] * 2
        await server.peer.stream.aclose()


async def test_two_clients_do_not_share_anything():
    async with memory_server(echo_script) as one, memory_server(echo_script) as two:
        async with (
            open_websocket_client("ws://one/", stream=one) as first,
            open_websocket_client("ws://two/", stream=two) as second,
        ):
            await first.send("1")
            await second.send("2")
            assert await second.receive() == "2"
            assert await first.receive() == "1"
