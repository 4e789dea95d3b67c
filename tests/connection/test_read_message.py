"""A receiver that waits for the socket gets a message that comes alone without the queue."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import wire
from recorder import Recorder
from scripted_server import Peer, loopback_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    WebSocketInternalError,
    open_websocket_client,
)

LONG = "x" * 100_000
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Server(Recorder):
    """A recorder that accepts compression."""

    async def __call__(self, peer: Peer) -> None:
        accept = peer.accept
        peer.accept = lambda: accept(*([DEFLATE] if self.deflates else []))
        await super().__call__(peer)

    deflates = False


def compressed(text: str) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return wire.frame(wire.TEXT, payload.removesuffix(b"\0\0\xff\xff"), rsv=4)


@asynccontextmanager
async def opened(**options: object) -> AsyncIterator[tuple[WebSocketClient, Peer]]:
    """Open a connection whose background reader rests, so that the next receiver reads."""
    server = Server()
    server.deflates = "compression" in options
    with trio.fail_after(30):
        async with (
            loopback_server(server) as url,
            open_websocket_client(url, close_timeout=5, **options) as ws,
        ):
            async with trio.open_nursery() as nursery:
                await wait_all_tasks_blocked()
                nursery.start_soon(ws.receive)
                await wait_all_tasks_blocked()
                await server.peer.send(wire.text("first"))
            assert not ws._connection.shared_reader.is_active
            yield ws, server.peer


@asynccontextmanager
async def receiving(ws: WebSocketClient, *, count: int = 1) -> AsyncIterator[list[str | bytes]]:
    """Wait for messages during the block, as the active reader; yield what was received."""
    received: list[str | bytes] = []

    async def receive() -> None:
        received.extend([await ws.receive() for _ in range(count)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert ws._connection.shared_reader.is_led_by_receiver
        yield received


@pytest.mark.parametrize(
    ("options", "data", "messages"),
    [
        ({}, [wire.text("grüße")], ["grüße"]),
        ({}, [wire.binary(b"\xff")], [b"\xff"]),
        ({}, [wire.text("")], [""]),
        ({"decode_text": False}, [wire.frame(wire.TEXT, b"\xff")], [b"\xff"]),
        ({}, [wire.text("a") + wire.text("b")], ["a", "b"]),
        ({}, [wire.text("a") + wire.text("b")[:1], wire.text("b")[1:]], ["a", "b"]),
        ({}, [wire.text("a", fin=False), wire.continuation(b"b")], ["ab"]),
        ({}, [wire.text("a", fin=False), wire.pong(b""), wire.continuation(b"b")], ["ab"]),
        ({}, [wire.ping(b"") + wire.text("a")], ["a"]),
        ({}, [wire.text(LONG)], [LONG]),
        ({"max_message_size": None}, [wire.text(LONG) * 5], [LONG] * 5),
        ({"compression": "deflate"}, [compressed("a"), wire.text("b")], ["a", "b"]),
    ],
)
async def test_receiver_that_waits_gets_every_message(options, data, messages):
    async with opened(**options) as (ws, peer):
        before = ws.statistics()
        async with receiving(ws, count=len(messages)) as received:
            for each in data:
                await peer.send(each)
                await wait_all_tasks_blocked()
        assert received == messages
        after = ws.statistics()
        assert after.messages_received - before.messages_received == len(messages)
        assert after.bytes_received - before.bytes_received == len(b"".join(data))
        assert after.buffered_messages == after.tasks_waiting_receive == 0


async def test_message_over_the_limit_fails_the_connection():
    async with opened(max_message_size=5) as (ws, peer):
        with pytest.RaisesGroup(pytest.RaisesExc(ConnectionClosedError, match="1009")):
            async with receiving(ws):
                await peer.send(wire.text("longer"))


async def test_cancelled_receiver_takes_nothing():
    async with opened() as (ws, peer):
        for _ in range(3):
            with trio.CancelScope() as scope:
                async with receiving(ws):
                    scope.cancel()
        async with receiving(ws) as received:
            await peer.send(wire.text("a"))
        assert received == ["a"]


async def test_message_of_another_read_stays_in_the_queue():
    async with opened() as (ws, peer):
        await peer.send(wire.text("a") + wire.text("b"))
        assert ws.receive_nowait() == "a"
        await peer.send(wire.text("c"))
        assert ws._connection.stream_reader.read_message() is None
        assert [await ws.receive(), await ws.receive()] == ["b", "c"]


async def test_receiver_waits_on_if_nothing_has_come(monkeypatch):
    """A TLS record, for example, may come in parts."""
    async with opened() as (ws, peer):
        stream = ws._connection._stream
        receive_nowait, calls = stream.receive_nowait, []

        def nothing_at_first() -> int | None:
            calls.append(None)
            return None if len(calls) == 1 else receive_nowait()

        monkeypatch.setattr(stream, "receive_nowait", nothing_at_first)
        async with receiving(ws) as received:
            await peer.send(wire.text("a"))
        assert received == ["a"]
        assert len(calls) == 2


async def test_receiver_learns_that_the_stream_is_closed():
    async with opened() as (ws, _):
        with pytest.RaisesGroup(ConnectionClosedError):
            async with receiving(ws):
                ws._connection._stream.close()


def break_reading(ws: WebSocketClient, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    connection = ws._connection
    if place == "stream":
        monkeypatch.setattr(connection._stream, "receive_nowait", fail)
    else:
        monkeypatch.setattr(connection.protocol, "read_single", fail)


@pytest.mark.parametrize("place", ["stream", "protocol"])
async def test_x2_bug_in_reading_a_message_is_an_internal_error(place, monkeypatch):
    raised: list[BaseException] = []
    with pytest.RaisesGroup(WebSocketInternalError) as caught:  # The server has a nursery.
        async with opened() as (ws, peer):
            try:
                async with receiving(ws):
                    break_reading(ws, place, monkeypatch)
                    await peer.send(wire.text("a"))
            except BaseException as exc:
                raised.append(exc)
    # Checked here, because the bug would hide a failure inside of the block.
    assert pytest.RaisesGroup(WebSocketInternalError).matches(raised[0])
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__.exceptions[0], ZeroDivisionError)


@pytest.mark.parametrize("call", ["receive_nowait", "outcome"])
async def test_x2_bug_in_reading_without_waiting_is_an_internal_error(call, monkeypatch):
    got: list[object] = []
    with pytest.RaisesGroup(WebSocketInternalError) as caught:
        async with opened() as (ws, _):
            break_reading(ws, "stream", monkeypatch)
            try:
                got.append(ws.outcome if call == "outcome" else ws.receive_nowait())
            except Exception as exc:
                got.append(exc)
    kind = ConnectionClosedError if call == "outcome" else WebSocketInternalError
    assert isinstance(got[0], kind)
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__.exceptions[0], ZeroDivisionError)


async def test_message_answers_a_keepalive_ping():
    async with opened() as (ws, peer):
        pings = ws._connection.pings
        pings.request(b"ping")
        pings.take_due()
        assert not pings.has_received
        async with receiving(ws):
            await peer.send(wire.text("a"))
        assert pings.has_received


@pytest.mark.parametrize("end", [b"", wire.close(1000)], ids=["open", "closed"])
async def test_message_read_by_outcome_is_for_the_receiver_that_waits(end):
    async with opened() as (ws, peer):
        async with receiving(ws) as received:
            peer.stream.socket._sock.send(wire.text("a") + end)
            ws.outcome  # noqa: B018 it reads
            ws._connection.time_slice.renew()  # The next call is no schedule point.
            with trio.move_on_after(0.1), pytest.raises(ConnectionClosedOK):
                received.append(await ws.receive())
                received.append("by the second receiver")
        assert received == ["a"]
