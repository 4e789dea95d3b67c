"""Thousands of connections with mixed traffic, cancels and restarts of the server, for minutes.

``python tests/soak/soak_load.py [--minutes 2] [--connections 2000]`` ends with status 1 if a
message is lost or doubled while its connection lives, if anything is raised that is not
documented, or if something grows: file descriptors, tasks, or the memory of the process.

Each side numbers its messages on a connection, and checks that the other side's are in order and
without a gap. At the end of a round all connections are closed, the healthy ones normally, and
what is held then is compared with what was held after the first rounds.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import trio
import trustme
import wire
from scripted_server import Peer, tls_for
from soak_cycles import MIB, Held

from trio_wsclient import ConnectionClosed, HandshakeError, WebSocketClient, open_websocket_client

ROUND = 30  # seconds
RESTARTS = 11  # seconds from one to the next
LOST = 4999  # Close code of a server that misses a message, or has had one twice
MAX_GROWTH = 48 * MIB  # a tenth; what is freed is not always given back at once
MAX_MORE_OBJECTS = 5_000  # an object or two for each connection that is there at a time
SETTLED = 2  # rounds after which caches and arenas are what they will be

counts: collections.Counter[str] = collections.Counter()


# The server, in a process of its own


class Side:
    """The server's side of a connection."""

    def __init__(self, peer: Peer, dice: random.Random) -> None:
        self._peer = peer
        self._dice = dice
        self._sent = 0
        self._received = 0
        self._lock = trio.Lock()

    async def run(self) -> None:
        await self._peer.accept()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._talk)
                await self._listen()
                nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(self._peer.stream)

    async def _talk(self) -> None:
        while True:
            await trio.sleep(self._dice.uniform(0, 2))
            for _ in range(self._dice.choice([1, 1, 1, 20])):
                await self._say("s", self._sent, self._dice.choice([0, 10, 100, 1000, 70_000]))
                self._sent += 1

    async def _say(self, kind: str, number: int, size: int) -> None:
        data = f"{kind} {number} ".encode() + b"x" * size
        opcode = self._dice.choice([wire.TEXT, wire.BINARY])
        async with self._lock:
            if size > 100 and self._dice.random() < 0.2:
                at = self._dice.randrange(size)
                await self._peer.send(wire.frame(opcode, data[:at], fin=False))
                await self._peer.send(wire.ping(b"p") + wire.continuation(data[at:]))
            else:
                await self._peer.send(wire.frame(opcode, data))

    async def _listen(self) -> None:
        message = b""
        while (frame := await self._peer.next_frame()) is not None:
            if frame.opcode == wire.PING:
                await self._reply(wire.pong(frame.payload))
            elif frame.opcode == wire.CLOSE:
                await self._reply(wire.frame(wire.CLOSE, frame.payload))
                return
            elif frame.opcode != wire.PONG:
                message += frame.payload
                if frame.fin:
                    kind, number, _ = message.split(b" ", 2)
                    message = b""
                    if kind == b"stop":
                        async with self._lock:
                            await self._peer.send(wire.text(f"end {self._sent} "))
                        continue
                    if int(number) != self._received:
                        text = f"{number.decode()} after {self._received}".encode()
                        await self._reply(wire.close(LOST, text))
                        return
                    self._received += 1
                    await self._say("e", int(number), 0)

    async def _reply(self, data: bytes) -> None:
        async with self._lock:
            await self._peer.send(data)


async def serve(port: int, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.abc.Stream) -> None:
        with suppress(AssertionError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # A client that was cancelled ends TCP wherever it was.
            await Side(Peer(stream), random.Random()).run()

    async def handle_tls(stream: trio.abc.Stream) -> None:
        await handle(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    async with trio.open_nursery() as nursery:
        for number, handler in enumerate((handle, handle_tls)):
            listeners = await trio.open_tcp_listeners(port + number, host="127.0.0.1", backlog=4096)
            nursery.start_soon(trio.serve_listeners, handler, listeners)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


class Server:
    """The process, which is killed and started again."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self._certificate = folder / "certificate.pem"
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self._certificate)
        self.context = ssl.create_default_context()
        ca.configure_trust(self.context)
        self.port = _two_free_ports()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--serve", str(self.port), str(self._certificate)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def restart(self) -> None:
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        with self._process as process:
            process.send_signal(signal.SIGKILL)


def _two_free_ports() -> int:
    """Return the first one, below the ports of clients: otherwise a client might take it."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


# The clients


class Session:
    """What one connection has heard and said."""

    def __init__(self, ws: WebSocketClient, dice: random.Random) -> None:
        self._ws = ws
        self._dice = dice
        self._heard = 0  # of the server's own messages
        self._echoed = 0
        self._sent = 0
        self.end: int | None = None  # how many messages the server says that it has sent

    def _take(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        kind, number, _ = data.split(b" ", 2)
        expected = {b"s": self._heard, b"e": self._echoed, b"end": self._heard}[kind]
        assert int(number) == expected, f"{data[:20]!r}, but {expected} is due"
        if kind == b"s":
            self._heard += 1
        elif kind == b"e":
            self._echoed += 1
        else:
            self.end = int(number)
        counts["received"] += 1

    async def step(self) -> None:
        """Do something, and maybe break it off."""
        ws, dice = self._ws, self._dice
        with trio.move_on_after(dice.choice([0, 0.0001, 0.001, 0.1, 1, 1, 1])) as scope:
            match dice.randrange(8):
                case 0 | 1 | 2 | 3:
                    self._take(await ws.receive())
                case 4:
                    for message in await ws.receive_batch(dice.choice([None, 1, 5])):
                        self._take(message)
                case 5 | 6:
                    size = dice.choice([0, 10, 100, 1000, 70_000])
                    # Cancelled, it is either not sent, and its number is still to come, or torn:
                    # then the connection is over.
                    await ws.send(f"c {self._sent} " + "x" * size)
                    self._sent += 1
                    counts["sent"] += 1
                case 7:
                    await ws.ping()
        if scope.cancelled_caught:
            counts["calls cancelled"] += 1

    async def in_parts(self) -> None:
        async with self._ws.text_writer() as writer:
            await writer.write(f"c {self._sent} ")
            await writer.write("part")
        self._sent += 1
        counts["sent"] += 1

    async def finish(self) -> None:
        """Stop, and see that everything has come."""
        await self._ws.send("stop 0 ")
        while self.end is None:
            self._take(await self._ws.receive())
        assert self._echoed == self._sent
        counts["finished, and nothing was missing"] += 1


async def client(url: str, context: ssl.SSLContext, dice: random.Random, ends: trio.Event) -> None:
    while not ends.is_set():
        try:
            await _connect_once(url, context, dice, ends)
        except HandshakeError:
            counts["not opened"] += 1
            await trio.sleep(dice.uniform(0, 1))
        except ConnectionClosed as exc:
            assert exc.code != LOST, exc
            counts["cut or torn"] += 1
            await trio.sleep(dice.uniform(0, 0.5))


async def _connect_once(
    url: str, context: ssl.SSLContext, dice: random.Random, ends: trio.Event
) -> None:
    with trio.move_on_after(dice.expovariate(1 / 20)) as scope:
        async with open_websocket_client(
            url,
            **tls_for(url, context),
            ping_interval=dice.choice([None, 1, 5]),
            close_timeout=5,
            open_timeout=30,
            max_buffered_bytes=dice.choice([1000, 100_000]),
        ) as ws:
            counts["opened"] += 1
            session = Session(ws, dice)
            while not ends.is_set():
                await session.step()
                if dice.random() < 0.05:
                    await session.in_parts()
                await trio.sleep(dice.uniform(0, 1))
            scope.deadline = trio.current_time() + 20
            await session.finish()
    if scope.cancelled_caught:
        counts["blocks cancelled"] += 1


async def _restart_again_and_again(server: Server, ends: trio.Event) -> None:
    while True:
        with trio.move_on_after(RESTARTS):
            await ends.wait()
            return
        await trio.to_thread.run_sync(server.restart)
        counts["restarts"] += 1


async def run_round(server: Server, connections: int, seconds: float, dice: random.Random) -> None:
    ends = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_restart_again_and_again, server, ends)
        for number in range(connections):
            is_secure = number % 10 == 0
            scheme, port = ("wss", server.port + 1) if is_secure else ("ws", server.port)
            url = f"{scheme}://127.0.0.1:{port}/"
            nursery.start_soon(client, url, server.context, random.Random(dice.random()), ends)
        await trio.sleep(seconds)
        ends.set()


async def soak(server: Server, connections: int, minutes: float) -> list[Held]:
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    held: list[Held] = []
    rounds = max(SETTLED + 2, round(minutes * 60 / ROUND))
    for number in range(1, rounds + 1):
        await run_round(server, connections, minutes * 60 / rounds, dice)
        now = Held.after(number)
        held.append(now)
        print(
            f"round {number}: {now.descriptors} descriptors, {now.tasks} tasks, {now.objects} "
            f"objects, {now.resident / MIB:.1f} MiB; {dict(sorted(counts.items()))}",
            flush=True,
        )
    return held


@contextmanager
def running_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        try:
            yield server
        finally:
            server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Thousands of connections, for minutes.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "CERTIFICATE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * arguments.connections + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if arguments.serve:
        trio.run(serve, int(arguments.serve[0]), arguments.serve[1])
        return 0
    with running_server() as server:
        held = trio.run(soak, server, arguments.connections, arguments.minutes)
    first, last = held[SETTLED - 1], held[-1]
    grown = last.resident - first.resident
    more = last.objects - first.objects
    leaks = (
        last.descriptors > first.descriptors
        or last.tasks > first.tasks
        or more > MAX_MORE_OBJECTS
        or grown > MAX_GROWTH
    )
    print(
        f"since round {SETTLED}: {grown / MIB:+.1f} MiB, {more:+} objects;",
        "something grows" if leaks else "nothing grows",
    )
    return int(leaks)


if __name__ == "__main__":
    sys.exit(main())
