"""A session that is cancelled or interrupted at any step ends at once and clean (W2, C2, X1).

Each test runs a session that is struck at its first step, then at its second, and so on until it
ends unstruck. ``pytest -s`` shows the last k (both the beginning and the end of a task's own step
count). ``sweep`` checks that nothing is left of a run.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import trio
import wire
from strict_server import TRANSPORTS, in_parts, lockstep, memory, tls, whole
from sweep import AtAnyStep, AtOpenLine, AtOwnStep, FromOwnStepOn, Session, Trial, sweep

from trio_wsclient import ConnectionClosed, WebSocketClient, run_websocket_client

BIG = bytes(range(256)) * 300  # more than is written in one piece


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "run", "moment"),
    [
        *[(transport, in_a_block, AtOwnStep) for transport in TRANSPORTS],
        (lockstep, in_a_block, AtAnyStep),
        (tls, in_a_block, AtAnyStep),
        (memory, in_a_handler, AtOwnStep),
        (tls, in_a_handler, AtOwnStep),
    ],
)
def test_cancelled_session_ends_at_once_by_cancelled_alone(transport, run, moment, record_property):
    record_property("k", sweep(transport, partial(cancelled, run), moment))


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


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_exception_leaves_whenever_closing_is_cancelled(transport, record_property):
    record_property("k", sweep(transport, failing, AtOwnStep))


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "moment"),
    [
        *[(transport, AtOwnStep) for transport in TRANSPORTS],
        (lockstep, AtAnyStep),
        (tls, AtAnyStep),
    ],
)
def test_shielded_goodbye_is_said_whenever_the_cancel_comes(transport, moment, record_property):
    record_property("k", sweep(transport, goodbye, moment))


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
        await trio.lowlevel.checkpoint()  # for the strikes after the first one
    half = wire.ClientFrame(wire.BINARY, b"half", fin=False)
    # A Close 1011 goes only if the connection doesn't happen to write a pong at that moment.
    await trial.ended([*CONVERSATION, half], whole=not trial.strike.struck, code=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "moment", "restrict"),
    [
        *[(transport, AtOwnStep, False) for transport in TRANSPORTS],
        (lockstep, AtOwnStep, True),
        (tls, AtOwnStep, True),
        (memory, FromOwnStepOn, False),
        (tls, FromOwnStepOn, False),
        (lockstep, AtOpenLine, False),
        (tls, AtOpenLine, False),
    ],
)
def test_interrupted_session_ends_at_once_by_keyboardinterrupt(
    transport, moment, restrict, heeds_ctrl_c, record_property
):
    record_property("k", sweep(transport, interrupted, moment, restrict=restrict))
