"""The role of the active reader: receivers pass it on, and the background reader steps in."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import wire
from scripted_server import Peer, echo_script, loopback_server
from streams import Valve
from thread_server import ThreadPeer, thread_server
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_wsclient import ConnectionClosed, ConnectionClosedError, open_websocket_client
from trio_wsclient._connection import shared_reader
from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.keepalive import keepalive_task
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._connection.receiving import Receiver
from trio_wsclient._connection.shared_reader import SharedReader
from trio_wsclient._observe import Log
from trio_wsclient._protocol.protocol import Protocol


class Watched(Valve):
    """A stream that notes which tasks read it."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        super().__init__(inner)
        self.reading: list[str] = []  # tasks that are reading now
        self.most_readers = 0
        self.readers: list[str] = []  # the task of each read

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        name = trio.lowlevel.current_task().name
        self.reading.append(name)
        self.most_readers = max(self.most_readers, len(self.reading))
        try:
            data = await super().receive_some(max_bytes)
        finally:
            self.reading.remove(name)
        self.readers.append(name)
        return data


class Subject:
    """A connection in memory that receivers may read, as they may read one of our own streams.

    Receivers have their numbers as names, and `taken` has what they took.
    """

    def __init__(self, nursery: trio.Nursery, *, shares_reading: bool, limit: int) -> None:
        ours, self.server = memory_stream_pair()
        self.stream = Watched(ours)
        self.connection = Connection(
            self.stream,
            Protocol(),
            ReceiveQueue(max_buffered_bytes=limit, decode_text=True),
            Log(logging.getLogger("test"), "ws://x/"),
            close_timeout=10,
            shares_reading=shares_reading,
        )
        self.reader = self.connection.shared_reader
        self.queue = self.connection.queue
        self.receiver = Receiver(self.connection)
        self.scopes: dict[int, trio.CancelScope] = {}
        self.taken: list[object] = []
        self.has_ended = False  # whether the background reader has
        self._data = ours.receive_stream
        self.nursery = nursery

    def put(self, *messages: str) -> None:
        """Let messages arrive at once."""
        self.put_data(b"".join(map(wire.text, messages)))

    def put_data(self, data: bytes) -> None:
        self._data.put_data(data)

    async def read_in_background(self) -> None:
        await self.connection.stream_reader.receive_task()
        self.has_ended = True

    async def receive(self, number: int) -> None:
        self.scopes[number] = trio.CancelScope()
        with self.scopes[number]:
            try:
                self.taken.append((number, await self.receiver.take(self.queue.take_message)))
            except ConnectionClosed:
                self.taken.append((number, None))

    async def start(self, *numbers: int) -> None:
        """Start receivers one after the other."""
        for number in numbers:
            self.nursery.start_soon(self.receive, number, name=str(number))
            await wait_all_tasks_blocked()


BACKGROUND = "background"


@asynccontextmanager
async def opened(
    *, background: bool = True, shares_reading: bool = True, limit: int = 10_000
) -> AsyncIterator[Subject]:
    async with trio.open_nursery() as nursery:
        subject = Subject(nursery, shares_reading=shares_reading, limit=limit)
        nursery.start_soon(subject.connection.reply_task)
        if background:
            nursery.start_soon(subject.read_in_background, name=BACKGROUND)
        await wait_all_tasks_blocked()
        try:
            yield subject
            assert subject.stream.most_readers <= 1
        finally:
            nursery.cancel_scope.cancel()
            await subject.connection.closing.close_forcefully()


@contextmanager
def needed(reader: SharedReader) -> Iterator[None]:
    """Need an active reader while the block runs."""
    reader.need()
    try:
        yield
    finally:
        reader.need_no_more()


class Steps(trio.abc.Instrument):
    """Notes the task of each step."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)


async def steps_until_blocked() -> list[str]:
    instrument = Steps()
    trio.lowlevel.add_instrument(instrument)
    await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(instrument)
    return instrument.names


# Receivers


async def test_one_receiver_reads_at_a_time():
    async with opened(background=False) as subject:
        await subject.start(0, 1, 2)
        for number in range(3):
            assert subject.stream.reading == [str(number)]
            subject.put("a")
            await wait_all_tasks_blocked()
            assert subject.taken == [(n, "a") for n in range(number + 1)]
        assert not subject.reader.is_active


@pytest.mark.parametrize("background", [True, False])
async def test_receivers_are_served_first_come_first_served(background: bool):
    async with opened(background=background) as subject:
        await subject.start(0, 1, 2, 3, 4)
        subject.put("a", "b", "c")
        await wait_all_tasks_blocked()
        assert sorted(subject.taken) == [(0, "a"), (1, "b"), (2, "c")]
        assert subject.stream.reading == ["3"]
        subject.put("d", "e", "f")
        await wait_all_tasks_blocked()
        assert sorted(subject.taken[3:]) == [(3, "d"), (4, "e")]
        assert await subject.receiver.take(subject.queue.take_message) == "f"


@pytest.mark.parametrize("cancelled", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}])
async def test_cancelled_receivers_are_skipped(cancelled):
    async with opened(background=False) as subject:
        await subject.start(0, 1, 2, 3)
        for number in cancelled:
            subject.scopes[number].cancel()
            await wait_all_tasks_blocked()
        subject.put("a", "b")
        await wait_all_tasks_blocked()
        left = [n for n in range(4) if n not in cancelled]
        assert sorted(subject.taken) == [*zip(left, "ab", strict=False)]
        assert subject.stream.reading == [str(n) for n in left[2:]]


@pytest.mark.parametrize("ticks", range(5))
async def test_receiver_cancelled_with_its_role_passes_it_on(ticks: int):
    async with opened(background=False) as subject:
        await subject.start(0, 1, 2)
        subject.scopes[0].cancel()
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        subject.scopes[1].cancel()
        await wait_all_tasks_blocked()
        assert subject.stream.reading == ["2"]
        subject.put("a")
        await wait_all_tasks_blocked()
        assert subject.taken == [(2, "a")]


async def test_receiver_with_a_message_takes_it_when_cancelled():
    """It was cancelled too late: the message was taken for it."""
    async with opened(background=False) as subject:
        await subject.start(0, 1)
        subject.put("a", "b")
        while True:
            await trio.lowlevel.checkpoint()
            if subject.taken:
                break
        subject.scopes[1].cancel()
        await wait_all_tasks_blocked()
        assert subject.taken == [(0, "a"), (1, "b")]


async def test_receiver_may_not_read_a_users_stream():
    async with opened(shares_reading=False) as subject:
        await subject.start(0, 1)
        assert subject.stream.reading == [BACKGROUND]
        subject.put("a")
        await wait_all_tasks_blocked()
        subject.put("b")
        await wait_all_tasks_blocked()
        assert subject.taken == [(0, "a"), (1, "b")]
        assert {*subject.stream.readers} == {BACKGROUND}


@pytest.mark.parametrize("messages", ["", "a", "ab"])
async def test_receivers_are_woken_when_connection_closes(messages: str):
    async with opened() as subject:
        await subject.start(0, 1, 2)
        subject.put_data(b"".join(map(wire.text, messages)) + wire.close(1000))
        await wait_all_tasks_blocked()
        assert dict(subject.taken) == dict(enumerate([*messages, None, None, None][:3]))


@pytest.mark.parametrize("background", [True, False])
async def test_n1_message_wakes_one_receiver(background: bool):
    """However many receivers wait, a message costs the same few task steps."""
    steps = {}
    for count in (10, 1000):
        async with opened(background=background) as subject:
            for number in range(count):
                subject.nursery.start_soon(subject.receive, number)
            await wait_all_tasks_blocked()
            subject.put("a")
            await wait_all_tasks_blocked()
            subject.put("b")
            steps[count] = len(await steps_until_blocked())
            assert len(subject.taken) == 2
    assert steps[1000] <= steps[10] <= 10


@pytest.mark.parametrize("end", ["messages", "one read", "cancel", "close"])
async def test_n1_each_receiver_takes_few_steps(end: str):
    count = 500
    async with opened() as subject:
        for number in range(count):
            subject.nursery.start_soon(subject.receive, number)
        await wait_all_tasks_blocked()
        steps = 0
        if end == "cancel":
            for number in range(count):
                subject.scopes[number].cancel()
        elif end == "close":
            subject.put_data(wire.close(1000))
        elif end == "one read":
            subject.put(*["a"] * count)
        else:
            for _ in range(count):
                subject.put("a")
                steps += len(await steps_until_blocked())
        steps += len(await steps_until_blocked())
        assert len(subject.taken) == (0 if end == "cancel" else count)
        assert steps <= 8 * count


# The background reader


async def test_background_reader_reads_while_nobody_receives():
    async with opened() as subject:
        for message in ("a", "b"):
            subject.put(message)
            await wait_all_tasks_blocked()
        assert subject.connection.queue.messages == 2
        assert subject.stream.reading == [BACKGROUND]


async def test_background_reader_yields_after_its_step():
    async with opened() as subject:
        await subject.start(0, 1)
        subject.put("a")  # The background reader takes it, for the first receiver.
        await wait_all_tasks_blocked()
        assert subject.taken == [(0, "a")]
        assert subject.stream.reading == ["1"]


async def resting(subject: Subject) -> None:
    """Have the background reader rest: a receiver has parked, and was served."""
    await subject.start(-1)
    subject.put("first")
    await wait_all_tasks_blocked()
    assert subject.taken.pop() == (-1, "first")
    assert not subject.reader.is_active


async def test_background_reader_rests_after_a_receiver(autojump_clock):
    async with opened() as subject:
        await resting(subject)
        subject.put("a")
        await trio.sleep(0.9)
        assert subject.connection.queue.messages == 0
        await trio.sleep(0.2)
        assert subject.connection.queue.messages == 1


async def test_receivers_in_a_row_read_for_themselves(autojump_clock):
    async with opened() as subject:
        for number in range(50):
            subject.put(str(number))
            assert await subject.receiver.take(subject.queue.take_message) == str(number)
            await trio.sleep(0.3)
        assert subject.stream.readers.count(BACKGROUND) <= trio.current_time() + 1


async def test_conversation_does_not_wake_background_reader(autojump_clock):
    """Also if its rest was over while a receiver was waiting for the stream."""

    async def converse() -> None:
        while True:
            await subject.receiver.take(subject.queue.take_message)

    async with opened() as subject:
        await resting(subject)
        subject.nursery.start_soon(converse)
        await trio.sleep(2)
        subject.put("a")
        assert BACKGROUND in await steps_until_blocked()
        for _ in range(5):
            subject.put("a")
            assert BACKGROUND not in await steps_until_blocked()


async def test_no_timer_runs_while_a_receiver_reads(autojump_clock):
    async with opened() as subject:
        await resting(subject)
        await subject.start(0)
        await trio.sleep(2)  # The timer that was running finds an active reader.
        statistics = trio.lowlevel.current_statistics()
        assert statistics.seconds_to_next_deadline == float("inf")


async def test_needed_background_reader_does_not_rest(autojump_clock):
    async with opened() as subject:
        await resting(subject)
        with needed(subject.reader):
            for message in ("a", "b"):
                subject.put(message)
                await wait_all_tasks_blocked()
            assert subject.connection.queue.messages == 2
            await subject.receiver.take(partial(subject.queue.take_messages, None))
            await subject.start(0)
            subject.put("c")
            await wait_all_tasks_blocked()
            assert subject.stream.reading == [BACKGROUND]
        await resting(subject)
        assert trio.current_time() == 0


async def test_background_reader_does_not_rest_after_a_failed_write(autojump_clock):
    """The server may say why."""
    async with opened() as subject:
        await resting(subject)
        subject.connection.closing.note_write_error(trio.BrokenResourceError("broken pipe"))
        subject.put_data(wire.close(1008))
        await wait_all_tasks_blocked()
        received = subject.connection.record.received
        assert received is not None
        assert received.code == 1008
        assert trio.current_time() == 0


async def test_need_does_not_disturb_an_active_receiver(autojump_clock):
    async with opened() as subject:
        await resting(subject)
        await subject.start(0)
        with needed(subject.reader):
            await wait_all_tasks_blocked()
            assert subject.stream.reading == ["0"]
            subject.put("a")
            await wait_all_tasks_blocked()
            assert subject.stream.reading == [BACKGROUND]


async def test_background_reader_pauses_while_queue_is_full(autojump_clock):
    async with opened(limit=1000) as subject:
        reader = subject.reader
        await trio.sleep(1)
        subject.put("a" * 1000)
        await wait_all_tasks_blocked()
        subject.put("b", "c")
        await trio.sleep(5)
        assert not subject.stream.reading
        with trio.move_on_after(2), needed(reader):
            await reader.wait_resumed()
        assert reader.paused.seconds == 7
        assert await subject.receiver.take(subject.queue.take_message) == "a" * 1000
        await reader.wait_resumed()
        await trio.sleep(1)
        assert reader.paused.seconds == 7
        assert subject.connection.queue.is_simple
        assert subject.stream.readers == [BACKGROUND] * 2


@pytest.mark.parametrize("shares_reading", [True, False])
async def test_r2_receiver_reads_a_message_larger_than_queue(shares_reading: bool, autojump_clock):
    async with opened(limit=1000, shares_reading=shares_reading) as subject:
        data = wire.text("a" * 3000)
        subject.put_data(data[:2000])
        await wait_all_tasks_blocked()
        assert subject.reader.paused.since is not None
        await subject.start(0)
        assert subject.reader.paused.since is None
        subject.put_data(data[2000:])
        await wait_all_tasks_blocked()
        assert subject.taken == [(0, "a" * 3000)]


async def put_in(state: str, subject: Subject) -> None:
    """Put the background reader into a state."""
    if state == "paused":
        subject.put("a" * 10_000)
    elif state != "reading":
        await resting(subject)
    if state in ("standing by", "needed"):
        await subject.start(0)
    if state == "needed":
        subject.reader.need()
    if state == "standing by":
        await trio.sleep(2)
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("state", ["reading", "paused", "resting", "standing by", "needed"])
@pytest.mark.parametrize("end", ["expire", "close_forcefully", "end of stream"])
async def test_background_reader_ends_in_each_state(end: str, state: str, autojump_clock):
    async with opened() as subject:
        await put_in(state, subject)
        start = trio.current_time()
        if end == "expire":
            subject.connection.closing.expire()
        elif end == "close_forcefully":
            await subject.connection.closing.close_forcefully()
        else:
            await subject.server.aclose()
            if state in ("paused", "resting"):
                with pytest.raises(ConnectionClosedError):
                    while True:
                        await subject.receiver.take(subject.queue.take_message)
        await wait_all_tasks_blocked()
        assert subject.has_ended
        assert trio.current_time() == start


@pytest.mark.parametrize("shares_reading", [True, False])
@pytest.mark.parametrize("limit", [200, 10_000])
@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_whoever_reads(seed, limit, shares_reading, autojump_clock):
    """Consumers come and are cancelled at random; each message is taken once, in order."""
    chance = random.Random(seed)
    count = 200
    taken: list[str | bytes] = []
    all_taken = trio.Event()

    async def consumer(subject: Subject) -> None:
        while len(taken) < count:
            with trio.move_on_after(chance.choice([0, 0.01, 2])):
                taken.append(await subject.receiver.take(subject.queue.take_message))
            await trio.sleep(chance.choice([0, 0, 0.01, 1.5]))
        all_taken.set()

    async with opened(shares_reading=shares_reading, limit=limit) as subject:
        for _ in range(3):
            subject.nursery.start_soon(consumer, subject)
        with trio.fail_after(10_000):
            for number in range(count):
                subject.put(f"{number:03}")
                if chance.random() < 0.3:
                    await trio.sleep(chance.choice([0, 0.01, 1.2]))
            await all_taken.wait()
    # Tasks that are woken in the same scheduler tick run in any order.
    assert sorted(taken) == [f"{number:03}" for number in range(count)]
    assert all(abs(int(message) - index) < 3 for index, message in enumerate(taken))


async def test_rest_may_end_at_any_time(monkeypatch):
    """It ends between two looks at the clock here, so at each point of a receiver's life."""
    monkeypatch.setattr(shared_reader, "_REST", 0.00002)
    async with opened() as subject:
        for number in range(3000):
            subject.put(str(number))
            assert await subject.receiver.take(subject.queue.take_message) == str(number)
            await trio.lowlevel.checkpoint()


# What users see of it


async def test_ping_is_answered_though_background_reader_rests(autojump_clock):
    async with opened() as subject:
        await resting(subject)
        subject.put_data(wire.text("a") + wire.ping(b"alive?"))
        with trio.fail_after(1.01):
            assert (await Peer(subject.server).next_frame()).payload == b"alive?"


@pytest.mark.parametrize("has_receiver", [True, False])
async def test_latency_does_not_count_the_rest(has_receiver: bool, autojump_clock):
    async def answer() -> None:
        peer = Peer(subject.server)
        for _ in range(2):
            frame = await peer.next_frame()
            await trio.sleep(0.1)
            subject.put_data(wire.pong(frame.payload))

    async with opened() as subject:
        subject.nursery.start_soon(answer)
        await resting(subject)
        if has_receiver:
            await subject.start(0)
        assert await subject.connection.ping(b"of the user") == pytest.approx(0.1)
        subject.nursery.start_soon(keepalive_task, subject.connection, 0.5, 5)
        await trio.sleep(0.7)
        assert subject.connection.pings.latency == pytest.approx(0.1)


async def test_dead_server_is_found_by_a_task_that_polls():
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("the last thing that it says"))
        await trio.sleep_forever()

    async with loopback_server(script) as url:
        async with open_websocket_client(url, ping_interval=0.1, ping_timeout=0.2) as ws:
            await ws.receive()
            with (
                trio.fail_after(30),
                pytest.raises(ConnectionClosedError, match="nothing received"),
            ):
                while True:  # as in the loop of a game: a look at the socket, then other work
                    with trio.move_on_after(0.005):
                        await ws.receive()
                    await trio.sleep(0.05)


@pytest.mark.usefixtures("_long_rest")
async def test_receiver_reads_the_clients_own_stream():
    """A conversation needs no task switch but the one of the socket."""
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        await wait_all_tasks_blocked()  # The background reader reads, then rests.
        await ws.send("question")
        assert await ws.receive() == "question"
        assert not ws._connection.shared_reader.is_active
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await wait_all_tasks_blocked()
            assert ws._connection.shared_reader.is_led_by_receiver
            await ws.send("question")


@pytest.mark.parametrize("messages", ["a", "ab"])
async def test_active_receiver_is_served_first_before_a_close(messages):
    async with opened(background=False) as subject:
        await subject.start(0, 1, 2)
        subject.put_data(b"".join(map(wire.text, messages)) + wire.close(1000))
        await wait_all_tasks_blocked()
        assert dict(subject.taken) == dict(enumerate([*messages, None, None][:3]))


@pytest.mark.usefixtures("_long_rest")
async def test_newcomer_does_not_overtake_a_waiting_receiver():
    def script(peer: ThreadPeer) -> None:
        peer.accept()
        for _ in range(2):
            peer.next_frame()
            peer.send(wire.text("a"))
            has_sent.set()
        peer.frames_to_end()

    async def receive() -> None:
        taken.append(await ws.receive())

    taken: list[str | bytes] = []
    has_sent = threading.Event()
    with thread_server(script) as server:
        async with open_websocket_client(server.url, close_timeout=1) as ws:
            await wait_all_tasks_blocked()
            await ws.send("go")
            await receive()  # Now the background reader rests, and the next receiver reads.
            has_sent.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                await ws.send("go")
                assert has_sent.wait(30)
                assert ws.outcome is None
                with pytest.raises(trio.WouldBlock):
                    ws.receive_nowait()
    assert taken == ["a", "a"]


@pytest.mark.usefixtures("_long_rest")
async def test_active_receiver_ends_with_a_torn_frame():
    async def receive() -> None:
        with pytest.raises(ConnectionClosedError, match="torn"):
            await ws.receive()
        ended.set()

    ended = trio.Event()
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        await wait_all_tasks_blocked()
        await ws.send("question")
        await ws.receive()  # Now the background reader rests, and the next receiver reads.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert ws._connection.shared_reader.is_led_by_receiver
            ws._connection.closing.fail(trio.BrokenResourceError("torn"))
            await ws._connection.closing.close_forcefully()
            await ended.wait()


@pytest.mark.usefixtures("_long_rest")
async def test_background_reader_handles_what_outcome_has_left():
    """It rests, and `outcome` reads more than a slice of work."""
    count = 5_000

    def script(peer: ThreadPeer) -> None:
        peer.accept()
        peer.next_frame()
        peer.send(wire.text("a"))
        peer.next_frame()
        peer.send(wire.text("b") * count)
        has_sent.set()
        peer.frames_to_end()

    has_sent = threading.Event()
    with thread_server(script) as server:
        async with open_websocket_client(server.url, close_timeout=1) as ws:
            await wait_all_tasks_blocked()
            await ws.send("go")
            assert await ws.receive() == "a"
            assert not ws._connection.shared_reader.is_active
            await ws.send("go")
            assert has_sent.wait(30)
            assert ws.outcome is None
            assert [await ws.receive() for _ in range(count)] == ["b"] * count
