"""The calls an observer gets, their order, and what happens when one raises."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
import trio
import wire
from log_records import KeepingLogger
from recorder import Recorder, opened
from scripted_server import Peer, echo_script, loopback_server, memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ClientStatistics,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    Observer,
    open_websocket_client,
    reconnecting,
)

URL = "ws://server/path?token=secret"


class Notes(Observer):
    """Keeps the arguments of every call."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.ids: set[int] = set()
        self.phases: Mapping[str, float] = {}
        self.outcomes: list[ConnectionClosed] = []
        self.statistics: list[ClientStatistics] = []

    def opened(self, connection_id: int, url: str, phases: Mapping[str, float]) -> None:
        self.ids.add(connection_id)
        self.phases = phases
        self.told.append(("opened", url))

    def frame_received(self, connection_id: int, opcode: int, size: int) -> None:
        self.ids.add(connection_id)
        self.told.append(("received", opcode, size))

    def frame_sent(self, connection_id: int, opcode: int, size: int) -> None:
        self.ids.add(connection_id)
        self.told.append(("sent", opcode, size))

    def closed(
        self, connection_id: int, outcome: ConnectionClosed, statistics: ClientStatistics
    ) -> None:
        self.ids.add(connection_id)
        self.outcomes.append(outcome)
        self.statistics.append(statistics)
        self.told.append(("closed",))


async def test_observer_gets_opening_frames_and_end_in_order(autojump_clock):
    notes = Notes()

    async def script(peer: Peer) -> None:
        await peer.accept(behind=wire.ping(b"early"))
        assert await peer.next_frame() == wire.ClientFrame(wire.PONG, b"early")
        await peer.send(wire.text("ab", fin=False) + wire.ping(b"p") + wire.continuation(b"c"))
        assert await peer.next_frame() == wire.ClientFrame(wire.PONG, b"p")
        await peer.next_frame()
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, observer=notes) as ws:
            assert await ws.receive() == "abc"
            await trio.sleep(1)
            await ws.send(bytes(70_000))
            connection_id = ws.connection_id
    assert notes.told == [
        ("opened", "ws://server/path?token=..."),
        ("received", 9, 5),
        ("sent", 10, 5),
        ("received", 1, 2),
        ("received", 9, 1),
        ("received", 0, 1),
        ("sent", 10, 1),
        ("sent", 2, 70_000),
        ("sent", 8, 2),
        ("received", 8, 2),
        ("closed",),
    ]
    assert notes.ids == {connection_id}
    assert isinstance(notes.outcomes[0], ConnectionClosedOK)
    assert notes.statistics[0].messages_sent == 1


async def test_opened_gets_the_seconds_of_each_phase(autojump_clock):
    notes = Notes()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await trio.sleep(2)
        await peer.send(wire.answer(peer.request))
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(URL, stream=stream, observer=notes):
            await trio.sleep(5)
    assert notes.phases == pytest.approx({"handshake": 2}, abs=0.01)


async def test_opened_gets_the_phases_in_order(server_ssl_context, client_ssl_context):
    notes = Notes()
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        before = trio.current_time()
        async with open_websocket_client(url, ssl_context=client_ssl_context, observer=notes) as ws:
            took = trio.current_time() - before
            await ws.send("a")
            assert await ws.receive() == "a"
    assert list(notes.phases) == ["connect", "tls", "handshake"]
    assert all(seconds > 0 for seconds in notes.phases.values())
    assert sum(notes.phases.values()) <= took


async def test_closed_is_called_when_no_close_came(autojump_clock):
    notes = Notes()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    async with memory_server(script) as stream:
        with pytest.raises(ConnectionClosedError):
            async with open_websocket_client(URL, stream=stream, observer=notes) as ws:
                await ws.receive()
    assert [str(outcome) for outcome in notes.outcomes] == ["no Close frame: the stream ended"]


async def test_closed_is_called_when_the_block_is_cancelled(autojump_clock):
    notes = Notes()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.wait_eof()

    async with memory_server(script) as stream:
        with trio.move_on_after(1):
            async with open_websocket_client(URL, stream=stream, observer=notes):
                await trio.sleep_forever()
    assert notes.told[-2:] == [("sent", 8, 2), ("closed",)]


async def test_observer_gets_nothing_when_opening_fails(autojump_clock):
    notes = Notes()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.stream.aclose()

    async with memory_server(script) as stream:
        with pytest.raises(HandshakeError):
            async with open_websocket_client(URL, stream=stream, observer=notes):
                pass
    assert notes.told == []


async def test_observer_watches_several_connections():
    notes = Notes()
    async with loopback_server(echo_script) as url:
        async with (
            open_websocket_client(url, observer=notes) as first,
            open_websocket_client(url, observer=notes) as second,
        ):
            ids = {first.connection_id, second.connection_id}
        async for connection in reconnecting(url, observer=notes):
            async with connection as third:
                ids.add(third.connection_id)
            break
    assert len(ids) == 3
    assert notes.ids == ids
    assert notes.told.count(("closed",)) == 3


@pytest.mark.parametrize("method", ["opened", "frame_received", "frame_sent", "closed"])
async def test_observer_is_dropped_and_logged_when_it_raises(autojump_clock, method: str):
    class Broken(Notes):
        pass

    def broken(*_: object) -> None:
        raise ValueError("broken")

    setattr(Broken, method, broken)
    notes, logger = Broken(), KeepingLogger(logging.ERROR)
    server = Recorder()
    async with opened(server, observer=notes, logger=logger) as (ws, _):
        await ws.send("a")
        await server.peer.send(wire.text("b"))
        assert await ws.receive() == "b"
    (record,) = logger.records
    assert "the observer has raised" in record.getMessage()
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)
    told = [each[0] for each in notes.told]
    assert (
        told
        == {
            "opened": [],
            "frame_sent": ["opened"],
            "frame_received": ["opened", "sent"],
            "closed": ["opened", "sent", "received", "sent", "received"],
        }[method]
    )


async def test_observer_methods_do_nothing_by_default(autojump_clock):
    async with memory_server(echo_script) as stream:
        async with open_websocket_client(URL, stream=stream, observer=Observer()) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"


def test_observer_option_rejects_other_objects():
    with pytest.raises(TypeError, match=r"observer has to be a trio_wsclient\.Observer or None"):
        open_websocket_client(URL, observer=object())


async def test_observer_may_ask_for_the_outcome_in_frame_received():
    """The question does not read within the handling of what was read."""

    class Asks(Observer):
        def frame_received(self, connection_id: int, opcode: int, size: int) -> None:
            if clients:
                outcomes.append(clients[0].outcome)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await peer.send(wire.text("one") + wire.text("two") + wire.ping() + wire.text("three"))
        await peer.close_politely()

    clients, outcomes = [], []
    with trio.fail_after(30):
        async with (
            loopback_server(script) as url,
            open_websocket_client(url, observer=Asks()) as ws,
        ):
            clients.append(ws)
            await ws.send("go")
            assert [await ws.receive() for _ in range(3)] == ["one", "two", "three"]
            assert outcomes == [None] * 4


async def test_observer_may_read_another_connection_in_frame_received():
    """All connections read into one buffer, and the frames of this one are still in it."""

    class Reads(Observer):
        def frame_received(self, connection_id: int, opcode: int, size: int) -> None:
            if opcode == wire.TEXT:
                # Only what has not been read yet is read here, so send it now.
                other_server.peer.stream.socket._sock.send(wire.text("x" * 100))
                assert other.outcome is None

    server, other_server = Recorder(), Recorder()
    with trio.fail_after(30):
        async with (
            loopback_server(server) as url,
            loopback_server(other_server) as other_url,
            open_websocket_client(other_url) as other,
            open_websocket_client(url, observer=Reads()) as ws,
        ):
            await wait_all_tasks_blocked()
            await server.peer.send(wire.text("one") + wire.text("two") + wire.text("three"))
            assert [await ws.receive() for _ in range(3)] == ["one", "two", "three"]
            assert [await other.receive() for _ in range(3)] == ["x" * 100] * 3
