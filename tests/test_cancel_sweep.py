"""Whatever step a session is cancelled or interrupted at, it ends, at once and clean (W2, C2, X1).

Each test runs a session that is struck at its first step, then at its second, and so on until it
ends unstruck; ``pytest -s`` shows at which k that was (of a task's own steps both the beginnings
and the ends count). That nothing is left of a run is checked by ``sweep``.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
import strict_server
import trio
import wire
from strict_server import Transport, in_parts, whole
from sweep import AtAnyStep, AtOpenLine, AtOwnStep, FromOwnStepOn, Session, Strike, Trial, sweep

from trio_wsclient import ConnectionClosed, WebSocketClient, run_websocket_client

BIG = bytes(range(256)) * 300  # more than is written in one piece

Sweep = Callable[..., None]


@pytest.fixture(params=["memory", "lockstep", "tcp", "tls"])
def transport(request, server_ssl_context, client_ssl_context) -> Transport:
    if request.param == "tls":
        return strict_server.tls(server_ssl_context, client_ssl_context)
    return getattr(strict_server, request.param)


@pytest.fixture
def run_sweep(transport, record_property) -> Sweep:
    def run_sweep(session: Session, make_strike: type[Strike], **options: bool) -> None:
        k = sweep(transport, session, make_strike, **options)
        record_property("k", k)
        print(f"{make_strike.__name__}, k = {k}: not reached", end=" ")

    return run_sweep


async def converse(ws: WebSocketClient) -> None:
    await ws.send("one")
    assert await ws.receive() == "one"
    await ws.send(BIG)
    assert await ws.receive() == BIG
    assert await ws.ping() >= 0
    async with ws.text_writer() as writer:
        await writer.write("thr")
        await writer.write("ee")
    payload = b""
    async for frame in ws.frames():
        payload += frame.payload
        if frame.fin:
            break
    assert payload == b"three"


CONVERSATION = [*whole("one"), *whole(BIG), *in_parts("thr", "ee")]


async def in_a_block(trial: Trial) -> None:
    async with trial.open() as ws:
        await converse(ws)


async def in_a_handler(trial: Trial) -> None:
    await run_websocket_client(trial.url, converse, **trial.options)


async def cancelled(run: Session, trial: Trial) -> None:
    def blow() -> None:
        trial.server.mute = True  # so that whatever still waits for it is seen
        scope.cancel()

    done = False
    with trio.CancelScope() as scope:
        trial.strike.arm(blow)
        try:
            await run(trial)
        except BaseException as exc:
            assert type(exc) is trio.Cancelled
            raise
        done = True
    assert done or trial.strike.struck
    await trial.ended(CONVERSATION, whole=done)


@pytest.mark.parametrize(
    ("run", "moment"), [(in_a_block, AtOwnStep), (in_a_block, AtAnyStep), (in_a_handler, AtOwnStep)]
)
def test_a_cancelled_session_ends_at_once_and_nothing_but_cancelled_leaves_it(
    run_sweep, run, moment
):
    run_sweep(partial(cancelled, run), moment)


async def failing(trial: Trial) -> None:
    def blow() -> None:
        trial.server.mute = True
        scope.cancel()

    error: Exception | None = None
    with trio.CancelScope() as scope:
        trial.strike.arm(blow)
        try:
            async with trial.open() as ws:
                await ws.send("one")
                assert await ws.receive() == "one"
                error = ZeroDivisionError()
                raise error
        except trio.Cancelled:
            assert error is None
            raise
        except ZeroDivisionError as exc:
            assert exc is error
            assert exc.__context__ is None
    await trial.ended(whole("one"), whole=not trial.strike.struck, code=1011)


def test_what_the_block_raises_leaves_it_whenever_its_closing_is_cancelled(run_sweep):
    run_sweep(failing, AtOwnStep)


async def goodbye(trial: Trial) -> None:
    sent: list[wire.ClientFrame] = []
    is_sending = said = False
    with trio.CancelScope() as scope:
        try:
            async with trial.open() as ws:
                trial.strike.arm(scope.cancel)
                try:
                    for message in ("one", BIG, "two"):
                        is_sending = True
                        await ws.send(message)
                        is_sending = False
                        sent += whole(message)
                        if message != BIG:  # whose echo is on its way when the goodbye begins
                            await ws.receive()
                finally:
                    with trio.CancelScope(shield=True):
                        try:
                            await ws.send("goodbye")
                            while await ws.receive() != "goodbye":
                                pass
                            await ws.aclose(4000, "goodbye")
                            said = True
                        except ConnectionClosed:
                            assert is_sending, "nothing but a torn frame is in a goodbye's way"
        except BaseException as exc:
            assert type(exc) is trio.Cancelled
            raise
    if said:
        await trial.ended([*sent, *whole("goodbye")], whole=True, code=4000)
    else:
        await trial.ended([*whole("one"), *whole(BIG), *whole("two")], whole=False)


@pytest.mark.parametrize("moment", [AtOwnStep, AtAnyStep])
def test_a_shielded_goodbye_is_said_whenever_the_cancel_comes(run_sweep, moment):
    run_sweep(goodbye, moment)


class Calls:
    """Calls one by one, each in a scope of its own, which is what is struck; keeps the accounts."""

    def __init__(self, trial: Trial, ws: WebSocketClient) -> None:
        self.ws = ws
        self.sent: list[wire.ClientFrame] = []
        self.echoes: deque[str | bytes] = deque()  # of what was sent, and not received yet
        # What was being sent when it was cancelled: it may have arrived, but nothing behind it.
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


@pytest.mark.parametrize("moment", [AtOwnStep, AtAnyStep])
def test_a_cancelled_call_has_no_effect_or_every_later_one_says_that_it_is_over(run_sweep, moment):
    run_sweep(call_by_call, moment)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Give Ctrl-C the handler that Trio looks for, and that a shell's background job is without."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


async def interrupted(trial: Trial) -> None:
    def blow() -> None:
        trial.server.mute = True
        signal.raise_signal(signal.SIGINT)

    async def leave_half_a_message() -> None:
        async with ws.binary_writer() as writer:
            await writer.write(b"half")
            raise trio.TooSlowError

    block = trial.open()
    try:
        trial.strike.arm(blow)
        async with block as ws:
            await converse(ws)
            with pytest.raises(trio.TooSlowError):
                await leave_half_a_message()
        trial.strike.disarm()
        await trio.lowlevel.checkpoint()  # for a Ctrl-C that has come too late for the session
    except BaseException as exc:
        assert type(exc) is KeyboardInterrupt
        assert trial.strike.struck
    else:
        assert not trial.strike.struck
    trial.strike.disarm()
    with suppress(KeyboardInterrupt):
        await trio.lowlevel.checkpoint()  # for those behind the first one
    half = wire.ClientFrame(wire.BINARY, b"half", fin=False)
    # A Close 1011 goes only if the connection doesn't happen to write a pong at that moment.
    await trial.ended([*CONVERSATION, half], whole=not trial.strike.struck, code=None)


@pytest.mark.parametrize("restrict", [False, True])
@pytest.mark.parametrize("moment", [AtOwnStep, FromOwnStepOn, AtOpenLine])
def test_an_interrupted_session_ends_at_once_and_keyboardinterrupt_leaves_it(
    run_sweep, moment, restrict, heeds_ctrl_c
):
    run_sweep(interrupted, moment, restrict=restrict)
