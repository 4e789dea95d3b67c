"""Count the functions that one message passes through: `python benchmarks/trace_calls.py`.

The table is a measure of structure, not of speed. Each row is one operation on a warm connection
over loopback. It counts from the first call of the user until every task waits again, in all
tasks of the connection. In the two rows that receive, `receive` waits before the server sends.

* calls: how often a Python function of the package starts. Functions in C don't count, so the
  accelerator changes the figures. Methods that `dataclass` generates don't count either.
* resumes: how often a coroutine or generator of the package continues.
* functions, classes, files: how many different ones have these calls. A nested function counts
  for the class that surrounds it.
* wsproto: the calls of wsproto's functions.

Some calls depend on the clock, because the client lets other tasks run after a time. So the script
repeats each operation and prints the most frequent result. It needs Python 3.12.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple, Self

import trio
import wsproto
from compare_builds import PING, TEXT, TEXT_BEGINS, TEXT_ENDS, accept, frame
from trio.testing import wait_all_tasks_blocked

import trio_wsclient
from trio_wsclient import WebSocketClient, open_websocket_client

REPEATS = 51
PAUSE = 0.002  # seconds: longer than the client lets a task run before the others

MESSAGE = frame(TEXT, b"hello")
FRAGMENTS = frame(TEXT_BEGINS, b"he") + frame(PING, b"ping") + frame(TEXT_ENDS, b"llo")

MONITORING = sys.monitoring
TOOL = MONITORING.PROFILER_ID
START, RESUME = MONITORING.events.PY_START, MONITORING.events.PY_RESUME

Operation = Callable[[WebSocketClient, trio.SocketStream], Awaitable[None]]


class Figures(NamedTuple):
    """A row of the table."""

    files: int
    classes: int
    functions: int
    calls: int
    resumes: int
    wsproto: int


class Trace:
    """Collects the functions that start or continue inside its block."""

    def __enter__(self) -> Self:
        self.started: list[CodeType] = []
        self.resumed: list[CodeType] = []
        MONITORING.use_tool_id(TOOL, "trace_calls")
        MONITORING.register_callback(TOOL, START, lambda code, _: self.started.append(code))
        MONITORING.register_callback(TOOL, RESUME, lambda code, _: self.resumed.append(code))
        MONITORING.set_events(TOOL, START | RESUME)
        return self

    def __exit__(self, *_: object) -> None:
        MONITORING.set_events(TOOL, MONITORING.events.NO_EVENTS)
        MONITORING.free_tool_id(TOOL)

    def figures(self) -> Figures:
        calls = [code for code in self.started if is_in(trio_wsclient, code)]
        classes = {(code.co_filename, class_of(code)) for code in calls if class_of(code)}
        return Figures(
            files=len({code.co_filename for code in calls}),
            classes=len(classes),
            functions=len(set(calls)),
            calls=len(calls),
            resumes=sum(is_in(trio_wsclient, code) for code in self.resumed),
            wsproto=sum(is_in(wsproto, code) for code in self.started),
        )


@cache
def is_in(package: ModuleType, code: CodeType) -> bool:
    return any(Path(code.co_filename).is_relative_to(folder) for folder in package.__path__)


def class_of(code: CodeType) -> str:
    """Return the name of the class around a function, or nothing."""
    outermost = code.co_qualname.split(".<locals>")[0]
    return outermost.rpartition(".")[0]


# The operations


async def receive(frames: bytes, ws: WebSocketClient, server: trio.SocketStream) -> None:
    async def answer() -> None:
        await wait_all_tasks_blocked()
        await server.send_all(frames)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await ws.receive() == "hello"


async def send(ws: WebSocketClient, server: trio.SocketStream) -> None:
    del server
    await ws.send("hello")


OPERATIONS: dict[str, Operation] = {
    "receive one text message": partial(receive, MESSAGE),
    "send one text message": send,
    "receive two fragments, a ping between": partial(receive, FRAGMENTS),
}


async def trace(operation: Operation, ws: WebSocketClient, server: trio.SocketStream) -> Figures:
    """Return the most frequent figures of an operation."""
    results: Counter[Figures] = Counter()
    for _ in range(REPEATS):
        await trio.sleep(PAUSE)
        with Trace() as traced:
            await operation(ws, server)
            await wait_all_tasks_blocked()
        results[traced.figures()] += 1
    ((figures, _),) = results.most_common(1)
    return figures


async def main() -> None:
    listener = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))
    url = "ws://{}:{}/".format(*listener.getsockname())
    accepting, accepted = trio.open_memory_channel[trio.SocketStream](1)

    async def serve() -> None:
        connected = await accept(listener)
        await accepting.send(trio.SocketStream(trio.socket.from_stdlib_socket(connected)))

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_websocket_client(url) as ws, await accepted.receive() as server:
                for operation in OPERATIONS.values():  # so that the connection is warm
                    await operation(ws, server)
                rows = {name: await trace(each, ws, server) for name, each in OPERATIONS.items()}
    print(f"trio_wsclient {trio_wsclient.__version__}, frames in {trio_wsclient.IMPLEMENTATION}\n")
    print(f"{'':38}", *(f"{column:>9}" for column in Figures._fields))
    for name, figures in rows.items():
        print(f"{name:38}", *(f"{figure:9}" for figure in figures))


if __name__ == "__main__":
    trio.run(main)
