"""Compare imports and connects of two builds: `python benchmarks/compare_startup.py OLD NEW`.

OLD and NEW are folders with a `trio_wsclient/` package inside, as for `compare_builds.py`.

The rows:

* connect: open `ws`, shake hands, and close.
* tls: the same with `wss`, and a full TLS handshake for each connection.
* refused: fail to connect, because no server listens on the port.
* import: import the package after Trio, in a fresh process, with compiled bytecode.

For the first three, both builds, trio-websocket and a floor take short turns in one process. The
server runs in a process of its own, and does as little as possible. A turn has some connections,
one after the other. The floor makes the same system calls on `trio.SocketStream` or
`trio.SSLStream`. It sends a fixed request, and parses nothing. An import has no floor.

The columns have microseconds for each connection or import: medians of the turns. "CPU" is the time
of the client's thread, "time" is the time that passes. A ratio is the median of the ratios of
neighbouring turns.
"""

from __future__ import annotations

import argparse
import compileall
import os
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio
import trio_websocket
from compare_builds import CLOSE, Build, frame, response_to
from server import HOST, run_servers

WARM_UP = 3  # turns that don't count
CONNECTIONS = 10  # in a turn
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASKED_CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"  # 1000
READ_SIZE = 65_536
SIDES = ("old", "new", "trio-websocket", "floor")
COLUMNS = (*SIDES, "old/floor", "new/floor", "new/old", "trio-ws/new")


class Times(NamedTuple):
    """Microseconds for a connection."""

    cpu: float
    passed: float


@dataclass(frozen=True)
class Workload:
    """What to connect to.

    Attributes:
        url: Of the server, or where none listens.
        context: For TLS, if that is used.
        is_refused: Whether each connection fails.
    """

    url: str
    context: ssl.SSLContext | None = None
    is_refused: bool = False


OUR_CLOSE = frame(CLOSE, b"\x03\xe8")  # 1000
IMPORTS = 30  # processes for each side
IMPORT = """
import sys, time
import trio
module, *folders = sys.argv[1:]
sys.path[:0] = folders
start_cpu, start = time.process_time(), time.perf_counter()
__import__(module)
print(time.process_time() - start_cpu, time.perf_counter() - start)
"""


# The server's side


def serve(certificate: str | None) -> None:
    """Answer a handshake and a Close, one connection at a time, until the process is killed."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    listener = socket.create_server((HOST, 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            if context is not None:
                connected = context.wrap_socket(connected, server_side=True)
            connected.sendall(response_to(connected.recv(READ_SIZE)))
            connected.recv(READ_SIZE)
            connected.sendall(OUR_CLOSE)
        connected.close()


# The client's side


def on_build(build: Build, workload: Workload) -> Callable[[], Awaitable[None]]:
    package, url = build.package, workload.url
    options = {} if workload.context is None else {"ssl_context": workload.context}

    async def connect() -> None:
        async with package.open_websocket_client(url, **options):
            pass

    async def fail() -> None:
        with suppress(package.HandshakeError):
            await connect()

    return fail if workload.is_refused else connect


def on_trio_websocket(workload: Workload) -> Callable[[], Awaitable[None]]:
    async def connect() -> None:
        async with trio_websocket.open_websocket_url(workload.url, ssl_context=workload.context):
            pass

    async def fail() -> None:
        with suppress(trio_websocket.HandshakeError):
            await connect()

    return fail if workload.is_refused else connect


def on_floor(workload: Workload) -> Callable[[], Awaitable[None]]:
    port = int(workload.url.rpartition(":")[2])

    async def connect() -> None:
        stream: trio.abc.Stream = await trio.open_tcp_stream(HOST, port)
        if workload.context is not None:
            stream = trio.SSLStream(
                stream, workload.context, server_hostname=HOST, https_compatible=True
            )
        async with stream:
            await stream.send_all(REQUEST)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some(READ_SIZE)
            await stream.send_all(MASKED_CLOSE)
            while await stream.receive_some(READ_SIZE):
                pass

    async def fail() -> None:
        with suppress(OSError):
            await trio.open_tcp_stream(HOST, port)

    return fail if workload.is_refused else connect


async def measure(
    old: Build, new: Build, workload: Workload, seconds: float
) -> dict[str, list[Times]]:
    """Return the times of each side, turn by turn."""
    steps = {
        "old": on_build(old, workload),
        "new": on_build(new, workload),
        "trio-websocket": on_trio_websocket(workload),
        "floor": on_floor(workload),
    }
    builds = {"old": old, "new": new}
    times: dict[str, list[Times]] = {side: [] for side in SIDES}

    async def take_turn(side: str) -> Times:
        step = steps[side]
        start_cpu, start = time.thread_time(), time.perf_counter()
        for _ in range(CONNECTIONS):
            await step()
        cpu, passed = time.thread_time() - start_cpu, time.perf_counter() - start
        return Times(1e6 * cpu / CONNECTIONS, 1e6 * passed / CONNECTIONS)

    turn = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        # The sides swap places, because each one leaves garbage to the next one.
        first = turn % len(SIDES)
        for side in SIDES[first:] + SIDES[:first]:
            build = builds.get(side)
            if build is None:
                found = await take_turn(side)
            else:
                with build.active():
                    found = await take_turn(side)
            if turn >= WARM_UP:
                times[side].append(found)
        turn += 1
    return times


# Imports


def measure_imports(old: Path, new: Path) -> dict[str, list[Times]]:
    """Return the times of imports in fresh processes, which take turns."""
    modules = {"old": ("trio_wsclient", str(old)), "new": ("trio_wsclient", str(new))}
    sides = {**modules, "trio-websocket": ("trio_websocket",)}
    for _, folder in modules.values():
        compileall.compile_dir(Path(folder, "trio_wsclient"), quiet=1)
    times: dict[str, list[Times]] = {side: [] for side in sides}
    for _ in range(IMPORTS):
        for side, arguments in sides.items():
            command = [sys.executable, "-c", IMPORT, *arguments]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times[side].append(Times(*(1e6 * float(word) for word in told.split())))
    return times


# The table


def show(name: str, times: dict[str, list[Times]]) -> None:
    def ratio(over: str, under: str, field: int) -> str:
        if under not in times:
            return "—"
        pairs = zip(times[over], times[under], strict=True)
        return f"{statistics.median(a[field] / b[field] for a, b in pairs):.2f}"

    for field, title in enumerate(("CPU", "time")):
        found = {side: [each[field] for each in turns] for side, turns in times.items()}
        medians = [
            f"{statistics.median(found[side]):.0f}" if side in found else "—" for side in SIDES
        ]
        ratios = [
            ratio("old", "floor", field),
            ratio("new", "floor", field),
            ratio("new", "old", field),
            ratio("trio-websocket", "new", field),
        ]
        cells = (f"{cell:>15}" for cell in medians + ratios)
        print(f"{name:9}{title:6}", *cells, sep="", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare imports, connecting and closing.")
    parser.add_argument("old", type=Path, help="folder with the old trio_wsclient/")
    parser.add_argument("new", type=Path, help="folder with the new trio_wsclient/")
    parser.add_argument("--seconds", type=float, default=10, help="for each workload")
    parser.add_argument("--pure", action="store_true", help="without the accelerators")
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] in ([], ["--tls"]):  # as the server's process
        serve(sys.argv[2] if sys.argv[1:] else None)
    arguments = parse_arguments()
    if arguments.pure:
        os.environ["TRIO_WSCLIENT_PURE"] = "1"
    old, new = Build(arguments.old), Build(arguments.new)
    print(f"old: {old.description}\nnew: {new.description}\n\nµs for each connection or import")
    print(f"{'':15}", *(f"{title:>15}" for title in COLUMNS), sep="")
    with run_servers(Path(__file__)) as servers, socket.socket() as closed:
        closed.bind((HOST, 0))
        workloads = {
            "connect": Workload(servers.plain),
            "tls": Workload(servers.secure, ssl.create_default_context(cafile=servers.ca)),
            "refused": Workload("ws://{}:{}".format(*closed.getsockname()), is_refused=True),
        }
        for name, workload in workloads.items():
            show(name, trio.run(measure, old, new, workload, arguments.seconds))
    show("import", measure_imports(arguments.old.resolve(), arguments.new.resolve()))


if __name__ == "__main__":
    main()
