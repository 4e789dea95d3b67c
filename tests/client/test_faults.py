"""A fault of the stream at its k-th call, for every k: nothing hangs, is lost, doubled or left.

The session is the session of the sweep of cancels, beside a server that parses strictly. ``sweep``
checks that a run ends, and what is left of it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from faults import (
    FATAL,
    HARMLESS,
    AtCall,
    EndsEarly,
    FaultyReceive,
    FaultySend,
    FaultySocket,
    ends,
    seven_bytes,
)
from scripted_server import Peer
from strict_server import (
    Connected,
    StrictServer,
    Transport,
    lockstep,
    memory,
    tcp,
    tls,
    tls_contexts,
)
from sweep import Trial, sweep
from test_cancel_sweep import CONVERSATION, converse

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    HandshakeError,
    WebSocketClient,
)
from trio_wsclient._net import connect
from trio_wsclient._net.sockets import EagerSocketStream


@asynccontextmanager
async def tls_in_memory(server: StrictServer) -> AsyncIterator[Connected]:
    """Connect by TLS on a user's stream, which ``trio.SSLStream`` does."""
    server_context, client_context = tls_contexts()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        stream = trio.SSLStream(theirs, server_context, server_side=True, https_compatible=True)
        nursery.start_soon(server, Peer(stream))
        yield "wss://127.0.0.1/", {"stream": ours, "ssl_context": client_context}
        nursery.cancel_scope.cancel()


class Strange(Exception):
    """What no stream should raise."""


async def survives(trial: Trial) -> None:
    async with trial.open() as ws:
        await converse(ws)
    await trial.ended(CONVERSATION, whole=True)


async def ends_soundly(trial: Trial) -> None:
    """Converse; a fault may end that, but only in the ways that are promised."""
    opened = False
    error: ConnectionClosed | None = None
    try:
        async with trial.open() as ws:
            opened = True
            try:
                await converse(ws)
            except ConnectionClosed as exc:
                error = exc
                await says_it_again(ws, error)
    except HandshakeError as exc:
        assert not opened
        assert exc.__cause__ is not None
        assert trial.strike.struck
    except Strange:
        # Before there is a connection, what a user's stream raises by mistake is theirs to see.
        assert not opened
    if error is not None:
        assert trial.strike.struck
        assert isinstance(error, ConnectionClosedError)
        assert error.received is None
        assert error.__cause__ is not None
    await trial.ended(CONVERSATION, whole=not trial.strike.struck)


async def says_it_again(ws: WebSocketClient, error: ConnectionClosed) -> None:
    """Check that each call says what ended it, `receive` after the messages that came before."""
    for call in (lambda: ws.send("more"), ws.ping, ws.receive, ws.receive_batch):
        with pytest.raises(ConnectionClosed) as again:
            while True:
                assert await call()
        assert str(again.value) == str(error)


# A user's stream


def broken() -> None:
    raise trio.BrokenResourceError("broken") from OSError(errno.EIO, "broken")


def strange() -> None:
    raise Strange("broken")


async def with_faulty_stream(
    wrap: Callable[[trio.abc.Stream, AtCall], trio.abc.Stream], trial: Trial
) -> None:
    assert isinstance(trial.strike, AtCall)
    trial.options["stream"] = wrap(trial.options["stream"], trial.strike)
    trial.strike.arm(lambda: None)
    await ends_soundly(trial)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [broken, strange])
@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("transport", [memory, lockstep, tls_in_memory])
def test_write_that_fails_ends_the_connection_soundly(
    transport: Transport, share: float, fault, record_property
):
    def wrap(stream: trio.abc.Stream, strike: AtCall) -> trio.abc.Stream:
        return FaultySend(stream, strike, share, fault)

    record_property("k", sweep(transport, partial(with_faulty_stream, wrap), AtCall))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault"), [(FaultyReceive, broken), (FaultyReceive, strange), (EndsEarly, broken)]
)
@pytest.mark.parametrize("transport", [memory, lockstep, tls_in_memory])
def test_read_that_fails_ends_the_connection_soundly(
    transport: Transport, kind: type[FaultySend], fault, record_property
):
    def wrap(stream: trio.abc.Stream, strike: AtCall) -> trio.abc.Stream:
        return kind(stream, strike, 0, fault)

    record_property("k", sweep(transport, partial(with_faulty_stream, wrap), AtCall))


async def cancelled_inside_a_call(kind: type[FaultySend], share: float, trial: Trial) -> None:
    assert isinstance(trial.strike, AtCall)
    done = False
    with trio.CancelScope() as scope:

        def blow() -> None:
            trial.server.mute = True
            scope.cancel()

        stream = trial.options["stream"]
        assert isinstance(stream, trio.abc.Stream)
        trial.options["stream"] = kind(stream, trial.strike, share, lambda: None)
        trial.strike.arm(blow)
        async with trial.open() as ws:
            await converse(ws)
        done = True
    assert done or trial.strike.struck
    await trial.ended(CONVERSATION, whole=done and not trial.strike.struck)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "share"), [(FaultySend, 0), (FaultySend, 0.5), (FaultySend, 1), (FaultyReceive, 0)]
)
@pytest.mark.parametrize("transport", [memory, lockstep, tls_in_memory])
def test_cancel_inside_a_call_tears_nothing_but_the_connection(
    transport: Transport, kind: type[FaultySend], share: float, record_property
):
    session = partial(cancelled_inside_a_call, kind, share)
    record_property("k", sweep(transport, session, AtCall))


# The library's own sockets, plain and with its own TLS


async def with_faulty_socket(
    monkeypatch: pytest.MonkeyPatch, session, faults: dict[str, object], trial: Trial
) -> None:
    assert isinstance(trial.strike, AtCall)

    def adopt_socket(stream: trio.SocketStream) -> EagerSocketStream:
        held = stream.socket
        family, kind, proto = held.family, held.type, held.proto
        faulty = FaultySocket(family, kind, proto, fileno=held.detach())
        faulty.strike = trial.strike
        for name, fault in faults.items():
            setattr(faulty, name, fault)
        return EagerSocketStream(faulty)

    with monkeypatch.context() as patch:
        patch.setattr(connect, "adopt_socket", adopt_socket)
        trial.strike.arm(lambda: None)
        await session(trial)


@pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("call", ["on_send", "on_receive"])
@pytest.mark.parametrize("transport", [tcp, tls])
def test_short_reads_and_writes_change_nothing(
    transport: Transport, call: str, fault, monkeypatch, record_property
):
    session = partial(with_faulty_socket, monkeypatch, survives, {call: fault})
    record_property("k", sweep(transport, session, AtCall))


class AtEachCall(AtCall):
    """Strikes each time."""

    once = False

    def is_due(self) -> bool:
        self.count()
        return self.struck


@pytest.mark.slow
@pytest.mark.parametrize("fault", [seven_bytes, HARMLESS["half"]])
@pytest.mark.parametrize("transport", [tcp, tls])
def test_calls_that_each_do_less_change_nothing(transport: Transport, fault, monkeypatch):
    faults = {"on_send": fault, "on_receive": fault}
    moments = iter([AtEachCall(1), AtEachCall(2), AtEachCall(10**9)])
    session = partial(with_faulty_socket, monkeypatch, survives, faults)
    sweep(transport, session, lambda _: next(moments))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FATAL.values(), ids=FATAL)
@pytest.mark.parametrize("call", ["on_send", "on_receive"])
@pytest.mark.parametrize("transport", [tcp, tls])
def test_call_that_fails_ends_the_connection_soundly(
    transport: Transport, call: str, fault, monkeypatch, record_property
):
    if call == "on_receive" and fault is FATAL["half, then reset"]:
        fault = ends
    session = partial(with_faulty_socket, monkeypatch, ends_soundly, {call: fault})
    record_property("k", sweep(transport, session, AtCall))


def test_faulty_socket_is_a_socket():
    left, right = socket.socketpair()
    faulty = FaultySocket(fileno=left.detach())
    with faulty, right:
        faulty.strike = AtCall(10)
        assert faulty.send(b"a") == 1
        right.send(b"b")
        assert faulty.recv(1) == b"b"
