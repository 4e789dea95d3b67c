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
import ctypes
import gc
import importlib
import os
import platform
import random
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import trio
from rounds import Workload, make_workloads
from server_side import Server, accept, set_options

PACKAGE = "trio_wsclient"
TURN = 0.0005  # seconds of CPU for a turn of the old build, or one round if that takes longer
WARM_UP = 10  # turns at the beginning of a sitting that don't count
SITTINGS = 16
RESAMPLES = 400  # of the bootstrap
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
PATIENCE = 60  # seconds for a sitting, before the script gives up
COLUMNS = {"old": 10, "new": 10, "floor": 10, "new/old": 10, "95 %": 14, "half": 14, "pairs": 8}


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
