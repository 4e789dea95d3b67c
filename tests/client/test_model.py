"""A client and a server of wsproto in any order of what they can do, against a model of both.

After each step all tasks wait, and then the invariants of the design hold (R1 to X2); a run of
hypothesis tries what a person would not think of.
"""

from __future__ import annotations

from contextlib import suppress
from unittest import mock
from unittest.mock import AsyncMock

import pytest
import trio
import trio.testing
import wire
import wsproto.events
from guest import Call, Guest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from streams import Valve
from wsproto.connection import Connection, ConnectionType

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketClient,
    open_websocket_client,
)
from trio_wsclient._net import connect

CLOSE_TIMEOUT = 10  # seconds
REST = 1.5  # seconds in which a resting task has come back
BUFFER = 1000  # bytes: some seven messages
LONG = 70_000  # bytes: more than is written in one piece

sizes = st.sampled_from([0, 1, 100, 126, LONG])
ticks = st.integers(0, 8)  # of Trio's scheduler


class Server:
    """The other end of a stream in memory: takes what comes at once, and sends what the test wants.

    It parses by wsproto, which raises at what a client must not send.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._wsproto = Connection(ConnectionType.SERVER)
        self._text = ""
        self._data = b""
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.pings: list[bytes] = []
        self.close_code: int | None = None  # of the client's Close
        self.has_closed = False  # whether we have sent a Close
        self.has_ended = False  # whether we have ended TCP
        self.sees_end = False  # whether the client has ended TCP

    async def run(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await self._stream.receive_some()
        await self._stream.send_all(wire.answer(request))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._stream.receive_some():
                self._wsproto.receive_data(data)
                for event in self._wsproto.events():
                    await self._take(event)
        self.sees_end = True

    async def _take(self, event: wsproto.events.Event) -> None:
        match event:
            case wsproto.events.TextMessage():
                self._text += event.data
                if event.message_finished:
                    self.messages.append(self._text)
                    self._text = ""
            case wsproto.events.BytesMessage():
                self._data += event.data
                if event.message_finished:
                    self.messages.append(self._data)
                    self._data = b""
            case wsproto.events.Ping():
                self.pings.append(bytes(event.payload))
                await self.say(event.response())
            case wsproto.events.Pong():
                self.pongs.append(bytes(event.payload))
            case wsproto.events.CloseConnection():
                # wsproto also shows a violation in this way, but there must be none.
                assert self._wsproto.state.name in {"REMOTE_CLOSING", "CLOSED"}, event
                self.close_code = int(event.code)

    async def say(self, *events: wsproto.events.Event) -> None:
        if self.has_closed or self.has_ended:
            return
        if self.close_code is not None and not isinstance(
            events[0], wsproto.events.CloseConnection
        ):
            return  # wsproto sends nothing else after the client's Close.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(b"".join(map(self._wsproto.send, events)))

    async def answer_close(self) -> None:
        assert self.close_code is not None
        await self.say(wsproto.events.CloseConnection(code=self.close_code))
        self.has_closed = True
        await self.end()

    async def end(self) -> None:
        self.has_ended = True
        await trio.aclose_forcefully(self._stream)


class HalfShut(Valve):
    """A valve that lets the first half of what it holds up through, as TCP may."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        half = 0 if self.opened.is_set() else len(data) // 2
        if half:
            await self.inner.send_all(data[:half])
        await super().send_all(data[half:])


class ClientAndServer(RuleBasedStateMachine):
    """What both do; what is checked is in the invariants below."""

    def __init__(self) -> None:
        super().__init__()
        self.guest = Guest()
        ours, theirs = trio.testing.memory_stream_pair()
        self.valve = HalfShut(ours)
        self.server = Server(theirs)
        self.ws: WebSocketClient
        self.numbers = iter(range(10**6))
        self.due: list[str | bytes] = []  # the server's messages, sent while all was open
        # Those sent later: until our Close is made they may be taken, or they are dropped.
        self.late: set[str | bytes] = set()
        self.parts: list[str] | None = None  # of the server's message under way
        self.taken: list[str | bytes] = []
        self.receiving: list[Call] = []
        self.sending: dict[Call, list[str | bytes]] = {}  # with the messages of each
        self.pinging: list[Call] = []
        self.closing: list[Call] = []
        self.writer: tuple[Call, trio.MemorySendChannel[str], list[str]] | None = None
        self.server_code: int | None = None  # of the server's Close, if it was the first
        self.is_torn = False  # whether something of ours was cancelled halfway
        self.pings_due: list[bytes] = []  # the server's, each of which is to be answered
        self.was_full = False
        self.leave: trio.Event

    @initialize(is_closed_by=st.sampled_from(["the block", "an error"]), leads=st.booleans())
    def open(self, is_closed_by: str, leads: bool) -> None:
        self.stream = None if leads else self.valve  # From a user's own the receive task reads.
        self.raises = is_closed_by == "an error"
        self.error = KeyError("the user's")
        self.running_server = self.guest.call(self.server.run)
        self.block = self.guest.call(self._client)
        assert self.block.is_running

    async def _client(self) -> None:
        self.leave = trio.Event()
        with mock.patch.object(connect, "connect_tcp", AsyncMock(return_value=self.valve)):
            opening = open_websocket_client(
                "ws://x/",
                stream=self.stream,
                max_buffered_bytes=BUFFER,
                close_timeout=CLOSE_TIMEOUT,
            )
            async with opening as self.ws:
                await self.leave.wait()
                if self.raises:
                    raise self.error

    # Facts of the model

    @property
    def is_left(self) -> bool:
        return self.leave.is_set() or self.block.scope.cancel_called

    @property
    def we_close(self) -> bool:
        """Whether this side has asked for the end, or has failed the connection."""
        return bool(self.closing) or self.is_left or self.is_torn

    @property
    def is_open(self) -> bool:
        return not (self.we_close or self.server.has_closed or self.server.has_ended)

    @property
    def has_taken_all(self) -> bool:
        """Whether there is room for more."""
        return self.is_open and len(self.taken) == len(self.due) and self.parts is None

    @property
    def taken_of_due(self) -> list[str | bytes]:
        return [message for message in self.taken if message not in self.late]

    @property
    def is_blocked(self) -> bool:
        return not self.valve.opened.is_set()

    def number(self) -> str:
        return f"#{next(self.numbers)} "

    def message(self, size: int, *, is_text: bool) -> str | bytes:
        text = self.number() + "x" * size
        return text if is_text else text.encode()

    # What the server does

    def server_says(self, *events: wsproto.events.Event) -> None:
        self.guest.call(lambda: self.server.say(*events))

    def note_message(self, message: str | bytes) -> None:
        if self.is_open:
            self.due.append(message)
        else:
            self.late.add(message)

    def server_can_speak(self) -> bool:
        return not (self.server.has_closed or self.server.has_ended)

    @precondition(server_can_speak)
    @precondition(lambda self: self.parts is None)
    @rule(size=st.sampled_from([0, 1, 200]), is_text=st.booleans())
    def server_sends(self, size: int, is_text: bool) -> None:
        message = self.message(size, is_text=is_text)
        self.note_message(message)
        self.server_says(wsproto.events.Message(data=message))

    @precondition(server_can_speak)
    @rule(fin=st.booleans())
    def server_sends_a_part(self, fin: bool) -> None:
        self.parts = self.parts or []
        self.parts.append(self.number())
        if fin:
            self.note_message("".join(self.parts))
            part, self.parts = self.parts[-1], None
        else:
            part = self.parts[-1]
        self.server_says(wsproto.events.TextMessage(data=part, message_finished=fin))

    @precondition(server_can_speak)
    @rule(count=st.sampled_from([1, 1, 3]))
    def server_pings(self, count: int) -> None:
        pings = [self.number().encode() for _ in range(count)]
        if self.is_open:
            self.pings_due += pings
        if self.is_blocked:
            del self.pings_due[:-1]  # R3: the latest one is answered.
        self.server_says(*[wsproto.events.Ping(payload=ping) for ping in pings])

    @precondition(server_can_speak)
    @rule(payload=st.sampled_from([b"", b"nobody asked"]))
    def server_pongs(self, payload: bytes) -> None:
        self.server_says(wsproto.events.Pong(payload=payload))

    @precondition(lambda self: self.server_can_speak() and self.server.close_code is None)
    @rule(code=st.sampled_from([1000, 1001, 1011, 4000]))
    def server_closes(self, code: int) -> None:
        if self.is_open:
            self.server_code = code
        self.server_says(wsproto.events.CloseConnection(code=code))
        self.server.has_closed = True
        self._have_it_noticed()

    def _have_it_noticed(self) -> None:
        if self.stream is None:
            self.guest.pass_time(REST)  # L3: it may be that nobody reads for a while.

    @precondition(lambda self: self.server_can_speak() and self.server.close_code is not None)
    @rule()
    def server_answers_the_close(self) -> None:
        self.guest.call(self.server.answer_close)

    @precondition(lambda self: not self.server.has_ended)
    @rule()
    def server_ends_tcp(self) -> None:
        self.guest.call(self.server.end)
        self._have_it_noticed()

    # What the client does

    async def _receive(self) -> None:
        self.taken.append(await self.ws.receive())

    async def _receive_batch(self) -> None:
        batch = await self.ws.receive_batch(3)
        assert 1 <= len(batch) <= 3
        self.taken += batch

    @precondition(lambda self: len(self.receiving) < 4)
    @rule(is_batch=st.booleans())
    def receive(self, is_batch: bool) -> None:
        self.receiving.append(self.guest.call(self._receive_batch if is_batch else self._receive))

    @rule()
    def receive_nowait(self) -> None:
        def take() -> None:
            with suppress(trio.WouldBlock, ConnectionClosed):
                self.taken.append(self.ws.receive_nowait())

        self.guest.do(take)

    @precondition(lambda self: self.receiving)
    @rule(data=st.data())
    def cancel_a_receive(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.receiving))
        self.guest.do(call.scope.cancel)
        assert not call.is_running

    @precondition(lambda self: len(self.receiving) > 1)
    @rule(data=st.data(), ticks=ticks)
    def cancel_two_that_receive(self, data: st.DataObject, ticks: int) -> None:
        first, second = data.draw(st.permutations(self.receiving))[:2]

        async def cancel() -> None:
            first.scope.cancel()

        self.guest.do_both(cancel, second.scope.cancel, ticks=ticks)
        assert not first.is_running
        assert not second.is_running

    @precondition(lambda self: self.receiving)
    @precondition(lambda self: self.server_can_speak() and self.server.close_code is None)
    @precondition(lambda self: self.parts is None)
    @rule(data=st.data(), ticks=ticks)
    def cancel_a_receive_as_a_message_comes(self, data: st.DataObject, ticks: int) -> None:
        call = data.draw(st.sampled_from(self.receiving))
        message = self.message(1, is_text=True)
        self.note_message(message)
        event = wsproto.events.Message(data=message)
        self.guest.do_both(lambda: self.server.say(event), call.scope.cancel, ticks=ticks)
        assert not call.is_running

    @rule(size=sizes, is_text=st.booleans())
    def send(self, size: int, is_text: bool) -> None:
        message = self.message(size, is_text=is_text)
        self.sending[self.guest.call(lambda: self.ws.send(message))] = [message]

    @rule(size=st.sampled_from([0, 1, 100]))
    def send_many(self, size: int) -> None:
        messages = [self.message(size, is_text=is_text) for is_text in (True, False)]
        self.sending[self.guest.call(lambda: self.ws.send_many(messages))] = messages

    @precondition(lambda self: self.writer is None)
    @rule()
    def open_a_writer(self) -> None:
        outgoing, incoming = trio.open_memory_channel[str](100)

        async def write() -> None:
            async with self.ws.text_writer() as writer:
                async for part in incoming:
                    await writer.write(part)

        parts: list[str] = []
        call = self.guest.call(write)
        self.writer = call, outgoing, parts
        self.sending[call] = []

    @precondition(lambda self: self.writer is not None)
    @rule()
    def write_a_part(self) -> None:
        assert self.writer is not None
        _, outgoing, parts = self.writer
        parts.append(self.number())
        self.guest.do(lambda: outgoing.send_nowait(parts[-1]))

    @precondition(lambda self: self.writer is not None)
    @rule()
    def close_the_writer(self) -> None:
        assert self.writer is not None
        if not self.writer[2]:
            self.write_a_part()  # Two empty messages could not be told apart.
        (call, outgoing, parts), self.writer = self.writer, None
        self.sending[call] = ["".join(parts)]
        self.guest.do(outgoing.close)

    @precondition(lambda self: any(call.is_running for call in self.sending))
    @rule(data=st.data())
    def cancel_a_send(self, data: st.DataObject) -> None:
        running = [call for call in self.sending if call.is_running]
        call = data.draw(st.sampled_from(running))
        # The first one is being written, if no reply is, or has its writer open; the others wait.
        self.cancel(call, may_tear=call is running[0])
        if self.writer is not None and call is self.writer[0]:
            self.writer = None

    @precondition(lambda self: self.is_blocked)
    @precondition(lambda self: any(call.is_running for call in self.sending))
    @rule(data=st.data(), ticks=ticks)
    def cancel_a_send_as_writes_go_on(self, data: st.DataObject, ticks: int) -> None:
        running = [call for call in self.sending if call.is_running]
        call = data.draw(st.sampled_from(running))
        self.cancel(call, may_tear=True, ticks=ticks)
        if self.writer is not None and call is self.writer[0]:
            self.writer = None

    def cancel(self, call: Call, *, may_tear: bool, ticks: int | None = None) -> None:
        was_open = self.is_open
        if ticks is None:
            self.guest.do(call.scope.cancel)
        else:
            self.guest.do_both(self.unblock, call.scope.cancel, ticks=ticks)
        assert not call.is_running
        is_over = self.valve.is_closed or self.server.close_code is not None
        if was_open and is_over:
            assert may_tear
            self.is_torn = True
        elif not was_open:
            self.is_torn = self.is_torn or may_tear

    @precondition(lambda self: len(self.pinging) < 3)
    @rule()
    def ping(self) -> None:
        self.pinging.append(self.guest.call(self.ws.ping))

    @precondition(lambda self: any(call.is_running for call in self.pinging))
    @rule(data=st.data())
    def cancel_a_ping(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from([call for call in self.pinging if call.is_running]))
        self.cancel(call, may_tear=self.is_blocked)

    @precondition(lambda self: not self.is_blocked)
    @rule()
    def block_writes(self) -> None:
        del self.pings_due[:-1]  # R3, if they were not read yet
        self.guest.do(self.valve.shut)

    async def unblock(self) -> None:
        self.valve.opened.set()

    @precondition(lambda self: self.is_blocked)
    @rule()
    def unblock_writes(self) -> None:
        self.guest.do(self.valve.opened.set)

    @precondition(lambda self: len(self.closing) < 2)
    @rule()
    def close(self) -> None:
        self.closing.append(self.guest.call(lambda: self.ws.aclose(4001, "enough")))

    @precondition(lambda self: not self.is_left)
    @rule()
    def leave_the_block(self) -> None:
        self.guest.do(self.leave.set)

    @precondition(lambda self: not self.is_left)
    @rule()
    def cancel_the_block(self) -> None:
        self.guest.do(self.block.scope.cancel)
        # C2: it waits for nobody.
        assert not self.block.is_running

    @rule(seconds=st.sampled_from([0.1, REST, CLOSE_TIMEOUT]))
    def time_passes(self, seconds: float) -> None:
        self.guest.pass_time(seconds)
        if seconds >= REST and self.has_taken_all and not self.is_blocked:
            # R2, R3: whether or not somebody receives.
            assert [ping for ping in self.server.pongs if ping in self.pings_due] == self.pings_due

    # What has to be so, whenever all tasks wait

    @invariant()
    def no_call_fails_but_for_what_is_promised(self) -> None:
        calls = [*self.receiving, *self.sending, *self.pinging, *self.closing]
        for call in calls:
            if call.error is not None:
                assert isinstance(call.error, ConnectionClosed), call.error
                assert not self.is_open
        for call in self.closing:
            assert call.error is None
        self.receiving = [call for call in self.receiving if call.is_running]
        assert self.running_server.error is None

    @invariant()
    def what_is_received_is_what_was_sent(self) -> None:
        """Nothing is lost, doubled or out of order, whichever task was cancelled."""
        assert len(set(self.taken)) == len(self.taken)
        assert set(self.taken_of_due) == set(self.due[: len(self.taken_of_due)])
        if len(self.receiving) <= 1 and self.is_open:
            assert sorted(self.taken, key=self.due.index) == self.due[: len(self.taken)]

    @invariant()
    def whoever_waits_for_a_message_gets_it(self) -> None:
        if any(call.is_running for call in self.receiving) and not self.we_close:
            assert len(self.taken) == len(self.due)
            assert self.is_open  # Otherwise the call raises.

    @invariant()
    def what_is_sent_arrives_in_order(self) -> None:
        """W1 to W3: whole messages, in the order of the calls."""
        order = [message for messages in self.sending.values() for message in messages]
        arrived = self.server.messages
        places = [order.index(message) for message in arrived if message in order]
        assert len(places) == len(arrived) or self.writer is not None
        assert places == sorted(set(places))
        if self.is_blocked or self.server.has_ended:
            return
        for call, messages in self.sending.items():
            if call.is_done and not (self.is_torn or self.is_left):
                assert all(message in arrived for message in messages)
            if call.scope.cancelled_caught and not self.is_torn:
                assert not any(message in arrived for message in messages)

    @invariant()
    def a_ping_comes_back(self) -> None:
        if self.has_taken_all and not self.is_blocked:
            assert not any(call.is_running for call in self.pinging)

    @invariant()
    def nothing_is_read_while_there_is_no_room(self) -> None:
        """R2; but a task that waits for a message reads on to its end, however long it is."""
        statistics = self.ws.statistics()
        is_full = statistics.buffered_bytes >= BUFFER and self.is_open and not self.receiving
        if is_full and self.was_full and len(self.taken) == self.taken_before:
            assert statistics.bytes_received == self.bytes_received
        self.was_full = is_full
        self.bytes_received = statistics.bytes_received
        self.taken_before = len(self.taken)

    @invariant()
    def no_call_waits_for_what_will_not_come(self) -> None:
        if self.is_blocked or not (self.server_code is not None or self.server.has_ended):
            return
        if len(self.taken) == len(self.due) or self.we_close:
            for call in [*self.receiving, *self.sending]:
                is_writing = self.writer is not None and call is self.writer[0]
                assert not call.is_running or is_writing

    @invariant()
    def the_block_ends_when_it_is_over(self) -> None:
        if self.is_left and self.server.has_ended:
            assert not self.block.is_running
        if not self.block.is_running:
            assert self.is_left
            if self.leave.is_set() and not self.block.scope.cancelled_caught:
                assert self.block.error is (self.error if self.raises else None)

    def teardown(self) -> None:
        guest = self.guest
        if hasattr(self, "block"):
            self._end_soundly()
        guest.close()

    def _end_soundly(self) -> None:
        guest = self.guest
        self.time_passes(REST)
        if not self.we_close:
            self._drain()
        guest.do(self.leave.set)
        guest.pass_time(CLOSE_TIMEOUT)  # C1
        assert not self.block.is_running
        if not (self.block.scope.cancel_called or self.raises):
            assert self.block.is_done
        assert self.valve.writing == 0
        assert self.server.sees_end or self.server.has_ended
        for call in [*self.receiving, *self.pinging, *self.closing]:
            assert not call.is_running
        if self.writer is not None:
            guest.do(self.writer[1].close)
        for call in self.sending:
            assert not call.is_running
        if self.server_code is not None and not self.is_torn and not self.closing:
            self._check_code()

    def _drain(self) -> None:
        """Take what is there: all that was due before the end."""
        for _ in range(len(self.due)):
            if len(self.taken) < len(self.due):
                call = self.guest.call(self._receive)
                self.receiving.append(call)
                assert call.is_done, "a message is due, and was not taken"
        assert set(self.taken) == set(self.due)

    def _check_code(self) -> None:
        call = self.guest.call(self.ws.receive)
        while call.is_done:
            call = self.guest.call(self.ws.receive)
        error = call.error
        assert isinstance(error, ConnectionClosedOK | ConnectionClosedError)


TestModel = ClientAndServer.TestCase
TestModel.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestModel = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(TestModel)
