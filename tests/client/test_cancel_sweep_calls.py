"""Whatever step a call is cancelled at, no message is lost, doubled or cut in half (W2).

As in ``test_cancel_sweep``, but it is one call that is struck, and the session goes on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain

import pytest
import trio
import wire
from strict_server import TRANSPORTS, in_parts, lockstep, memory, tls, whole
from sweep import AtAnyStep, AtOwnStep, Trial, sweep

from trio_wsclient import ConnectionClosed, WebSocketClient

BIG = bytes(range(256)) * 300  # more than is written in one piece


class Calls:
    """Calls one by one, each in a scope of its own, which is what is struck; keeps the accounts."""

    def __init__(self, trial: Trial, ws: WebSocketClient) -> None:
        self.ws = ws
        self.sent: list[wire.ClientFrame] = []
        self.echoes: deque[str | bytes] = deque()  # of what was sent, and not received yet
        # Frames whose sending was cancelled: they may have arrived, but nothing after them.
        self.doubtful: list[wire.ClientFrame] = []
        self._doubtful_echo: list[str | bytes] = []
        self.over = False  # whether the latest call has said so
        self._may_be_over = False
        self._result: object = None
        self._scope = trio.CancelScope()
        trial.strike.arm(self._blow)

    def _blow(self) -> None:
        self._scope.cancel()

    async def _call(self, function: Callable[..., Awaitable[object]], *args: object) -> bool:
        """Tell whether a call was done; if not, it was cancelled, or the connection is over."""
        with trio.CancelScope() as self._scope:
            try:
                self._result = await function(*args)
            except ConnectionClosed:
                assert self._may_be_over
                self.over = True
            except BaseException as exc:
                assert type(exc) is trio.Cancelled
                # W2: what was being written is torn; what was only being waited for is not.
                self._may_be_over |= function != self.ws.receive
                raise
            else:
                return True
        return False

    async def receive(self) -> None:
        if await self._call(self.ws.receive):
            assert self._result == self.echoes.popleft()

    async def write(self, message: str) -> None:
        async with self.ws.text_writer() as writer:
            await writer.write(message)

    async def exchange(
        self,
        send: Callable[[str | bytes], Awaitable[None]],
        message: str | bytes,
        frames: list[wire.ClientFrame],
    ) -> None:
        """Send a message, wait for its echo, and ping, until it is said that all is over."""
        if await self._call(send, message):
            self.sent += frames
            self.echoes.append(message)
        elif not self.over:
            self.doubtful, self._doubtful_echo = frames, [message]
        while self.echoes and not self.over:
            await self.receive()
        if not self.over:
            await self._call(self.ws.ping)

    async def close(self) -> None:
        self._may_be_over = True
        await self._call(self.ws.aclose, 4000)

    async def all_say_that_it_is_over(self) -> None:
        for call in (
            partial(self.ws.send, "late"),
            self.ws.ping,
            self.ws.pong,
            partial(self.write, "late"),
        ):
            self.over = False
            while not self.over:
                assert not await self._call(call)
        self.echoes += self._doubtful_echo
        self.over = False
        while not self.over:
            await self.receive()


async def call_by_call(trial: Trial) -> None:
    async with trial.open() as ws:
        calls = Calls(trial, ws)
        for send, message, frames in (
            (ws.send, "1", whole("1")),
            (ws.send, BIG, whole(BIG)),
            (calls.write, "3", in_parts("3")),
            (ws.send, "4", whole("4")),
        ):
            if not calls.over:
                await calls.exchange(send, message, frames)
        over = calls.over
        await calls.close()
        await calls.all_say_that_it_is_over()
    if over:
        await trial.ended(calls.sent + calls.doubtful, whole=False)
    else:
        await trial.ended(calls.sent, whole=not trial.strike.struck, code=4000)
        assert trial.server.data() == calls.sent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "moment"),
    [
        *[(transport, AtOwnStep) for transport in TRANSPORTS],
        (lockstep, AtAnyStep),
        (tls, AtAnyStep),
    ],
)
def test_cancelled_call_has_no_effect_or_ends_the_connection(transport, moment, record_property):
    """If a cancelled call has torn a frame, every later call says that the connection is over."""
    record_property("k", sweep(transport, call_by_call, moment))


class Company:
    """What several tasks send and receive over one connection."""

    def __init__(self, ws: WebSocketClient) -> None:
        self._ws = ws
        self.begun: list[str | bytes] = []
        self.sent: list[str | bytes] = []
        self.received: list[str | bytes] = []
        self.over = False

    @contextmanager
    def _noting_the_end(self) -> Iterator[None]:
        try:
            yield
        except ConnectionClosed:
            self.over = True

    async def send(self, *messages: str | bytes) -> None:
        """Send messages, a str in parts."""
        with self._noting_the_end():
            for message in messages:
                self.begun.append(message)
                if isinstance(message, str):
                    async with self._ws.text_writer() as writer:
                        await writer.write(message)
                else:
                    await self._ws.send(message)
                self.sent.append(message)

    async def receive_all(self) -> None:
        with self._noting_the_end():
            while True:
                self.received.append(await self._ws.receive())

    async def receive_rest(self) -> None:
        with self._noting_the_end():
            while len(self.received) < len(self.sent):
                self.received.append(await self._ws.receive())
            await self._ws.ping()

    async def talk(self, scope: trio.CancelScope) -> None:
        """Send from two tasks, of which one is in a scope, while a third one receives."""
        async with trio.open_nursery() as receivers:
            receivers.start_soon(self.receive_all)
            async with trio.open_nursery() as senders:
                senders.start_soon(self.send, "1", b"2", "3")
                with scope:
                    await self.send(b"4" + BIG, "5", b"6")
            receivers.cancel_scope.cancel()


async def one_is_cancelled(trial: Trial) -> None:
    scope = trio.CancelScope()
    async with trial.open() as ws:
        company = Company(ws)
        trial.strike.arm(scope.cancel)
        await company.talk(scope)
        await company.receive_rest()
    await trial.seen_by_server()
    arrived = trial.server.messages()
    assert company.received == arrived[: len(company.received)]
    if company.over:
        assert trial.strike.struck
        assert Counter(arrived) <= Counter(company.begun)
    else:
        assert Counter(arrived) == Counter(company.sent)
        assert len(company.received) == len(arrived)
    frames = [in_parts(sent) if isinstance(sent, str) else whole(sent) for sent in company.begun]
    trial.server.check_end(list(chain(*frames)))


@pytest.mark.slow
@pytest.mark.parametrize("transport", [memory, tls])
def test_cancelled_send_costs_other_tasks_nothing(transport, record_property):
    """Other tasks' messages get through, unless the cancelled send has torn a frame."""
    record_property("k", sweep(transport, one_is_cancelled, AtAnyStep))


async def all_are_cancelled(trial: Trial) -> None:
    def blow() -> None:
        trial.server.mute = True
        scope.cancel()

    with trio.CancelScope() as scope:
        async with trial.open() as ws:
            company = Company(ws)
            trial.strike.arm(blow)
            await company.talk(trio.CancelScope())
    assert not company.over, "a cancelled call does not report the tear that the cancel has caused"
    await trial.seen_by_server()


@pytest.mark.slow
@pytest.mark.parametrize("transport", [lockstep, tls])
def test_when_all_are_cancelled_each_call_raises_cancelled(transport, record_property):
    record_property("k", sweep(transport, all_are_cancelled, AtAnyStep))
