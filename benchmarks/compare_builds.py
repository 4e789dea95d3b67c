"""Compare the speed of two builds: `python benchmarks/compare_builds.py OLD NEW`.

OLD and NEW are folders with a `trio_wsclient/` package inside, for example two worktrees. A build
uses the accelerator if the compiled file is in its package; `pip install -e FOLDER` puts it there.

Both builds run in one process and take short turns. A busy machine slows both down, so the ratio of
two neighbouring turns is steadier than their times. Each workload runs in several sittings. A
sitting opens new connections, and every other sitting opens those of the new build first.

The script also plays the server, in the same thread, and subtracts its CPU time. The bytes of the
server are made in advance. The server writes before the client reads, or when all tasks wait: Trio
then calls an instrument.

The columns:

* old, new: microseconds of CPU for each message; the medians.
* floor: the same for the bytes alone on a bare socket (`recv_into`, `send`, `wait_readable`), in
  turns of the same run. Nothing is parsed, masked or compressed, and no pong is sent.
* new/old: the median ratio of the pairs of turns. Below 1 the new build is faster.
* 95 %: the interval of that median, by a bootstrap over the sittings.
* half: the interval of the middle half of the ratios. If it is wide, the machine was busy.

Compare a build with a copy of itself first: this shows which differences your machine can tell. If
an interval is too wide, give more `--seconds`.

The script fixes the thresholds of glibc's allocator. Otherwise they adapt to what was freed last,
and one of two equal builds may be 30 % slower for a whole sitting. So the table does not show what
a build saves by fewer calls of `mmap`; `--adaptive-malloc` leaves the thresholds alone.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import gc
import hashlib
import importlib
import json
import mmap
import os
import platform
import random
import socket
import statistics
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import trio
from trio.lowlevel import wait_readable, wait_writable
from trio.testing import wait_all_tasks_blocked

PACKAGE = "trio_wsclient"
TURN = 0.0005  # seconds of CPU for a turn of the old build, or one round if that takes longer
WARM_UP = 10  # turns at the beginning of a sitting that don't count
SITTINGS = 16
RESAMPLES = 400  # of the bootstrap
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
PATIENCE = 60  # seconds for a sitting, before the script gives up
COLUMNS = {"old": 10, "new": 10, "floor": 10, "new/old": 10, "95 %": 14, "half": 14, "pairs": 8}


# The server


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# This memory begins with a page. A large `bytearray` begins 16 bytes later, and some processors
# then copy from the kernel four times as slowly.
BUFFER = memoryview(mmap.mmap(-1, 262_144))

# First bytes of frames (RFC 6455 section 5.2, RFC 7692 section 6).
TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
TEXT_BEGINS, TEXT_ENDS = 0x01, 0x80
TEXT_COMPRESSED = 0xC1


def response_to(request: bytes, extension: bytes = b"") -> bytes:
    """Return the response that accepts a handshake, and an extension if there is one."""
    fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n") if b": " in line)
    (key,) = (value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    token = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 RFC 6455 wants it
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + token,
    ]
    if extension:
        lines.append(b"Sec-WebSocket-Extensions: " + extension)
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def accept(listener: trio.socket.SocketType, extension: bytes = b"") -> socket.socket:
    """Accept a connection and its handshake; return the socket, ready for frames."""
    accepted, _ = await listener.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += await accepted.recv(4096)
    await accepted.send(response_to(request, extension))
    connected = socket.socket(fileno=accepted.detach())
    set_options(connected)
    return connected


def set_options(connected: socket.socket) -> None:
    """Set what Trio sets, too."""
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def frame(first_byte: int, payload: bytes) -> bytes:
    """Return a frame of a server."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first_byte, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", first_byte, 126, size) + payload
    return struct.pack("!BBQ", first_byte, 127, size) + payload


class Server(trio.abc.Instrument):
    """The server's side of one connection, in the client's own thread.

    As an instrument of Trio, the server runs whenever all tasks wait.

    Args:
        connected: The server's non-blocking socket.
        answer: What to send when something has arrived.

    Attributes:
        seconds: CPU time that the server has used.
    """

    def __init__(self, connected: socket.socket, answer: bytes = b"") -> None:
        self._socket = connected
        self._answer = answer
        self._unsent = memoryview(b"")
        self.seconds = 0.0

    def write(self, data: bytes) -> None:
        """Write what fits into the socket; `play` writes the rest."""
        start = time.thread_time()
        self._unsent = memoryview(data)
        self._flush()
        self.seconds += time.thread_time() - start

    def play(self) -> None:
        """Read, answer and write what is possible without waiting."""
        start = time.thread_time()
        with suppress(BlockingIOError):
            while self._socket.recv_into(BUFFER):
                if self._answer:
                    self._unsent = memoryview(self._answer)
                    break
        self._flush()
        self.seconds += time.thread_time() - start

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self.play()

    def close(self) -> None:
        """Send a Close and end TCP, so that the client need not wait."""
        self.write(frame(CLOSE, b"\x03\xe8"))  # 1000
        self._socket.close()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]


# The workloads


@dataclass(frozen=True)
class Workload:
    """A line of the table.

    Attributes:
        messages: How many messages a round has.
        round: Runs a round on an open WebSocket; returns the last message received.
        floor: Moves the same bytes on a bare socket.
        last: What `round` has to return.
        answer: What the server sends when something has arrived.
        compression: Whether permessage-deflate is in use.
    """

    messages: int
    round: Callable[[Any, Server], Awaitable[object]]
    floor: Callable[[socket.socket, Server], Awaitable[object]]
    last: object = None
    answer: bytes = b""
    compression: bool = False


async def receive_singly(ws: Any, count: int) -> object:
    message: object = None
    for _ in range(count):
        message = await ws.receive()
    return message


async def receive_in_batches(ws: Any, count: int) -> object:
    messages: list[object] = []
    while count > 0:
        messages = await ws.receive_batch()
        count -= len(messages)
    return messages[-1]


async def receive_and_reply(ws: Any, count: int) -> object:
    """Receive, and wait until the pongs are sent."""
    message = await receive_singly(ws, count)
    await wait_all_tasks_blocked()
    return message


def receiving(
    frames: Sequence[bytes],
    last: str | bytes,
    receive: Callable[[Any, int], Awaitable[object]] = receive_singly,
    *,
    compression: bool = False,
) -> Workload:
    """Return the workload of receiving messages that have arrived already."""
    data = b"".join(frames)

    async def one_round(ws: Any, server: Server) -> object:
        server.write(data)
        return await receive(ws, len(frames))

    async def floor(bare: socket.socket, server: Server) -> None:
        server.write(data)
        await receive_bytes(bare, len(data))

    return Workload(len(frames), one_round, floor, last, compression=compression)


async def receive_bytes(bare: socket.socket, count: int) -> None:
    while count > 0:
        try:
            count -= bare.recv_into(BUFFER)
        except BlockingIOError:
            await wait_readable(bare)


def sending(messages: Sequence[str | bytes], *, compression: bool = False) -> Workload:
    """Return the workload of sending; the server reads after each round."""
    data = [masked(len(message)) for message in messages]

    async def one_round(ws: Any, server: Server) -> None:
        for message in messages:
            await ws.send(message)
        server.play()

    async def floor(bare: socket.socket, server: Server) -> None:
        for each in data:
            await send_bytes(bare, each)
        server.play()

    return Workload(len(messages), one_round, floor, compression=compression)


def masked(size: int) -> bytes:
    """Return as many bytes as a client's frame of `size` payload bytes has."""
    return bytes(len(frame(BINARY, bytes(size))) + 4)


async def send_bytes(bare: socket.socket, data: bytes) -> None:
    unsent = memoryview(data)
    while unsent:
        try:
            unsent = unsent[bare.send(unsent) :]
        except BlockingIOError:
            await wait_writable(bare)


def round_trip(message: str) -> Workload:
    """Return the workload of sending a message and waiting for its answer."""
    answer = frame(TEXT, message.encode())
    request = masked(len(message))

    async def one_round(ws: Any, _: Server) -> object:
        await ws.send(message)
        return await ws.receive()

    async def floor(bare: socket.socket, _: Server) -> None:
        bare.send(request)
        await wait_readable(bare)
        bare.recv_into(BUFFER)

    return Workload(1, one_round, floor, message, answer)


def compressed(documents: Sequence[str]) -> list[bytes]:
    """Return frames that the server can repeat, because they refer to nothing before them."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    payloads = []
    for document in documents:
        data = compressor.compress(document.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payloads.append(data.removesuffix(b"\x00\x00\xff\xff"))  # RFC 7692 section 7.2.1
    return [frame(TEXT_COMPRESSED, payload) for payload in payloads]


def trade(number: int) -> object:
    """Return what a feed sends for each trade: some 100 bytes."""
    return {
        "e": "trade",
        "E": 1_700_000_000_000 + number * 13,
        "s": random.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
        "p": f"{random.gauss(42_000, 30):.2f}",
        "q": f"{random.random():.5f}",
        "m": random.random() < 0.5,
    }


def book(number: int) -> object:
    """Return changes of an order book: some 800 bytes."""
    sides = [random.choice(["buy", "sell"]) for _ in range(20)]
    return {
        "type": "l2update",
        "time": f"2026-01-01T00:00:00.{number:06d}Z",
        "changes": [
            [side, f"{random.gauss(42_000, 30):.2f}", f"{random.random():.8f}"] for side in sides
        ],
    }


def make_workloads() -> dict[str, Workload]:
    random.seed(1)
    documents = [json.dumps([trade(n), book(n), trade(n)]) for n in range(16)]  # 1 KiB each
    short, long, huge = "x" * 100, bytes(4096), bytes(2**20)
    half = short.encode()[:50]
    text = frame(TEXT, short.encode())
    fragmented = frame(TEXT_BEGINS, half) + frame(TEXT_ENDS, half)
    pinged = frame(PING, b"ping") + text
    return {
        "receive-100": receiving([text] * 400, short),
        "receive-batch": receiving([text] * 400, short, receive_in_batches),
        "receive-4k": receiving([frame(BINARY, long)] * 16, long),
        "receive-1m": receiving([frame(BINARY, huge)], huge),
        "receive-fragments": receiving([fragmented] * 5, short),
        "receive-pings": receiving([pinged] * 8, short, receive_and_reply),
        "receive-deflate": receiving(compressed(documents), documents[-1], compression=True),
        "send-100": sending([short.encode()] * 25),
        "send-4k": sending([long] * 16),
        "send-1m": sending([huge]),
        "send-deflate": sending(documents[:10], compression=True),
        "round-trip": round_trip(short),
    }


# Two builds in one process


class Build:
    """The package as loaded from one folder; another build of the same name may be loaded, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.resolve())
        self._modules: dict[str, ModuleType] = {}
        with self.active():
            self.package: Any = importlib.import_module(PACKAGE)
        if folder.resolve() / PACKAGE != Path(self.package.__path__[0]):
            sys.exit(f"there is no {PACKAGE}/ in {folder}")
        version, frames = self.package.__version__, self.package.IMPLEMENTATION
        self.description = f"{folder} ({version}, frames in {frames})"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let imports find this build, also imports that its functions make later."""
        sys.modules.update(self._modules)
        sys.path.insert(0, self._folder)
        try:
            yield
        finally:
            sys.path.remove(self._folder)
            names = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
            self._modules = {name: sys.modules.pop(name) for name in names}

    @asynccontextmanager
    async def open_client(self, url: str, compression: str | None) -> AsyncIterator[Any]:
        with self.active():
            block = self.package.open_websocket_client(url, compression=compression)
            ws = await block.__aenter__()
        try:
            yield ws
        finally:
            with self.active():
                await block.__aexit__(None, None, None)


# Turns


@dataclass(frozen=True)
class Side:
    """A build with its connection, or a bare socket: what takes turns.

    Attributes:
        round: Runs one round of the workload; returns the last message received.
        server: The other side of the connection.
        last: What `round` has to return.
        active: Returns a context manager for the time of a turn.
    """

    round: Callable[[], Awaitable[object]]
    server: Server
    last: object = None
    active: Callable[[], AbstractContextManager[None]] = nullcontext

    async def take_turn(self, rounds: int) -> float:
        """Return the seconds of CPU that some rounds take."""
        self.server.seconds = 0.0
        last: object = None
        trio.lowlevel.add_instrument(self.server)
        with self.active():
            start = time.thread_time()
            for _ in range(rounds):
                last = await self.round()
            seconds = time.thread_time() - start - self.server.seconds
        trio.lowlevel.remove_instrument(self.server)
        self.server.play()  # reads the pongs
        if last != self.last:
            raise RuntimeError(f"received {last!r:.80} instead of {self.last!r:.80}")
        return seconds


class Sides(NamedTuple):
    """The sides that take turns."""

    old: Side
    new: Side
    floor: Side


class Turns(NamedTuple):
    """Microseconds of CPU for each message, in three turns that follow one another."""

    old: float
    new: float
    floor: float


async def measure(old: Build, new: Build, workload: Workload, seconds: float) -> list[list[Turns]]:
    """Return the turns of each sitting."""
    sittings: list[list[Turns]] = []
    for number in range(SITTINGS):
        swap = number % 2 == 1
        with trio.fail_after(PATIENCE + seconds):
            async with open_sides(old, new, workload, swap=swap) as sides:
                turns = await measure_sitting(sides, workload, seconds / SITTINGS, swap=swap)
        sittings.append(turns)
    return sittings


async def measure_sitting(
    sides: Sides, workload: Workload, seconds: float, *, swap: bool
) -> list[Turns]:
    """Return the turns of one sitting; with `swap`, the new build begins."""
    for _ in range(WARM_UP):
        lasted = [await side.take_turn(1) for side in sides]
    rounds = max(1, round(TURN / lasted[0]))
    gc.collect()
    results: list[Turns] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        # The builds swap places in every pair, because the caches are warmer for the second.
        order = (1, 0, 2) if (len(results) % 2 == 1) != swap else (0, 1, 2)
        times = {each: await sides[each].take_turn(rounds) for each in order}
        scale = 1e6 / (rounds * workload.messages)
        results.append(Turns(*(scale * times[each] for each in range(3))))
    return results


@asynccontextmanager
async def open_sides(
    old: Build, new: Build, workload: Workload, *, swap: bool
) -> AsyncIterator[Sides]:
    """Open a connection for each side; with `swap`, the new build's first."""
    listener = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))
    url = "ws://{}:{}/".format(*listener.getsockname())
    compression = "deflate" if workload.compression else None
    extension = b"permessage-deflate" if workload.compression else b""
    accepting, accepted = trio.open_memory_channel[socket.socket](1)

    async def serve() -> None:
        await accepting.send(await accept(listener, extension))

    async def open_side(build: Build) -> Side:
        nursery.start_soon(serve)
        ws = await stack.enter_async_context(build.open_client(url, compression))
        server = Server(await accepted.receive(), workload.answer)
        stack.callback(server.close)
        return Side(partial(workload.round, ws, server), server, workload.last, build.active)

    async def open_bare() -> Side:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        set_options(client)
        connection, _ = await listener.accept()
        connected = socket.socket(fileno=connection.detach())
        set_options(connected)
        server = Server(connected, workload.answer)
        stack.callback(server.close)
        return Side(partial(workload.floor, client, server), server)

    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        stack.enter_context(listener)
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(tick)
        sides = {build: await open_side(build) for build in ((new, old) if swap else (old, new))}
        yield Sides(sides[old], sides[new], await open_bare())


async def tick() -> None:
    """Let the server of the turn look again: loopback may deliver late on a busy machine."""
    while True:  # noqa: ASYNC110 no event says when it is late
        await trio.sleep(0.05)


# The table


def show(name: str, sittings: list[list[Turns]]) -> None:
    turns = list(chain(*sittings))
    old, new, floor = (statistics.median(times) for times in zip(*turns, strict=True))
    ratios = [[turn.new / turn.old for turn in sitting] for sitting in sittings]
    flat = list(chain(*ratios))
    lower, _, upper = statistics.quantiles(flat, n=4)
    medians = sorted(
        statistics.median(chain(*random.choices(ratios, k=len(ratios)))) for _ in range(RESAMPLES)
    )
    tail = RESAMPLES // 40  # 2.5 % on each side
    cells = [
        *(f"{microseconds:.2f}" for microseconds in (old, new, floor)),
        f"{statistics.median(flat):.3f}",
        f"{medians[tail]:.3f}..{medians[-1 - tail]:.3f}",
        f"{lower:.3f}..{upper:.3f}",
        f"{len(flat)}",
    ]
    widths = COLUMNS.values()
    row = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    print(f"{name:18}", *row, sep="", flush=True)


def parse_arguments(workloads: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the speed of two builds.")
    parser.add_argument("old", type=Path, help="folder with the old trio_wsclient/")
    parser.add_argument("new", type=Path, help="folder with the new trio_wsclient/")
    parser.add_argument(
        "--workloads",
        type=lambda value: value.split(","),
        default=workloads,
        metavar="A,B",
        help=f"some of {', '.join(workloads)}",
    )
    parser.add_argument("--seconds", type=float, default=6, help="for each workload")
    parser.add_argument("--pure", action="store_true", help="without the accelerators")
    parser.add_argument("--adaptive-malloc", action="store_true", help="see the docstring")
    arguments = parser.parse_args()
    if unknown := set(arguments.workloads) - set(workloads):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return arguments


def fix_malloc() -> None:
    """Set the thresholds to what a process reaches that has freed large blocks."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def main() -> None:
    workloads = make_workloads()
    arguments = parse_arguments(list(workloads))
    if arguments.pure:
        os.environ["TRIO_WSCLIENT_PURE"] = "1"
    if not arguments.adaptive_malloc:
        fix_malloc()
    old, new = Build(arguments.old), Build(arguments.new)
    print(f"old: {old.description}\nnew: {new.description}\n\nµs of CPU for each message")
    print(f"{'':18}", *(f"{title:>{width}}" for title, width in COLUMNS.items()), sep="")
    for name in arguments.workloads:
        show(name, trio.run(measure, old, new, workloads[name], arguments.seconds))


if __name__ == "__main__":
    main()
