"""The loop over connections: what goes on, what ends it, and that nothing stays open (E5)."""

from __future__ import annotations

import gc
import itertools
import logging
import random
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing
import wire
from scripted_server import Peer, deaf, loopback_server

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    InvalidURL,
    Observer,
    Reconnecting,
    Reconnection,
    WebSocketClient,
    WebSocketError,
    WebSocketInternalError,
    open_websocket_client,
    reconnecting,
    retry_delay,
)
from trio_wsclient._connection import keepalive
from trio_wsclient._net import connect
from trio_wsclient._scheduling import call_after_ticks

URL = "ws://server/"
Server = Callable[[Peer], Awaitable[object]] | Exception


class Town:
    """A fake of the network: each connection is served by the next script, or fails.

    `streams` has the client's end of each; `tried_at` the times.
    """

    def __init__(self, nursery: trio.Nursery, *servers: Server) -> None:
        self._nursery = nursery
        self.servers = deque(servers)
        self.streams: list[trio.StapledStream] = []
        self.tried_at: list[float] = []

    async def connect(
        self, host: str, port: int, *, local_address: str | None = None
    ) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.tried_at.append(trio.current_time())
        server = self.servers.popleft() if len(self.servers) > 1 else self.servers[0]
        if isinstance(server, Exception):
            raise server
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(server, Peer(theirs))
        self.streams.append(ours)
        return ours

    async def nothing_is_open(self) -> bool:
        for stream in self.streams:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
        return True


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Callable[..., Town]:
    def make(*servers: Server) -> Town:
        made = Town(nursery, *servers)
        monkeypatch.setattr(connect, "connect_tcp", made.connect)
        return made

    return make


@pytest.fixture(autouse=True)
def _largest_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)


REFUSED = HandshakeError("TCP: connection refused")
REFUSED.__cause__ = ConnectionRefusedError()


def says(*messages: str, code: int | None = 1001, after: float = 0) -> Server:
    """Make a server that sends messages, closes, and waits for the answer."""

    async def server(peer: Peer) -> None:
        await peer.accept()
        for message in messages:
            await peer.send(wire.text(message))
        await trio.sleep(after)
        with suppress(trio.BrokenResourceError):
            await peer.send(wire.close(code))
            await peer.expect_close()
        await peer.stream.aclose()

    return server


def cuts(*messages: str, after: float = 0) -> Server:
    """Make a server that sends messages and ends TCP."""

    async def server(peer: Peer) -> None:
        await peer.accept()
        for message in messages:
            await peer.send(wire.text(message))
        await trio.sleep(after)
        await peer.stream.aclose()

    return server


def refuses(status: str, *lines: str) -> Server:
    async def server(peer: Peer) -> None:
        await peer.read_request()
        head = [f"HTTP/1.1 {status}", "Content-Length: 0", *lines, "", ""]
        await peer.send("\r\n".join(head).encode())

    return server


def until_1000(target: object = URL, **options: object) -> Reconnecting:
    """Make a loop that ends after a connection whose Close has the code 1000."""

    def delay(error: WebSocketError, failures: int) -> float | None:
        if isinstance(error, ConnectionClosed) and error.code == 1000:
            return None
        return retry_delay(error, failures)

    return reconnecting(target, **{"retry_delay": delay, **options})


async def waits(peer: Peer) -> None:
    """Accept, and answer the Close, if anybody is left to answer."""
    await peer.accept()
    with suppress(trio.BrokenResourceError):
        await peer.close_politely()


async def messages_of(loop: AsyncIterator[Reconnection]) -> list[str | bytes]:
    received = []
    async for connection in loop:
        async with connection as ws:
            async for message in ws:
                received.append(message)  # noqa: PERF401 what came before an error stays
    return received


# What the loop goes on after


async def test_loop_goes_over_connections_until_close_1000(town, autojump_clock):
    town(says("a", "b"), cuts_in_order := says("c", code=None), says("d", code=1000), cuts_in_order)
    assert await messages_of(until_1000(URL)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("code", [1001, None, 1011, 1012, 1013, 1014])
async def test_it_goes_on_after_a_close_that_is_worth_it(town, autojump_clock, code: int | None):
    town(says("a", code=code), says("b", code=1000))
    received = []
    async for connection in until_1000(URL):
        async with connection as ws:
            while True:
                received.append(await ws.receive())
    assert received == ["a", "b"]


@pytest.mark.parametrize("call", ["receive", "send", "ping", "batch", "frames"])
async def test_whichever_call_has_said_that_it_is_over(town, autojump_clock, call: str):
    town(cuts(after=1), cuts(after=1), says(code=1000))

    async def use(ws: WebSocketClient) -> None:
        if call == "frames":
            async for _ in ws.frames():
                pass
        calls = {
            "receive": ws.receive,
            "batch": ws.receive_batch,
            "send": lambda: ws.send("x"),
            "ping": ws.ping,
        }
        while call in calls:
            await calls[call]()
            await trio.sleep(0.1)

    connections = 0
    async for connection in until_1000(URL):
        async with connection as ws:
            connections += 1
            await use(ws)
    assert connections == 3


async def test_nurserys_group_of_its_end_alone_is_its_end(town, autojump_clock):
    town(cuts("a"), says("b", code=1000))
    received = []

    async def reader(ws: WebSocketClient) -> None:
        while True:
            received.append(await ws.receive())

    async for connection in until_1000(URL):
        async with connection as ws, trio.open_nursery() as nursery:
            nursery.start_soon(reader, ws)
            async with trio.open_nursery() as inner:
                inner.start_soon(reader, ws)
                inner.start_soon(reader, ws)
    assert received == ["a", "b"]


async def test_it_goes_on_when_the_end_was_not_noticed(town, autojump_clock):
    network = town(cuts(after=1), waits)
    connections = 0
    async for connection in until_1000(URL):
        async with connection:
            connections += 1
            await trio.sleep(2)
    assert connections == 2
    assert len(network.tried_at) == 2


async def test_leaving_the_block_goes_on_without_spinning(town, autojump_clock):
    network = town(waits)
    async for connection in reconnecting(URL):
        async with connection:
            pass
        if len(network.tried_at) == 4:
            break
    assert network.tried_at == pytest.approx([0, 1, 3, 7])


async def test_normal_end_after_a_long_time_costs_no_delay(town, autojump_clock):
    network = town(REFUSED, waits)
    async for connection in reconnecting(URL):
        assert connection.attempt == 1
        async with connection:
            await trio.sleep(60)
        if len(network.tried_at) == 4:
            break
    assert network.tried_at == pytest.approx([0, 1, 61, 121])


@pytest.mark.parametrize("code", [1000, 1001, 1012, 4000])
@pytest.mark.parametrize("answer", [None, 1000, 1001, 1011, 4001])
async def test_own_close_goes_on_whatever_its_code_and_answer(
    town, autojump_clock, code: int, answer: int | None
):
    async def server(peer: Peer) -> None:
        await peer.accept()
        assert await peer.expect_close() == code
        await peer.send(wire.close(answer))
        await peer.stream.aclose()

    network = town(server)
    async for connection in reconnecting(URL):
        if len(network.tried_at) == 2:
            break
        async with connection as ws:
            await ws.aclose(code)


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_normal_end_of_the_server_goes_on(town, autojump_clock, code: int | None):
    network = town(says("a", code=code))
    with trio.move_on_after(100):
        await messages_of(reconnecting(URL))
    assert len(network.tried_at) == 7


async def test_block_without_exception_goes_on_whatever_the_code(town, autojump_clock):
    asked = []

    def delay(error: WebSocketError, failures: int) -> float | None:
        asked.append(error)
        return retry_delay(error, failures)

    network = town(says(code=4000))
    async for connection in reconnecting(URL, retry_delay=delay):
        if len(network.tried_at) == 2:
            break
        async with connection as ws:
            with suppress(ConnectionClosedError):
                await ws.receive()
    assert [type(error) for error in asked] == [ConnectionClosedOK] * 2
    assert [error.code for error in asked] == [4000] * 2
    assert {error.closed_by for error in asked} == {"server"}
    assert None not in {error.connection_id for error in asked}


async def test_retry_delay_may_end_the_loop_quietly(town, autojump_clock):
    network = town(waits)
    async for connection in reconnecting(URL, retry_delay=lambda *_: None):
        async with connection:
            pass
    assert len(network.tried_at) == 1


async def test_break_after_the_block_asks_nobody(town, autojump_clock):
    def delay(error: WebSocketError, failures: int) -> float | None:
        raise AssertionError

    town(says(code=4000))
    async for connection in reconnecting(URL, retry_delay=delay):
        async with connection as ws:
            await ws.receive()
        break


async def test_next_connection_raises_the_end_that_is_not_worth_a_retry(town, autojump_clock):
    town(says(code=4000))
    loop = reconnecting(URL)
    connection = await anext(loop)
    async with connection as ws:
        await ws.receive()
    with pytest.raises(ConnectionClosedError) as caught:
        await anext(loop)
    assert (caught.value.code, caught.value.__context__) == (4000, None)
    with pytest.raises(StopAsyncIteration):
        await anext(loop)


async def test_next_connection_needs_the_last_one_to_be_entered(town):
    network = town(waits)
    loop = reconnecting(URL)
    with trio.testing.assert_checkpoints():
        await anext(loop)
    with pytest.raises(RuntimeError, match="async with connection as ws"):
        await anext(loop)
    assert network.tried_at == []


async def test_observer_is_told_of_each_retry(town, autojump_clock, caplog):
    class Notes(Observer):
        def __init__(self) -> None:
            self.told: list[tuple[int | None, WebSocketError, float]] = []
            self.failed: list[int] = []
            self.closed_ids: list[int] = []

        def opening_failed(self, connection_id, url, error, phases) -> None:
            self.failed.append(connection_id)

        def closed(self, connection_id, outcome, statistics) -> None:
            self.closed_ids.append(connection_id)

        def retrying(self, connection_id, error, delay) -> None:
            self.told.append((connection_id, error, delay))
            if len(self.told) == 3:
                raise ValueError("a bug of the observer")

    notes = Notes()
    calls = 0

    async def make_url() -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ConnectionResetError("no token")
        return URL

    network = town(refuses("503 No"), cuts(), says(code=1000), says(code=1000))
    await messages_of(until_1000(make_url, observer=notes))
    assert len(network.tried_at) == 3
    assert [number for number, *_ in notes.told] == [notes.failed[0], notes.closed_ids[0], None]
    assert [delay for *_, delay in notes.told] == [1, 2, 4]
    kinds = [ConnectionRejected, ConnectionClosedError, HandshakeError]
    assert [type(error) for _, error, _ in notes.told] == kinds
    assert str(notes.told[2][1]) == "the target failed: ConnectionResetError"
    assert "the observer has raised" in caplog.text


# A feed that falls silent


def falls_silent(*pauses: float) -> Server:
    """Make a server that sends a message after each pause, and then only answers pings."""

    async def server(peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError):
            for pause in pauses:
                await trio.sleep(pause)
                await peer.send(wire.text("tick"))
            while True:
                await trio.sleep(1)
                await peer.send(wire.ping())

    return server


async def test_silent_connection_is_failed_and_retried(town, autojump_clock):
    network = town(falls_silent(9, 9, 9), says("b", code=1000))
    ended = []
    received = []
    async for connection in until_1000(URL, silence_timeout=10):
        ended.append(connection.last_error)
        async with connection as ws:
            async for message in ws:
                received.append(message)  # noqa: PERF401
    assert received == ["tick"] * 3 + ["b"]
    assert isinstance(ended[1], ConnectionClosedError)
    assert str(ended[1].__cause__) == "no message for 10 s"
    assert ended[1].sent.code == 1011
    # It is noticed within a tenth of the timeout.
    assert 27 + 10 <= network.tried_at[1] - 1 <= 27 + 11 + 0.01


async def test_messages_that_nobody_takes_are_no_silence(town, autojump_clock):
    """While a full queue keeps the client from reading, the clock stands."""

    async def floods(peer: Peer) -> None:
        await peer.accept()
        for _ in range(200):
            await peer.send(wire.binary(bytes(1000)))
        await peer.close_politely()

    network = town(floods)
    async for connection in reconnecting(URL, silence_timeout=1, max_buffered_bytes=10_000):
        async with connection as ws:
            await trio.sleep(100)
            assert len(await ws.receive()) == 1000
            await trio.sleep(0.5)
        break
    assert len(network.tried_at) == 1


@pytest.mark.parametrize("silence_timeout", [None, float("inf")])
async def test_connection_may_be_silent_by_default(town, autojump_clock, silence_timeout):
    network = town(falls_silent())
    async for connection in reconnecting(URL, silence_timeout=silence_timeout):
        async with connection:
            await trio.sleep(10_000)
        break
    assert len(network.tried_at) == 1


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
async def test_exception_leaves_a_watched_block_as_it_is(town, autojump_clock, error):
    network = town(waits)
    with pytest.raises(type(error)) as caught:
        async for connection in reconnecting(URL, silence_timeout=10):
            async with connection:
                raise error
    assert caught.value is error
    assert error.__context__ is None
    assert await network.nothing_is_open()


async def test_cancel_of_a_watched_block_leaves_nothing_open(town, autojump_clock):
    network = town(deaf)
    with trio.move_on_after(5) as scope:
        async for connection in reconnecting(URL, silence_timeout=10):
            async with connection:
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5, abs=0.01)
    assert await network.nothing_is_open()


async def test_bug_of_the_silence_task_is_an_internal_error(town, autojump_clock, monkeypatch):
    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keepalive, "_watch_messages", fails)
    town(left_by(waits))
    with pytest.raises(WebSocketInternalError):
        async for connection in reconnecting(URL, silence_timeout=10):
            async with connection as ws:
                await ws.receive()


# What ends it


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4999])
async def test_close_that_is_not_worth_it_leaves_the_loop(town, autojump_clock, code: int):
    network = town(says("a", code=code))
    with pytest.raises(ConnectionClosedError) as caught:
        await messages_of(until_1000(URL))
    assert caught.value.code == code
    assert len(network.tried_at) == 1
    assert await network.nothing_is_open()


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
async def test_rejection_that_is_not_worth_it_leaves_the_loop(town, autojump_clock, status: str):
    network = town(says("a"), refuses("503 Busy"), refuses(status))
    with pytest.raises(ConnectionRejected) as caught:
        await messages_of(until_1000(URL))
    assert caught.value.status_code == int(status[:3])
    assert len(network.tried_at) == 3


async def test_message_cut_off_is_an_error_even_with_close_1000(town, autojump_clock):
    async def server(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("a", fin=False) + wire.close(1000))
        await peer.wait_eof()

    town(server)
    with pytest.raises(ConnectionClosedError):
        await messages_of(until_1000(URL))


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), trio.EndOfChannel()])
async def test_what_the_block_raises_leaves_it_as_it_is(town, autojump_clock, error):
    network = town(waits)
    with pytest.raises(type(error)) as caught:
        async for connection in until_1000(URL):
            async with connection:
                raise error
    assert caught.value is error
    assert await network.nothing_is_open()


async def test_end_of_another_connection_is_not_its_own(town, autojump_clock):
    network = town(waits, cuts())
    with pytest.raises(ConnectionClosedError) as caught:
        async for connection in until_1000(URL):
            async with connection as ws, open_websocket_client(URL) as other:
                assert ws.connection_id != other.connection_id
                await other.receive()
    assert caught.value.code == 1006
    assert len(network.tried_at) == 2


async def test_group_with_anything_else_leaves_it_as_it_is(town, autojump_clock):
    town(cuts())
    group = None
    with pytest.raises(ExceptionGroup) as caught:
        async for connection in until_1000(URL):
            async with connection as ws:
                with suppress(trio.TooSlowError):
                    await trio.sleep(1)
                try:
                    await ws.receive()
                except ConnectionClosed as exc:
                    group = ExceptionGroup("both", [exc, ValueError("mine")])
                    raise group from None
    assert caught.value is group


@pytest.mark.parametrize("leave", ["break", "return"])
async def test_loop_may_be_left_at_any_time(town, autojump_clock, leave: str):
    network = town(says("a"), waits)

    async def use() -> None:
        async for connection in until_1000(URL):
            async with connection as ws:
                if connection.last_error is None:
                    await ws.receive()
                    await ws.receive()
                elif leave == "break":
                    break
                else:
                    return

    await use()
    assert len(network.tried_at) == 2
    assert await network.nothing_is_open()


async def test_loop_may_be_left_between_two_connections(town, autojump_clock):
    network = town(says("a"))
    async for connection in until_1000(URL):
        if connection.last_error is not None:
            break
        async with connection as ws:
            async for _ in ws:
                pass
    assert len(network.tried_at) == 1
    assert await network.nothing_is_open()


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 3.2, 4])
async def test_deadline_ends_it_wherever_it_is(town, autojump_clock, seconds: float):
    # At 0 s open, at 1 s cut, at 2 s refused, at 4 s open and deaf.
    network = town(cuts(after=1), REFUSED, deaf)
    with trio.move_on_after(seconds) as scope:
        await messages_of(until_1000(URL))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(seconds, abs=0.01)
    assert await network.nothing_is_open()


async def test_cancel_while_it_opens_leaves_nothing_open(town, autojump_clock):
    async def silent(peer: Peer) -> None:
        await peer.read_request()

    network = town(silent)
    with trio.move_on_after(1) as scope:
        await messages_of(until_1000(URL))
    assert scope.cancelled_caught
    assert await network.nothing_is_open()


def left_by(server: Server) -> Server:
    """Make a server whose client may leave at any time."""
    assert not isinstance(server, Exception)

    async def script(peer: Peer) -> None:
        with suppress(AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            await server(peer)

    return script


async def test_cancel_in_any_scheduler_tick_leaves_nothing_open(town, autojump_clock):
    for ticks in itertools.count():
        network = town(left_by(cuts("a")), REFUSED, left_by(says("b", code=1000)))
        received: list[str | bytes] = []
        with trio.CancelScope() as scope:
            call_after_ticks(ticks, scope.cancel, unless=lambda: False)
            async for connection in until_1000(URL, first_delay=0):
                async with connection as ws:
                    async for message in ws:
                        received.append(message)  # noqa: PERF401
        assert await network.nothing_is_open()
        if not scope.cancelled_caught:
            break
    assert received == ["a", "b"]
    assert ticks > 20


# When it tries


async def test_delays_double_up_to_a_limit(town, autojump_clock):
    network = town(*[REFUSED] * 9, says(code=1000))
    await messages_of(until_1000(URL, first_delay=1, max_delay=60))
    times = network.tried_at
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


async def test_delay_is_drawn_from_all_of_its_range(town, autojump_clock, monkeypatch):
    drawn = []
    monkeypatch.setattr(random, "uniform", lambda *bounds: drawn.append(bounds) or 0.25)
    network = town(REFUSED, REFUSED, says(code=1000))
    await messages_of(until_1000(URL, first_delay=2, max_delay=3))
    assert drawn == [(0, 2), (0, 3)]
    assert network.tried_at == pytest.approx([0, 0.25, 0.5])


async def test_connection_that_did_not_last_counts_as_a_failure(town, autojump_clock):
    network = town(says("a"), says("b", after=59), says("c", code=1000))
    await messages_of(until_1000(URL))
    assert network.tried_at == pytest.approx([0, 1, 1 + 59 + 2])


async def test_delays_start_again_after_a_long_connection(town, autojump_clock):
    network = town(REFUSED, REFUSED, cuts(after=60), REFUSED, says(code=1000))
    await messages_of(until_1000(URL))
    assert network.tried_at == pytest.approx([0, 1, 3, 3 + 60 + 1, 64 + 2])


async def test_how_long_it_has_to_last_may_be_said(town, autojump_clock):
    network = town(REFUSED, REFUSED, cuts(after=5), says(code=1000))
    await messages_of(until_1000(URL, reset_after=5))
    assert network.tried_at == pytest.approx([0, 1, 3, 3 + 5 + 1])


async def test_failed_tries_are_counted_with_reset_after_zero(town, autojump_clock):
    told = []

    def delay(error: WebSocketError, failures: int) -> float | None:
        told.append(failures)
        return None if failures > 3 else 0.0

    network = town(REFUSED)
    with pytest.raises(HandshakeError):
        await messages_of(until_1000(URL, reset_after=0, retry_delay=delay))
    assert told == [1, 2, 3, 4]
    assert network.tried_at == pytest.approx([0, 1, 3, 7])


async def test_server_that_asks_for_more_time_gets_it(town, autojump_clock):
    network = town(refuses("503 Busy", "Retry-After: 100"), refuses("429 No"), says(code=1000))
    await messages_of(until_1000(URL))
    # Clients that were told the same do not come back together.
    assert network.tried_at == pytest.approx([0, 100 + 1, 101 + 2])


async def test_day_of_outages_takes_no_time(town, autojump_clock):
    network = town(REFUSED)
    with trio.move_on_after(86_400):
        await messages_of(until_1000(URL))
    assert 1400 < len(network.tried_at) < 1500


async def test_after_very_many_failures_the_delay_is_still_a_number(town, autojump_clock):
    network = town(*[REFUSED] * 1200, says(code=1000))
    await messages_of(until_1000(URL, max_delay=0.01))
    assert len(network.tried_at) == 1201


async def test_without_delays_each_try_lets_other_tasks_run(town, autojump_clock):
    network = town(REFUSED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(messages_of, reconnecting(URL, first_delay=0, max_delay=0))
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert 10 < len(network.tried_at) < 100


# Who decides


async def test_what_is_worth_it_is_for_the_user_to_say(town, autojump_clock):
    asked: list[tuple[WebSocketError, int]] = []

    def decide(error: WebSocketError, failures: int) -> float | None:
        asked.append((error, failures))
        return None if failures == 3 else 7.5

    network = town(refuses("404 Not Found"), says(code=1000), cuts())
    with pytest.raises(ConnectionClosedError):
        await messages_of(until_1000(URL, retry_delay=decide, first_delay=0))
    assert network.tried_at == pytest.approx([0, 7.5, 15])
    assert [failures for _, failures in asked] == [1, 2, 3]
    kinds = [ConnectionRejected, ConnectionClosedOK, ConnectionClosedError]
    assert all(isinstance(error, kind) for (error, _), kind in zip(asked, kinds, strict=True))


async def test_tries_are_counted_by_the_user(town, autojump_clock):
    network = town(REFUSED)
    with pytest.raises(HandshakeError) as caught:
        await messages_of(
            reconnecting(
                URL, retry_delay=lambda e, failures: None if failures > 5 else retry_delay(e, 1)
            )
        )
    assert caught.value is REFUSED
    assert len(network.tried_at) == 6


async def test_attempts_and_the_last_error_are_known(town, autojump_clock):
    town(REFUSED, says("a"), cuts(after=60), says(code=1000))
    seen = []
    async for connection in until_1000(URL):
        before = (connection.attempt, connection.last_error)
        async with connection as ws:
            seen.append((before, connection.attempt, connection.last_error))
            async for _ in ws:
                pass
    (first, second, third) = seen
    assert first == ((1, None), 2, REFUSED)
    assert (second[0][0], second[1]) == (3, 3)
    assert isinstance(second[2], ConnectionClosed)
    assert second[2].code == 1001
    assert (third[0][0], third[1]) == (2, 2)
    assert isinstance(third[2], ConnectionClosedError)


async def test_last_error_does_not_keep_its_connection_alive(town, autojump_clock):
    async def cuts_after_two(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("taken") + wire.text("not taken"))
        await peer.stream.aclose()

    town(cuts_after_two)
    old: list[weakref.ref[WebSocketClient]] = []
    async for connection in until_1000(URL):
        async with connection as ws:
            if old:
                assert isinstance(connection.last_error, ConnectionClosedError)
                gc.collect()
                assert old[0]() is None
                break
            old.append(weakref.ref(ws))
            async for _ in ws:
                pass


async def test_each_pause_is_logged(town, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    town(REFUSED, says(code=1000))
    await messages_of(until_1000(URL, logger=logging.getLogger("mine")))
    records = [record for record in caplog.records if record.levelno == logging.INFO]
    assert [(record.name, record.getMessage()) for record in records] == [
        ("mine", "trying again in 1.0 s: TCP: connection refused")
    ]


# What is connected to


async def test_function_is_called_before_each_try(town, autojump_clock):
    town(REFUSED, says("a"), says("b", code=1000))
    tokens = iter(["one", "two", "three"])
    used = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[WebSocketClient]:
        used.append(next(tokens))
        headers = {"Authorization": f"Bearer {used[-1]}"}
        async with open_websocket_client(URL, extra_headers=headers) as ws:
            yield ws

    assert await messages_of(until_1000(connect)) == ["a", "b"]
    assert used == ["one", "two", "three"]


async def test_exception_that_the_function_keeps_back_stays_back(town, autojump_clock):
    network = town(says(code=1000))

    @asynccontextmanager
    async def connect() -> AsyncIterator[WebSocketClient]:
        with suppress(ValueError):
            async with open_websocket_client(URL) as ws:
                yield ws

    async for connection in until_1000(connect):
        async with connection as ws:
            async for _ in ws:
                pass
            raise ValueError("kept back")
    assert len(network.tried_at) == 1


async def test_headers_that_can_be_iterated_once_are_sent_each_time(town, autojump_clock):
    requests = []

    async def server(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Protocol: chat")
        requests.append(peer.request)
        await peer.send(wire.close(1000 if len(requests) == 3 else 1001))
        await peer.close_politely()

    town(server)
    headers = (pair for pair in [("Authorization", "Bearer token")])
    await messages_of(until_1000(URL, extra_headers=headers, subprotocols=iter(["chat"])))
    assert len(requests) == 3
    for request in requests:
        assert b"\r\nAuthorization: Bearer token\r\n" in request
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in request


@asynccontextmanager
async def with_a_nursery(log_in=None) -> AsyncIterator[WebSocketClient]:
    """As users write it: a nursery, a connection, tasks for both; and maybe a first message."""
    async with trio.open_nursery() as nursery, open_websocket_client(URL) as ws:
        nursery.start_soon(trio.sleep_forever)
        if log_in is not None:
            await log_in(ws)
        yield ws
        nursery.cancel_scope.cancel()


async def test_function_may_put_a_nursery_around_the_connection(town, autojump_clock):
    network = town(says("a"), REFUSED, cuts("b"), says("c", code=1000))
    assert await messages_of(until_1000(with_a_nursery)) == ["a", "b", "c"]
    assert len(network.tried_at) == 4


async def test_login_that_breaks_off_is_a_failed_try(town, autojump_clock):
    async def log_in(ws: WebSocketClient) -> None:
        assert await ws.receive() == "who are you?"

    network = town(cuts(), says(), says("who are you?", "welcome", code=1000))
    received = await messages_of(until_1000(lambda: with_a_nursery(log_in)))
    assert received == ["welcome"]
    assert len(network.tried_at) == 3


async def test_rejection_leaves_the_loop_in_the_group_of_a_nursery(town, autojump_clock):
    town(refuses("403 No"))
    with pytest.RaisesGroup(ConnectionRejected):
        await messages_of(until_1000(with_a_nursery))


async def test_end_that_is_not_worth_a_retry_leaves_in_no_group(town, autojump_clock):
    town(says(code=4000))
    with pytest.raises(ConnectionClosedError):
        await messages_of(until_1000(with_a_nursery))


async def test_what_a_function_raises_otherwise_leaves_the_loop(town, autojump_clock):
    @asynccontextmanager
    async def connect() -> AsyncIterator[WebSocketClient]:
        raise LookupError("no token")
        yield

    with pytest.raises(LookupError):
        await messages_of(until_1000(connect))


async def test_real_server_that_comes_back(ca):
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await peer.accept()
        await peer.send(wire.text(str(connections)))
        if connections < 3:
            await peer.stream.aclose()
        else:
            await peer.send(wire.close(1000))
            await peer.expect_close()
            await peer.stream.aclose()

    async with loopback_server(script) as url:
        with trio.fail_after(60):
            received = await messages_of(until_1000(url, first_delay=0.01))
    assert received == ["1", "2", "3"]


# Wrong use


async def test_connection_is_entered_once(town, autojump_clock):
    town(waits)
    async for connection in until_1000(URL):
        async with connection:
            with pytest.raises(RuntimeError, match="entered already"):
                await connection.__aenter__()


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"first_delay": -1}, ValueError, "first_delay has to be"),
        ({"max_delay": float("inf")}, ValueError, "max_delay has to be"),
        ({"reset_after": float("nan")}, ValueError, "reset_after has to be"),
        ({"silence_timeout": 0}, ValueError, "silence_timeout has to be a positive number"),
        ({"silence_timeout": "1"}, TypeError, "silence_timeout has to be a number of seconds, or"),
        ({"first_delay": "1"}, TypeError, "first_delay has to be"),
        ({"reset_after": True}, TypeError, "reset_after has to be"),
        ({"retry_delay": None}, TypeError, "retry_delay has to be"),
        (
            {"stream": trio.testing.memory_stream_pair()[0]},
            ValueError,
            "stream can be used for one",
        ),
        ({"extensions": [object()]}, ValueError, "extensions can be used for one"),
        ({"open_timeout": 0}, ValueError, "open_timeout"),
        ({"nonsense": 1}, TypeError, "nonsense"),
    ],
)
def test_wrong_arguments_raise_at_once(arguments, error, problem: str):
    with pytest.raises(error, match=problem):
        reconnecting(URL, **arguments)


def test_wrong_url_raises_at_once():
    with pytest.raises(InvalidURL):
        reconnecting("ftp://server/")


async def test_async_function_makes_each_url(town, autojump_clock):
    network = town(says("a"), says("b", code=1000))
    urls = iter([URL, "ws://server/2"])

    async def make_url() -> str:
        await trio.sleep(5)
        return next(urls)

    loop = until_1000(make_url, first_delay=0, subprotocols=iter(["chat"]))
    connections = []
    async for connection in loop:
        async with connection as ws:
            connections.append(ws.url)
            async for _ in ws:
                pass
    assert connections == [URL, "ws://server/2"]
    assert network.tried_at == pytest.approx([5, 10])


async def test_lambda_may_return_what_makes_the_url(town, autojump_clock):
    async def make_url(url: str) -> str:
        return url

    town(says("a", code=1000))
    assert await messages_of(until_1000(lambda: make_url(URL))) == ["a"]


async def test_partial_of_an_async_function_takes_options(town, autojump_clock):
    async def make_url(url: str) -> str:
        return url

    town(says("a", code=1000))
    loop = until_1000(partial(make_url, URL), user_agent=None)
    assert await messages_of(loop) == ["a"]


async def test_group_of_a_nursery_in_the_function_leaves_as_it_is(town, autojump_clock):
    town(left_by(waits))
    with pytest.RaisesGroup(ValueError):
        async for connection in reconnecting(with_a_nursery):
            async with connection:
                raise ValueError("mine")


async def test_function_may_leave_the_connection_open(town, autojump_clock):
    """Then there is no end to ask about, and the loop goes on at once."""

    class StaysOpen:
        def __init__(self, ws: WebSocketClient) -> None:
            self._ws = ws

        async def __aenter__(self) -> WebSocketClient:
            return self._ws

        async def __aexit__(self, *_: object) -> None: ...

    network = town(waits)
    async with open_websocket_client(URL) as ws:
        rounds = 0
        async for connection in reconnecting(lambda: StaysOpen(ws)):
            async with connection as same:
                assert same is ws
                rounds += 1
            if rounds == 3:
                break
    assert trio.current_time() == 0
    assert len(network.tried_at) == 1


async def test_what_an_async_function_raises_leaves_the_loop(town, autojump_clock):
    error = LookupError("no token")

    async def make_url() -> str:
        raise error

    with pytest.raises(LookupError) as caught:
        await messages_of(reconnecting(make_url))
    assert caught.value is error


async def test_function_that_returns_something_else_is_told(town, autojump_clock):
    async def make_none() -> None: ...

    told = {
        make_none: "an async target has to return a URL, not NoneType",
        lambda: URL: "the target has to return what open_websocket_client returns, not str",
    }
    for target, text in told.items():
        with pytest.raises(TypeError, match=f"^{text}"):
            await messages_of(reconnecting(target))
    with pytest.raises(InvalidURL):
        await messages_of(reconnecting(make_bad_url))


async def make_bad_url() -> str:
    return "ftp://server/"


def test_options_go_to_a_url():
    told = "open_timeout has no effect if the target is a function that is not async"
    with pytest.raises(TypeError, match=told):
        reconnecting(lambda: open_websocket_client(URL), open_timeout=1)
