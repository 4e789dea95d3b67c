"""The workloads. Each is a function of a stage, where it reports its figures."""

from __future__ import annotations

import gc
import json
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from measuring import (
    DURATION,
    WARM_UP,
    Burst,
    Stopwatch,
    measure,
    one_by_one,
    percentiles,
    warm_up,
)
from stage import Stage

MANY = 500  # connections in ping-pong
IDLE = 1000  # connections
HEARTBEAT = 0.001  # seconds
QUESTION = "how many now"  # As long as the answer, for those that count bytes only.


def is_of_kind(kind: str, size: int, content: object) -> bool:
    if kind == "binary":
        return isinstance(content, bytes) and len(content) == size
    return content == "x" * size


async def receive(stage: Stage, kind: str, size: int) -> None:
    """Receive from a server that always has more."""
    async with stage.connect(f"/flood?kind={kind}&size={size}") as ws:
        await drain(stage, ws, one_by_one(ws.receive), partial(is_of_kind, kind, size))


async def receive_batches(stage: Stage, size: int) -> None:
    """Receive as many messages at once as there are; one by one, where a client can't do that."""
    async with stage.connect(f"/flood?kind=text&size={size}") as ws:

        async def batches(count: int) -> int:
            return sum([len(await ws.receive_batch()) for _ in range(count)])

        burst = batches if hasattr(ws, "receive_batch") else one_by_one(ws.receive)
        await drain(stage, ws, burst, partial(is_of_kind, "text", size))


async def receive_json(stage: Stage, size: int) -> None:
    """Receive documents, which say whether they are compressed on their way."""

    def is_right(content: str) -> bool:
        return json.loads(content)["compressed"] == stage.client.compresses

    async with stage.connect(f"/flood?kind=json&size={size}", compress=True) as ws:
        await drain(stage, ws, one_by_one(ws.receive), is_right)


async def drain(stage: Stage, ws: Any, burst: Burst, is_right: Callable[[Any], bool]) -> None:
    """Report how fast bursts of a flood are received; look at the messages before and after."""
    stage.check(await ws.receive(), is_right)
    figures = await measure(burst, await warm_up(burst))
    stage.check(await ws.receive(), is_right)
    stage.report(figures)


async def send(stage: Stage, size: int) -> None:
    """Send Binary messages, until the server has them all and tells the right number."""
    message = bytes(size)
    sent = 0
    async with stage.connect("/sink") as ws:

        async def burst(count: int) -> int:
            nonlocal sent
            for _ in range(count):
                await ws.send(message)
            sent += count
            return count

        async def confirm() -> None:
            await ws.send(QUESTION)
            stage.check(await ws.receive(), lambda answer: int(answer) == sent)

        burst_size = await warm_up(burst)
        await confirm()  # Now no buffer has anything.
        stage.report(await measure(burst, burst_size, confirm))


async def echo(stage: Stage, size: int) -> None:
    """Send a message and wait for it to come back."""
    message = "x" * size
    latencies: list[float] = []
    async with stage.connect("/echo") as ws:

        async def step() -> None:
            start = time.perf_counter()
            await ws.send(message)
            await ws.receive()
            latencies.append(time.perf_counter() - start)

        burst = one_by_one(step)
        burst_size = await warm_up(burst)
        latencies.clear()
        figures = await measure(burst, burst_size)
        await ws.send(message)
        stage.check(await ws.receive(), message.__eq__)
        stage.report(figures | percentiles(latencies))


async def connect(stage: Stage) -> None:
    """Open, and close again."""

    async def step() -> None:
        async with stage.connect("/echo"):
            pass

    burst = one_by_one(step)
    stage.report(await measure(burst, await warm_up(burst)))


async def ping_pong(stage: Stage) -> None:
    """Echo on many connections at once, a task each."""
    message = "x" * 100
    count = opened = 0

    async def player() -> None:
        nonlocal count, opened
        async with stage.connect("/echo") as ws:
            await ws.send(message)
            stage.check(await ws.receive(), message.__eq__)
            opened += 1
            while True:
                await ws.send(message)
                await ws.receive()
                count += 1

    async def referee() -> None:
        while opened < MANY:
            await stage.client.sleep(0.05)
        await stage.client.sleep(WARM_UP)
        first = count
        with Stopwatch() as watch:
            await stage.client.sleep(2 * DURATION)
            total = count - first
        stage.report(watch.rate(total))

    await stage.client.together([referee, *[player] * MANY])


async def idle(stage: Stage) -> None:
    """Hold many connections that do nothing; report KiB of this process for each."""
    message = "x" * 100
    opened = 0

    async def use(ws: Any) -> None:
        await ws.send(message)
        stage.check(await ws.receive(), message.__eq__)

    async def holder() -> None:
        nonlocal opened
        async with stage.connect("/echo") as ws:
            await use(ws)
            opened += 1
            await stage.client.sleep(3600)

    async def referee() -> None:
        while opened < IDLE:
            await stage.client.sleep(0.05)
        gc.collect()
        stage.report({"kib": (resident() - before) / IDLE})

    async with stage.connect("/echo") as ws:  # What is loaded and made once does not count.
        await use(ws)
    gc.collect()
    before = resident()
    await stage.client.together([referee, *[holder] * IDLE])


def resident() -> float:
    """Return how much memory this process has, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


async def heartbeat(stage: Stage) -> None:
    """Report by how much another task is late while a flood of small messages is received."""
    late: list[float] = []
    due = inf

    async def beat() -> None:
        nonlocal due
        while True:
            due = time.perf_counter() + HEARTBEAT
            await stage.client.sleep(HEARTBEAT)
            late.append(time.perf_counter() - due)

    async def drink() -> None:
        async with stage.connect("/flood?kind=text&size=100") as ws:
            burst = one_by_one(ws.receive)
            burst_size = await warm_up(burst)
            late.clear()
            figures = await measure(burst, burst_size)
            if (overdue := time.perf_counter() - due) > 0:
                late.append(overdue)  # Where no other task may run, it is the only one.
            stage.check(await ws.receive(), partial(is_of_kind, "text", 100))
            stage.report(figures | percentiles(late))

    await stage.client.together([beat, drink])


@dataclass(frozen=True)
class Workload:
    """A row of the table.

    Attributes:
        title: What it is called there.
        measure: The function.
        figure: Which of its figures is compared: of `per_second` more is better, else less.
        is_secure: Whether it runs over TLS.
        note: What a reader has to know.
        left_out: Clients that can't do it, and why.
    """

    title: str
    measure: Callable[[Stage], Awaitable[None]]
    figure: str = "per_second"
    is_secure: bool = False
    note: str = ""
    left_out: dict[str, str] = field(default_factory=dict)


STREAMS = {
    "receive-100": Workload("receive 100 B text", partial(receive, kind="text", size=100)),
    "receive-batch": Workload(
        "receive 100 B text, in batches",
        partial(receive_batches, size=100),
        note="only trio_wsclient has batches; the others receive one by one",
    ),
    "receive-4k": Workload("receive 4 KiB binary", partial(receive, kind="binary", size=4096)),
    "receive-1m": Workload("receive 1 MiB binary", partial(receive, kind="binary", size=2**20)),
    "send-100": Workload("send 100 B binary", partial(send, size=100)),
    "send-1m": Workload("send 1 MiB binary", partial(send, size=2**20)),
    "echo-100": Workload("echo 100 B text", partial(echo, size=100)),
    "connect": Workload("connect and close", connect),
}
OVER_TLS = {
    f"tls-{name}": replace(workload, title=f"TLS: {workload.title}", is_secure=True)
    for name, workload in STREAMS.items()
}
OTHERS = {
    "receive-json": Workload(
        "receive 1 KiB JSON, compressed",
        partial(receive_json, size=1024),
        note="trio-websocket has no compression, and gets the same documents as they are",
        left_out={"raw_trio": "it counts bytes, and can't inflate them"},
    ),
    "ping-pong": Workload("500 connections, echo 100 B", ping_pong),
    "idle": Workload("1,000 idle connections", idle, "kib", note="memory of the client's process"),
    "heartbeat": Workload(
        "1 ms heartbeat in a flood of 100 B",
        heartbeat,
        "p50_us",
        note="how late another task, which sleeps for 1 ms, wakes up while the client receives",
    ),
}
WORKLOADS = STREAMS | OVER_TLS | OTHERS
