"""Opens, echoes and closes again and again, and shows what is left of it.

``python tests/soak/soak_cycles.py [--tls] [--cycles 10000] [--warm-up 1000]`` ends with status 1 if
there are more file descriptors or tasks than after the warm-up, or if the process has grown by
1 MiB. The server runs in a process of its own, so that it does not count.
"""

from __future__ import annotations

import argparse
import gc
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import trio
import trustme
from scripted_server import Peer, echo_script
from sweep import open_descriptors

from trio_wsclient import open_websocket_client

MIB = 1_048_576  # bytes


@dataclass(frozen=True)
class Held:
    """What the process holds at a moment."""

    cycles: int
    descriptors: int
    tasks: int
    objects: int  # that the garbage collector knows
    resident: int  # bytes; 0 where the system does not tell

    @classmethod
    def after(cls, cycles: int) -> Held:
        gc.collect()
        return cls(
            cycles,
            len(open_descriptors()),
            trio.lowlevel.current_statistics().tasks_living,
            len(gc.get_objects()),
            _resident_bytes(),
        )


def _resident_bytes() -> int:
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        return 0
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def soak(
    url: str,
    ssl_context: ssl.SSLContext | None,
    *,
    cycles: int,
    every: int,
    report: Callable[[Held], object],
) -> None:
    """Do cycles, and report every so often what is held."""
    for number in range(1, cycles + 1):
        async with open_websocket_client(url, ssl_context=ssl_context) as ws:
            await ws.send("echo")
            assert await ws.receive() == "echo"
        if number % every == 0:
            report(Held.after(number))


@contextmanager
def echo_server(*, tls: bool) -> Iterator[tuple[str, ssl.SSLContext | None]]:
    """Serve in a process of its own; hand out the URL, and the context that trusts the server."""
    context: ssl.SSLContext | None = None
    command = [sys.executable, __file__, "--serve"]
    with tempfile.TemporaryDirectory() as folder:
        if tls:
            ca = trustme.CA()
            context = ssl.create_default_context()
            ca.configure_trust(context)
            certificate = Path(folder, "certificate.pem")
            ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
            command += ["--certificate", str(certificate)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/", context


async def serve(certificate: str | None) -> None:
    """Serve until standard input ends, as it does with the process that has started this one."""

    async def handle(stream: trio.abc.Stream) -> None:
        await echo_script(Peer(stream))

    listen = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        listen = partial(
            trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True
        )
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(listen)
        if isinstance(listener, trio.SSLListener):
            listener = listener.transport_listener
        print(listener.socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def show(held: Held, seconds: float) -> None:
    print(
        f"{held.cycles:7} cycles {seconds:7.1f} s  {held.descriptors} descriptors  "
        f"{held.tasks} tasks  {held.objects} objects  {held.resident / MIB:.2f} MiB resident",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Open, echo and close again and again.")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument(
        "--warm-up", type=int, default=1000, help="cycles, and from one line to the next"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(serve, arguments.certificate)
        return 0
    held: list[Held] = []
    started = time.monotonic()

    def report(now: Held) -> None:
        held.append(now)
        show(now, time.monotonic() - started)

    with echo_server(tls=arguments.tls) as (url, context):
        run = partial(soak, cycles=arguments.cycles, every=arguments.warm_up, report=report)
        trio.run(run, url, context)
    first, last = held[0], held[-1]
    grown = last.resident - first.resident
    leaks = last.descriptors > first.descriptors or last.tasks > first.tasks or grown > MIB
    print(
        f"since the warm-up: {grown / MIB:+.2f} MiB;",
        "something leaks" if leaks else "nothing leaks",
    )
    return int(leaks)


if __name__ == "__main__":
    sys.exit(main())
