"""Many short rounds of numbered messages, in which any call may be cancelled at any moment.

``python tests/soak/soak_cancels.py [--rounds 2000] [--seed 1] [--transport tcp]`` ends with status
1 as soon as a round shows a fault: a message that is lost, doubled, torn or out of order, a call
that raises what is not documented, or a round that does not end. It prints the seed of that round.
To play the round again, as far as the system's timing allows, use ``--seed SEED --rounds 1``.

In each round several consumers and several producers share one connection, and so do tasks that
ping, look at ``outcome``, and close. Each call is cancelled after a random number of scheduler
ticks, often at once. The server numbers its messages without a gap; the consumers note in which
order they took them. Each producer numbers its own messages; the server parses strictly, and notes
what has come.

A cancelled call must leave no trace: a message that was not taken is still there, and a message
that was not sent never comes. The exception is a write that was cancelled in the middle: it ends
the connection, and the server sees at most a torn frame, which is the last one.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import math
import random
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import trio
import trio.testing
import trustme
import wire
from scripted_server import Peer, loopback_server, memory_server, tls_of
from streams import Valve

from trio_wsclient import ConnectionClosed, WebSocketClient, open_websocket_client

ROUND = 30  # seconds that a round may take at most
CLOSE_TIMEOUT = 5  # seconds
SIZES = [0, 0, 1, 10, 100, 1000, 10_000, 70_000, 300_000]  # bytes of padding

MANY = 1000  # messages: then they are tiny, and come in bursts that take several time slices

counts: collections.Counter[str] = collections.Counter()

# The message that the task has taken last.
_latest: ContextVar[int] = ContextVar("latest", default=-1)


def make_message(source: str, number: int, size: int) -> bytes:
    """Make a message that tells where it comes from, and whose end shows that it is whole."""
    return f"{source} {number} {size} ".encode() + b"x" * size + b"."


def parse_message(message: str | bytes) -> tuple[str, int]:
    """Return source and number of a message; raise if it is torn."""
    data = message.encode() if isinstance(message, str) else message
    source, number, size, padding = data.split(b" ", 3)
    assert padding == b"x" * int(size) + b".", f"a torn message: {data[:40]!r}"
    return source.decode(), int(number)


# The server


class Server:
    """The server's side of one round.

    Attributes:
        sent: How many messages were handed to the stream, the last one maybe not completely.
        received: The numbers that have come from each producer, in their order.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._lock = trio.Lock()
        self.to_send = dice.choice([0, 5, 50, 50, 300, 300, 8000])
        self.end = dice.choice(["stays", "stays", "closes", "ends", "resets", "deaf"])
        self.sent = 0
        self.received: dict[str, list[int]] = collections.defaultdict(list)

    async def __call__(self, peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EndOfRound):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._talk, peer)
                    await self._listen(peer)
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError, EndOfRound):
                pass
        await trio.aclose_forcefully(peer.stream)

    async def _talk(self, peer: Peer) -> None:
        dice = self._dice
        while self.sent < self.to_send:
            if dice.random() < 0.3:
                await trio.sleep(dice.choice([0, 0, 0.0003, 0.002]))
            batch = b""
            sizes = [1, 1, 2, 20, 100] if self.to_send < MANY else [1, 20, 4000]
            for _ in range(dice.choice(sizes)):
                if self.sent < self.to_send:
                    batch += self._frames(make_message("s", self.sent, self._size()))
                    self.sent += 1
            async with self._lock:
                await peer.send(batch)
        if self.end == "closes":
            async with self._lock:
                await peer.send(wire.close(1000))
        elif self.end == "ends" and isinstance(peer.stream, trio.SocketStream):
            async with self._lock:
                await peer.stream.send_eof()
        elif self.end in {"ends", "resets"}:
            self.end = "resets"  # Messages that are still on their way may be lost.
            await trio.sleep(0.01)
            raise EndOfRound

    def _size(self) -> int:
        if self.to_send >= MANY:
            return 0
        return self._dice.choice(SIZES if self.to_send < 100 else SIZES[:6])

    def _frames(self, message: bytes) -> bytes:
        """Make a message in one frame or in several, maybe with a ping in the middle."""
        opcode = self._dice.choice([wire.TEXT, wire.BINARY])
        ping = wire.ping(b"s%d" % self.sent) if self._dice.random() < 0.2 else b""
        if self._dice.random() < 0.7:
            return ping + wire.frame(opcode, message)
        at = self._dice.randrange(len(message))
        return wire.frame(opcode, message[:at], fin=False) + ping + wire.continuation(message[at:])

    async def _listen(self, peer: Peer) -> None:
        dice = self._dice
        parts: list[wire.ClientFrame] = []
        has_closed = False
        while True:
            if self.end == "deaf" and dice.random() < 0.05:
                await trio.sleep(0.05)
            if dice.random() < 0.05:
                await trio.sleep(0.001)
            try:
                frame = await peer.next_frame()
            except AssertionError:  # The client has ended TCP within a frame.
                counts["torn frames at the end"] += 1
                return
            if frame is None:
                return
            assert not has_closed, f"a frame after the Close: {frame}"
            if frame.opcode == wire.CLOSE:
                has_closed = True
                async with self._lock:
                    await peer.send(wire.frame(wire.CLOSE, frame.payload))
                return
            if frame.opcode == wire.PING:
                if self.end != "deaf":
                    async with self._lock:
                        await peer.send(wire.pong(frame.payload))
            elif frame.opcode != wire.PONG:
                assert (frame.opcode == wire.CONTINUATION) is bool(parts), "interleaved"
                parts.append(frame)
                if frame.fin:
                    source, number = parse_message(b"".join(part.payload for part in parts))
                    parts = []
                    self.received[source].append(number)


class EndOfRound(Exception):
    """The script ends the stream."""


# Ways to connect


class SlowStream(Valve):
    """A user's stream that takes what is sent in sips, and gives what has come in sips."""

    def __init__(self, inner: trio.abc.Stream, dice: random.Random) -> None:
        super().__init__(inner)
        self._dice = dice

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        at = self._dice.randrange(len(data) + 1)
        await super().send_all(data[:at])
        for _ in range(self._dice.choice([0, 1, 5, 20])):
            await trio.lowlevel.checkpoint()
        await super().send_all(data[at:])

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        size = self._dice.choice([max_bytes, 1000, 10_000])
        if size is not None and max_bytes is not None:
            size = min(size, max_bytes)
        return await super().receive_some(size)


class Deafening(SlowStream):
    """The same; `aclose` wakes no task that waits in `receive_some`."""

    async def aclose(self) -> None:
        self.is_closed = True
        self.opened.set()
        await trio.lowlevel.checkpoint()


Connected = tuple[str, dict[str, object]]  # URL and options
_server_tls: ssl.SSLContext
_client_tls: ssl.SSLContext


def make_tls() -> None:
    global _server_tls, _client_tls  # noqa: PLW0603
    ca = trustme.CA()
    _client_tls = ssl.create_default_context()
    ca.configure_trust(_client_tls)
    _server_tls = tls_of(ca, "127.0.0.1", "server")


@asynccontextmanager
async def tcp(server: Server, dice: random.Random) -> AsyncIterator[Connected]:
    async with loopback_server(server) as url:
        yield url, {}


@asynccontextmanager
async def tls(server: Server, dice: random.Random) -> AsyncIterator[Connected]:
    async with loopback_server(server, ssl_context=_server_tls) as url:
        yield url, {"ssl_context": _client_tls}


@asynccontextmanager
async def memory(server: Server, dice: random.Random) -> AsyncIterator[Connected]:
    async with memory_server(server) as stream:
        yield "ws://server/", {"stream": stream}


@asynccontextmanager
async def own_stream(server: Server, dice: random.Random) -> AsyncIterator[Connected]:
    kind = dice.choice([SlowStream, Deafening])
    async with memory_server(server) as stream:
        yield "ws://server/", {"stream": kind(stream, dice)}


@asynccontextmanager
async def tls_in_memory(server: Server, dice: random.Random) -> AsyncIterator[Connected]:
    async def behind_tls(peer: Peer) -> None:
        peer.stream = trio.SSLStream(
            peer.stream, _server_tls, server_side=True, https_compatible=True
        )
        with suppress(trio.BrokenResourceError):
            await server(peer)

    async with memory_server(behind_tls) as stream:
        yield "wss://server/", {"stream": stream, "ssl_context": _client_tls}


TRANSPORTS = {
    function.__name__: function for function in (tcp, tls, memory, own_stream, tls_in_memory)
}


# The client


class Round:
    """What the tasks of one round have done."""

    def __init__(self, ws: WebSocketClient, server: Server, dice: random.Random) -> None:
        self._ws = ws
        self._server = server
        self._dice = dice
        self.by_frames = dice.random() < 0.15  # One consumer, which takes frames, too.
        self.may_tear = dice.random() < 0.6  # whether calls that write are cancelled
        self.taken: list[int] = []
        self.sent: dict[str, int] = {}  # how many messages of each producer were sent for sure

    def _take(self, message: str | bytes) -> None:
        source, number = parse_message(message)
        assert source == "s"
        # Other tasks may be faster with what is newer, but each task takes in order.
        before = _latest.get()
        assert number > before, f"{number} after {before}"
        _latest.set(number)
        self.taken.append(number)

    async def _try(self, call: Callable[[], Awaitable[None]], *, writes: bool = False) -> bool:
        """Make a call that may be cancelled; return whether it was."""
        dice = self._dice
        if writes and not self.may_tear:
            await call()
            return False
        with trio.CancelScope() as scope:
            match dice.randrange(5):
                case 0:
                    scope.deadline = trio.current_time() + dice.choice([0, 0.0001, 0.001, 0.01])
                case 1:
                    scope.cancel()
                case 2 | 3:
                    _cancel_after(dice.randrange(12), scope)
            await call()
        counts["calls"] += 1
        counts["calls cancelled"] += scope.cancelled_caught
        return scope.cancelled_caught

    async def consume(self) -> None:
        """Take messages in every way, until the connection is over."""
        calls = [self._receive, self._receive, self._receive_batch, self._receive_nowait]
        if self.by_frames:
            calls.append(self._receive_frames)
        with suppress(ConnectionClosed):
            while True:
                await self._try(self._dice.choice(calls))
                if self._dice.random() < 0.1:
                    await trio.sleep(self._dice.choice([0, 0.0003, 0.003]))

    async def _receive(self) -> None:
        self._take(await self._ws.receive())

    async def _receive_batch(self) -> None:
        for message in await self._ws.receive_batch(self._dice.choice([None, 1, 3])):
            self._take(message)

    async def _receive_nowait(self) -> None:
        try:
            self._take(self._ws.receive_nowait())
        except trio.WouldBlock:
            await trio.lowlevel.checkpoint()

    async def _receive_frames(self) -> None:
        payload = b""
        async for frame in self._ws.frames():
            payload += frame.payload
            if frame.fin:
                self._take(payload)
                return
            with trio.CancelScope(shield=True):  # To be cancelled here would lose the beginning.
                async for rest in self._ws.frames():
                    payload += rest.payload
                    if rest.fin:
                        break
                else:
                    return
            self._take(payload)
            return

    async def produce(self, source: str) -> None:
        """Send messages in every way; a number that was not sent is used again."""
        dice = self._dice
        number = 0
        with suppress(ConnectionClosed):
            for _ in range(dice.choice([1, 10, 60])):
                count = dice.choice([1, 1, 1, 5])
                messages = [make_message(source, number + n, self._size()) for n in range(count)]

                async def send(messages: list[bytes] = messages) -> None:
                    if len(messages) > 1:
                        await self._ws.send_many(messages)
                    elif dice.random() < 0.2:
                        await self._send_in_parts(messages[0])
                    else:
                        await self._ws.send(messages[0])

                if not await self._try(send, writes=True):
                    number += count
                    self.sent[source] = number
                # If it was cancelled, either nothing has happened, or the next call raises.
                if dice.random() < 0.2:
                    await trio.sleep(dice.choice([0, 0.0003, 0.002]))

    def _size(self) -> int:
        return self._dice.choice(SIZES)

    async def _send_in_parts(self, message: bytes) -> None:
        at = self._dice.randrange(len(message))
        async with self._ws.binary_writer() as writer:
            await writer.write(message[:at])
            await writer.write(message[at:])

    async def disturb(self) -> None:
        """Ping and look, until the connection is over."""
        dice = self._dice
        with suppress(ConnectionClosed):
            while True:
                if dice.random() < 0.3:
                    self._look()

                async def ping() -> None:
                    # A cancelled ping may be torn.
                    with trio.move_on_after(0.01 if self.may_tear else math.inf):
                        await self._ws.ping()

                if dice.random() < 0.5:
                    await self._try(self._wait_closed)
                else:
                    await self._try(dice.choice([ping, self._pong]), writes=True)
                if self._look() is not None:
                    return
                await trio.sleep(dice.choice([0, 0, 0.001]))

    def _look(self) -> ConnectionClosed | None:
        self._ws.statistics()
        return self._ws.outcome

    async def _wait_closed(self) -> None:
        with trio.move_on_after(0.001):
            await self._ws.wait_closed()

    async def _pong(self) -> None:
        await self._ws.pong()

    async def close(self) -> None:
        """Close after a while, maybe cancelled."""
        await trio.sleep(self._dice.choice([0.001, 0.01, 0.05]))
        await self._try(self._ws.aclose)

    def check(self, outcome: ConnectionClosed, *, is_quiet: bool) -> None:
        """Check what has come, on both sides.

        Args:
            outcome: How the connection ended.
            is_quiet: Whether this side asked for the end only after all was taken.
        """
        server = self._server
        numbers = sorted(self.taken)
        assert numbers == list(range(len(numbers))), _shown("taken", numbers)
        assert len(numbers) <= server.sent
        for source, came in server.received.items():
            assert came == list(range(len(came))), _shown(f"of {source}", came)
        counts["messages taken"] += len(numbers)
        counts["messages sent"] += sum(map(len, server.received.values()))
        if not is_quiet or self.may_tear or server.end == "resets":
            return
        assert len(numbers) == server.to_send, f"{len(numbers)} of {server.to_send}, {outcome!r}"
        counts["rounds in which all had to come"] += 1
        if server.end != "ends":
            for source, count in self.sent.items():
                assert len(server.received[source]) >= count, f"{source} has sent {count}"
            counts["rounds in which all had to be sent"] += 1


def _cancel_after(ticks: int, scope: trio.CancelScope) -> None:
    """Cancel a scope after some scheduler ticks."""
    if ticks == 0:
        scope.cancel()
    else:
        token = trio.lowlevel.current_trio_token()
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(_cancel_after, ticks - 1, scope)


def _shown(what: str, numbers: list[int]) -> str:
    wrong = [(at, number) for at, number in enumerate(numbers) if at != number]
    return f"{what}: {len(numbers)} messages; place and number of the first wrong ones {wrong[:5]}"


async def play(transport: str, seed: int) -> None:
    """Play one round."""
    dice = random.Random(seed)
    server = Server(dice)
    options: dict[str, object] = {
        "close_timeout": CLOSE_TIMEOUT,
        "max_buffered_bytes": dice.choice([1, 1000, 1_048_576]),
        "fragment_size": dice.choice([None, None, 100_000, 5000]),
        "ping_interval": dice.choice([None, 0.005]),
        "ping_timeout": 20,
    }
    # In a third of the rounds the body waits until all has come, and nobody closes before.
    is_quiet = dice.random() < 0.35
    quits = dice.choice(["leaves", "leaves", "cancelled", "raises"])
    with trio.fail_after(ROUND):
        async with TRANSPORTS[transport](server, dice) as (url, more):
            session: Round | None = None
            with trio.CancelScope() as scope, suppress(ZeroDivisionError):
                async with trio.open_nursery() as outside:
                    async with open_websocket_client(url, **options, **more) as ws:  # type: ignore[arg-type]
                        session = Round(ws, server, dice)
                        consumers = 1 if session.by_frames else dice.choice([1, 2, 5])
                        for _ in range(consumers):
                            outside.start_soon(session.consume)
                        for number in range(dice.choice([0, 1, 3])):
                            outside.start_soon(session.produce, f"p{number}")
                        outside.start_soon(session.disturb)
                        if is_quiet:
                            # A torn frame ends the connection before all has come.
                            while True:
                                await trio.sleep(0.001)
                                if len(session.taken) >= server.to_send or ws.outcome is not None:
                                    break
                        else:
                            for _ in range(dice.choice([0, 0, 1, 3])):
                                outside.start_soon(session.close)
                            await trio.sleep(dice.choice([0, 0.001, 0.02]))
                            if quits == "cancelled":
                                scope.cancel()
                                if dice.random() < 0.5:
                                    await trio.lowlevel.checkpoint()
                            elif quits == "raises":
                                raise ZeroDivisionError
            if session is not None:
                outcome = session._ws.outcome
                assert outcome is not None
                session.check(outcome, is_quiet=is_quiet)
                counts[f"closed by {outcome.closed_by}"] += 1
            await trio.testing.wait_all_tasks_blocked()


async def play_and_look(transport: str, seed: int) -> None:
    living = trio.lowlevel.current_statistics().tasks_living
    try:
        await play(transport, seed)
    except* ZeroDivisionError:
        pass
    left = trio.lowlevel.current_statistics().tasks_living - living
    assert left == 0, f"{left} tasks are left"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, help="of the first round; random by default")
    parser.add_argument("--transport", choices=[*TRANSPORTS], help="all in turns by default")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first fault")
    arguments = parser.parse_args()
    first = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    make_tls()
    names = itertools.cycle([arguments.transport] if arguments.transport else TRANSPORTS)
    began = time.monotonic()
    faults = 0
    for seed, transport in zip(range(first, first + arguments.rounds), names, strict=False):
        try:
            trio.run(play_and_look, transport, seed)
        except BaseException as exc:
            faults += 1
            print(f"failed: --transport {transport} --seed {seed} --rounds 1: {exc!r}", flush=True)
            if not arguments.go_on or isinstance(exc, KeyboardInterrupt):
                raise
    for name, count in sorted(counts.items()):
        print(f"{count:9} {name}")
    print(f"{arguments.rounds} rounds in {time.monotonic() - began:.0f} s, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
