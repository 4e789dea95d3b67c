"""Compare the clients: `python benchmarks/compare_clients.py --help`.

Each round runs all clients of a workload one after the other, in an order that is drawn for each
round. Each client runs in a fresh process. So a machine that is slower for a while is slower for
all clients, and a ratio within a round says more than figures of different rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import random
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from html import escape
from importlib import import_module
from importlib.metadata import version
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from clients import Client, load

Figures = dict[str, float]


# The clients that are compared


@dataclass(frozen=True)
class Contender:
    """A column of the table.

    Attributes:
        title: What it is called there, and in the results.
        client: Its module in `clients`, without `on_`.
        environment: Variables that its processes get.
        colours: In the plot, on a light and on a dark ground.
    """

    title: str
    client: str
    colours: tuple[str, str]
    environment: dict[str, str] = field(default_factory=dict)


ACCELERATED = Contender("trio_wsclient, accelerator", "trio_wsclient", ("#c2410c", "#fb7a3c"))
PURE = Contender(
    "trio_wsclient, pure Python",
    "trio_wsclient",
    ("#f59e0b", "#fbbf24"),
    {"TRIO_WSCLIENT_PURE": "1"},
)
BASELINE = Contender("trio-websocket", "trio_websocket", ("#57606a", "#c9d1d9"))
CONTENDERS = (
    ACCELERATED,
    PURE,
    BASELINE,
    Contender("websockets.trio", "websockets_trio", ("#1d6fd1", "#58a6ff")),
    Contender("websockets, asyncio", "websockets_asyncio", ("#7fb2ec", "#2f6fb5")),
    Contender("aiohttp, uvloop", "aiohttp_uvloop", ("#1a8f5a", "#3fb27f")),
    Contender("picows, uvloop", "picows_uvloop", ("#8250df", "#b08cf5")),
    Contender("raw Trio (the limit)", "raw_trio", ("#9aa3ad", "#6b7480")),
)
CLIENTS = tuple(dict.fromkeys(contender.client for contender in CONTENDERS))


def accelerator_is_here() -> bool:
    """Whether the installed `trio_wsclient` has its accelerator, and would use it."""
    return import_module("trio_wsclient").IMPLEMENTATION == "c"


def chosen_contenders(clients: list[str]) -> list[Contender]:
    """Return the contenders of these clients, and the baseline."""
    chosen = {*clients, BASELINE.client}
    absent = set() if accelerator_is_here() else {ACCELERATED.title}
    return [each for each in CONTENDERS if each.client in chosen and each.title not in absent]


# How a workload is timed


WARM_UP = 0.2  # seconds
DURATION = 0.8  # seconds
_BURST = 0.005  # seconds that messages between two looks at the clock take, at least

Burst = Callable[[int], Awaitable[int]]  # Takes that many steps; returns how many messages.


class Stopwatch:
    """Measures the time of a block, and the CPU time that this process has used in it."""

    def __enter__(self) -> Self:
        self._start, self._start_cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._seconds = time.perf_counter() - self._start
        self._cpu = time.process_time() - self._start_cpu

    def rate(self, count: int) -> Figures:
        """Return messages a second and microseconds of CPU a message."""
        return {"per_second": count / self._seconds, "cpu_us": 1e6 * self._cpu / count}


def one_by_one(step: Callable[[], Awaitable[object]]) -> Burst:
    """Return bursts of a step that is one message."""

    async def burst(size: int) -> int:
        for _ in range(size):
            await step()
        return size

    return burst


async def warm_up(burst: Burst) -> int:
    """Repeat bursts for a while; return how large one has to be that clocks cost nothing."""
    size = 1
    end = time.perf_counter() + WARM_UP
    while (now := time.perf_counter()) < end:
        await burst(size)
        if time.perf_counter() - now < _BURST:
            size *= 2
    return size


async def measure(
    burst: Burst, size: int, finish: Callable[[], Awaitable[None]] | None = None
) -> Figures:
    """Repeat bursts until the time is over; what `finish` takes counts as well."""
    count = 0
    with Stopwatch() as watch:
        end = time.perf_counter() + DURATION
        while time.perf_counter() < end:
            count += await burst(size)
        if finish is not None:
            await finish()
    return watch.rate(count)


def percentiles(seconds: list[float]) -> Figures:
    """Return the median, the 99th percentile and the largest, in microseconds."""
    ordered = sorted(seconds)
    return {
        "p50_us": 1e6 * ordered[len(ordered) // 2],
        "p99_us": 1e6 * ordered[len(ordered) * 99 // 100],
        "max_us": 1e6 * ordered[-1],
    }


# The workloads


@dataclass(frozen=True)
class Stage:
    """What a workload is given.

    Attributes:
        client: The library.
        url: The URL of the server, without a path.
        ssl_context: For `wss`, else `None`.
        report: To be called with the figures; does not return.
    """

    client: Client
    url: str
    ssl_context: ssl.SSLContext | None
    report: Callable[[Figures], NoReturn]

    def connect(self, path: str, *, compress: bool = False) -> Any:
        return self.client.connect(self.url + path, self.ssl_context, compress=compress)

    def check(self, received: object, is_right: Callable[[Any], bool]) -> None:
        """Raise an error if that is not what had to come; the limit has nothing to look at."""
        if self.client.is_limit:
            return
        content = self.client.content(received)
        if not is_right(content):
            raise ValueError(f"received {content!r:.60}")


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


# One client and one workload, in a process of its own


def raise_file_limit() -> None:
    """Allow this process as many files, and so connections, as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure_here(name: str, workload: str, url: str, ca: str | None = None) -> None:
    """Be the process of a client: print its figures as JSON, or `{"problem": …}`."""
    raise_file_limit()
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    try:
        stage = Stage(load(name), url, context, report)
        stage.client.run(partial(WORKLOADS[workload].measure, stage))
    except BaseException as error:  # noqa: BLE001 it is a result, too
        leave({"problem": describe(error)})


def describe(error: BaseException) -> str:
    """Return what was raised, without the groups around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message:.200}"


def report(figures: Figures) -> NoReturn:
    leave(figures)


def leave(result: Figures | dict[str, str]) -> NoReturn:
    """Print the result and end the process: not every client can leave a flood."""
    print(json.dumps(result), flush=True)
    os._exit(0)


# What was measured


@dataclass(frozen=True)
class Record:
    """One process: a client and a workload in a round.

    Attributes:
        round: From 0.
        workload: Its key in `WORKLOADS`.
        contender: Its title.
        figures: What it has reported; empty, if there was a problem.
        problem: Why there are no figures.
    """

    round: int
    workload: str
    contender: str
    figures: Figures
    problem: str = ""


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes:
        machine: Facts by their names.
        records: In the order in which they were made.
    """

    machine: dict[str, str]
    records: list[Record]

    @property
    def rounds(self) -> int:
        return 1 + max(record.round for record in self.records)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text())
        return cls(data["machine"], [Record(**record) for record in data["records"]])


LIBRARIES = (
    "trio",
    "wsproto",
    "trio-websocket",
    "websockets",
    "aiohttp",
    "picows",
    "uvloop",
)
CPU_FACTS = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, str]:
    """Return facts by their names, in the order in which to show them."""
    peers = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{python}, {ssl.OPENSSL_VERSION}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "libraries": f"trio_wsclient {version('trio-wsclient')}, {peers}",
    }


def cpu_model() -> str:
    for line in CPU_FACTS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


# The measurement, round by round


PATIENCE = 30  # seconds for one process, of which most take two


def measure_rounds(
    rounds: int, workloads: list[str], contenders: list[Contender], path: Path
) -> Results:
    """Measure everything, and save it after each round."""
    from server import run_servers  # noqa: PLC0415 it imports what no client may have to

    results = Results(describe_machine(), [])
    with run_servers() as servers:
        for number in range(rounds):
            for workload in workloads:
                for contender in random.sample(contenders, len(contenders)):
                    figures, problem = run_one(contender, workload, servers)
                    record = Record(number, workload, contender.title, figures, problem)
                    results.records.append(record)
                    show_progress(record, rounds)
            results.save(path)
    return results


def run_one(contender: Contender, workload: str, servers: Any) -> tuple[Figures, str]:
    """Measure a client in a process of its own; return figures, or what was the problem."""
    if contender.client in WORKLOADS[workload].left_out:
        return {}, WORKLOADS[workload].left_out[contender.client]
    where = [servers.plain]
    if WORKLOADS[workload].is_secure:
        where = [servers.secure, servers.ca]
    command = [sys.executable, __file__, "--one", contender.client, workload, *where]
    environment = os.environ | contender.environment
    try:
        process = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return {}, f"it took more than {PATIENCE} s"
    if not process.stdout:
        return {}, f"it ended with code {process.returncode}, and without a result"
    answer = json.loads(process.stdout.splitlines()[-1])
    if "problem" in answer:
        return {}, answer["problem"]
    return answer, ""


def show_progress(record: Record, rounds: int) -> None:
    figure = WORKLOADS[record.workload].figure
    outcome = record.problem or f"{figure} {record.figures[figure]:,.1f}"
    where = f"{record.round + 1}/{rounds} {record.workload}"
    print(f"{where:24} {record.contender:28} {outcome}", file=sys.stderr, flush=True)


# Medians, and ratios within a round


@dataclass(frozen=True)
class Cell:
    """A client in a workload.

    Attributes:
        figures: Medians of what was reported; empty, if nothing was.
        ratios: In each round, how many times better than the baseline, sorted.
        problems: Why figures are missing, and in how many rounds.
    """

    figures: Figures
    ratios: list[float]
    problems: dict[str, int]

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None


@dataclass(frozen=True)
class Row:
    """A workload, with each client that was measured at all."""

    workload: Workload
    cells: dict[str, Cell]


def measured_contenders(results: Results) -> list[Contender]:
    titles = {record.contender for record in results.records}
    return [contender for contender in CONTENDERS if contender.title in titles]


def summarise(results: Results) -> list[Row]:
    """Return a row for each workload that was measured."""
    keys = {record.workload for record in results.records}
    contenders = measured_contenders(results)
    return [
        Row(workload, {each.title: make_cell(results, key, each) for each in contenders})
        for key, workload in WORKLOADS.items()
        if key in keys
    ]


def make_cell(results: Results, key: str, contender: Contender) -> Cell:
    by_round: dict[str, dict[int, Figures]] = {contender.title: {}, BASELINE.title: {}}
    problems: dict[str, int] = {}
    for record in results.records:
        if record.workload != key:
            continue
        if record.figures and record.contender in by_round:
            by_round[record.contender][record.round] = record.figures
        elif record.contender == contender.title:
            problems[record.problem] = problems.get(record.problem, 0) + 1
    own, baseline = by_round[contender.title], by_round[BASELINE.title]
    ratios = [
        times_better(own[number], baseline[number], WORKLOADS[key].figure)
        for number in own.keys() & baseline.keys()
    ]
    return Cell(medians(list(own.values())), sorted(ratios), problems)


def times_better(own: Figures, baseline: Figures, figure: str) -> float:
    if figure == "per_second":
        return own[figure] / baseline[figure]
    return baseline[figure] / own[figure]


def medians(reports: list[Figures]) -> Figures:
    """Return the median of each figure, and which part of a core the client had at work."""
    if not reports:
        return {}
    result = {name: statistics.median(each[name] for each in reports) for name in reports[0]}
    if "per_second" in result:
        busy = (each["per_second"] * each["cpu_us"] / 1e6 for each in reports)
        result["busy"] = statistics.median(busy)
    return result


# The tables


INTRODUCTION = f"""\
How many times better than {BASELINE.title}: more messages or connections a second; less memory; \
less lateness. That is the median of the ratios within a round."""
EXPLANATION = """\
*Times* is that ratio again, and *spread* its smallest and largest over the rounds. The other
columns are medians over the rounds. *CPU* is what the client's process takes for a message or a
connection, in user and kernel mode, and *busy* is which part of a core that keeps at work: where it
is well below 100 %, something else than the client sets the pace: the server, the kernel, or the
way there and back. Raw Trio is no client: it reads from and writes to Trio's streams and parses
nothing. It is the limit for receiving from such a stream, and for sending each message by a write
of its own; those who gather messages before they write can pass it."""


def write_tables(results: Results, rows: list[Row]) -> str:
    """Return the whole document."""
    footnotes: list[str] = []
    parts = [
        "# Benchmarks",
        INTRODUCTION,
        ratios_table(results, rows, footnotes),
        "\n".join(f"{number}. {text}" for number, text in enumerate(footnotes, 1)),
        "## In detail",
        EXPLANATION,
        details_table(rows),
        "## Measured on",
        machine_list(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def ratios_table(results: Results, rows: list[Row], footnotes: list[str]) -> str:
    titles = [contender.title for contender in measured_contenders(results)]
    lines = [line("workload", *titles), line(*["---"] + ["---:"] * len(titles))]
    for row in rows:
        notes = [row.workload.note] if row.workload.note else []
        shown = [row.workload.title + references(notes, footnotes)]
        for title in titles:
            cell = row.cells[title]
            text = format_ratio(cell.ratio)
            if title == BASELINE.title and cell.figures:
                text += f" ({format_figure(row.workload, cell)})"
            shown.append(text + references(problems_of(cell, results.rounds), footnotes))
        lines.append(line(*shown))
    return "\n".join(lines)


def problems_of(cell: Cell, rounds: int) -> list[str]:
    """Return a sentence for each problem: in how many rounds, and which."""
    return [
        text if count == rounds else f"in {count} of {rounds} rounds: {text}"
        for text, count in cell.problems.items()
    ]


def references(notes: list[str], footnotes: list[str]) -> str:
    """Return marks of these notes, which are added to the footnotes unless they are there."""
    footnotes.extend(note for note in notes if note not in footnotes)
    return "".join(f" [{footnotes.index(note) + 1}]" for note in notes)


def details_table(rows: list[Row]) -> str:
    head = ["workload", "client", "times", "spread", "median", "CPU", "busy", "p50", "p99"]
    lines = [line(*head), line(*["---"] * 2 + ["---:"] * 7)]
    for row in rows:
        title = row.workload.title
        for name, cell in row.cells.items():
            lines.append(line(title, name, *details(row.workload, cell)))
            title = ""
    return "\n".join(lines)


def details(workload: Workload, cell: Cell) -> list[str]:
    spread = "—"
    if cell.ratios:
        spread = f"{format_number(cell.ratios[0])} to {format_number(cell.ratios[-1])}"
    busy = cell.figures.get("busy")
    return [
        format_ratio(cell.ratio),
        spread,
        format_figure(workload, cell),
        format_unit(cell.figures.get("cpu_us"), "µs"),
        "—" if busy is None else f"{busy:.0%}".replace("%", " %"),
        format_unit(cell.figures.get("p50_us"), "µs"),
        format_unit(cell.figures.get("p99_us"), "µs"),
    ]


def machine_list(results: Results) -> str:
    facts = results.machine | {"rounds": str(results.rounds)}
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def format_number(number: float) -> str:
    """Return about three digits, or all before the point."""
    if number >= 100:
        return f"{number:,.0f}"
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.2g}"


def format_unit(number: float | None, unit: str) -> str:
    return "—" if number is None else f"{format_number(number)} {unit}"


def format_ratio(ratio: float | None) -> str:
    return "—" if ratio is None else f"{format_number(ratio)} ×"


def format_figure(workload: Workload, cell: Cell) -> str:
    """Return the figure that is compared, with its unit."""
    unit = {"per_second": "/s", "kib": "KiB", "p50_us": "µs"}[workload.figure]
    return format_unit(cell.figures.get(workload.figure), unit)


# The picture


WIDTH = 860
LEFT = 235  # where the scale begins
RIGHT = WIDTH - 70  # where it ends
TOP = 62  # below the title
BAR = 10  # the height of one, with the gap to the next
GAP = 16  # between two groups
LINE = 18  # of the legend, and of the caption
LEGEND_WIDTH = 205  # of an entry
CAPTION_SIZE = 132  # characters in a line
LOWEST = 0.1  # ratio that the scale reaches down to; a bar of less has an arrow

LIGHT = {"ground": "#ffffff", "text": "#1f2328", "faint": "#59636e", "grid": "#e3e6ea"}
DARK = {"ground": "#0d1117", "text": "#e6edf3", "faint": "#9198a1", "grid": "#2a3139"}


@dataclass(frozen=True)
class Scale:
    """From ratios to places on the picture.

    Attributes:
        low: The ratio at the left end.
        high: That at the right one.
    """

    low: float
    high: float

    def place(self, ratio: float) -> float:
        ratio = max(ratio, self.low)
        part = math.log(ratio / self.low) / math.log(self.high / self.low)
        return LEFT + part * (RIGHT - LEFT)

    def ticks(self) -> list[float]:
        """Return round numbers on it: 1, 2, 5, 10 and so on."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        numbers = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [number for number in numbers if self.low <= number <= self.high]


def draw(results: Results, rows: list[Row]) -> str:
    """Return the picture, as an SVG document."""
    measured = measured_contenders(results)
    shown = [contender for contender in measured if contender is not BASELINE]
    scale = fit_scale(rows)
    legend, top = draw_legend(shown)
    bars, bottom = draw_groups(rows, shown, scale, top + LINE)
    caption, end = draw_caption(results, bottom + 2 * LINE)
    parts = [
        text(16, 28, f"Times better than {BASELINE.title}", "title"),
        text(16, 47, subtitle(results), "faint"),
        *legend,
        *draw_grid(scale, top, bottom),
        *bars,
        *caption,
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end:.0f}" '
        f'width="{WIDTH}" height="{end:.0f}" role="img" aria-labelledby="title">\n'
        f'<title id="title">Benchmarks: times better than {BASELINE.title}</title>'
    )
    ground = '<rect class="ground" width="100%" height="100%" rx="6"/>'
    return "\n".join([head, style(measured), ground, *parts, "</svg>"]) + "\n"


def subtitle(results: Results) -> str:
    count = results.rounds
    rounds = "one round"
    if count > 1:
        rounds = f"median of {count} rounds; thin line: smallest to largest"
    return f"more messages a second, less memory, less lateness; logarithmic; {rounds}"


def fit_scale(rows: list[Row]) -> Scale:
    """Return a scale with room for 1 and all ratios, except very low ones."""
    ratios = [ratio for row in rows for cell in row.cells.values() for ratio in cell.ratios]
    return Scale(max(min([0.7, *ratios]) * 0.85, LOWEST), max([1.5, *ratios]) * 1.15)


def draw_legend(shown: list[Contender]) -> tuple[list[str], float]:
    """Return the meaning of each colour, and where the legend ends."""
    parts = []
    columns = (WIDTH - 32) // LEGEND_WIDTH
    for number, contender in enumerate(shown):
        x = 16 + number % columns * LEGEND_WIDTH
        y = TOP + number // columns * LINE
        parts.append(f'<rect class="{colour(contender)}" x="{x}" y="{y}" width="11" height="11"/>')
        parts.append(text(x + 17, y + 10, contender.title))
    return parts, TOP + math.ceil(len(shown) / columns) * LINE + LINE


def draw_grid(scale: Scale, top: float, bottom: float) -> list[str]:
    parts = []
    for tick in scale.ticks():
        x = scale.place(tick)
        kind = "one" if tick == 1 else "grid"
        parts.append(f'<path class="{kind}" d="M{x:.1f} {top + 6:.1f}V{bottom:.1f}"/>')
        label = f"{tick:g}×"
        parts += [text(x, y, label, "faint middle") for y in (top, bottom + 14)]
    return parts


def draw_groups(
    rows: list[Row], shown: list[Contender], scale: Scale, y: float
) -> tuple[list[str], float]:
    """Return the bars of all workloads, and where they end."""
    parts = []
    for row in rows:
        height = BAR * len(shown)
        centre = y + height / 2
        parts.append(text(LEFT - 16, centre, row.workload.title, "end"))
        baseline = row.cells.get(BASELINE.title)
        if baseline is not None and baseline.figures:
            figure = f"1× is {format_figure(row.workload, baseline)}"
            parts.append(text(LEFT - 16, centre + 13, figure, "faint end"))
        for number, contender in enumerate(shown):
            cell = row.cells[contender.title]
            parts.extend(draw_bar(contender, cell, scale, y + number * BAR))
        y += height + GAP
    return parts, y


def draw_bar(contender: Contender, cell: Cell, scale: Scale, y: float) -> list[str]:
    """Return a bar with its number and spread, or a dash."""
    one = scale.place(1)
    if cell.ratio is None:
        return [text(one + 4, y + 8, "—", "number")]
    end = scale.place(cell.ratio)
    left, width = min(one, end), max(abs(end - one), 1)
    lowest, highest = scale.place(cell.ratios[0]), scale.place(cell.ratios[-1])
    middle = y + BAR / 2 - 0.5
    note = "*" if cell.problems else ""
    number = text(max(one, highest) + 4, y + 8, format_number(cell.ratio) + note, "number")
    bar = (
        f'<rect class="{colour(contender)}" x="{left:.1f}" y="{y:.1f}" '
        f'width="{width:.1f}" height="{BAR - 1}"/>'
    )
    spread = f'<path class="spread" d="M{lowest:.1f} {middle:.1f}H{highest:.1f}"/>'
    parts = [bar, spread, number]
    if cell.ratio < scale.low:
        parts.append(text(LEFT - 9, y + 8, "◂", "number"))
    return parts


def draw_caption(results: Results, y: float) -> tuple[list[str], float]:
    """Return the machine, the versions and the date, and where they end."""
    facts = [f"{name}: {value}" for name, value in results.machine.items()]
    facts.append("— or *: could not be measured, or not in all rounds; see the table")
    lines: list[str] = []
    for word in " · ".join(facts).split(" "):
        if not lines or len(lines[-1]) + len(word) >= CAPTION_SIZE:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    parts = [
        text(16, y + number * LINE, content, "faint") for number, content in enumerate(lines, 1)
    ]
    return parts, y + (len(lines) + 1) * LINE


def text(x: float, y: float, content: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attribute}>{escape(content)}</text>'


def colour(contender: Contender) -> str:
    """Return the name of its class in the style sheet."""
    return "".join(letter for letter in contender.title if letter.isalpha())


def style(contenders: list[Contender]) -> str:
    """Return the style sheet; the page's reader says whether it is dark."""
    light = colours(LIGHT, {colour(each): each.colours[0] for each in contenders})
    dark = colours(DARK, {colour(each): each.colours[1] for each in contenders})
    return f"""<style>
text {{ font: 12px system-ui, "DejaVu Sans", sans-serif }}
.title {{ font-size: 18px; font-weight: 600 }}
.faint, .number {{ font-size: 11px }}
.number {{ font-size: 9px }}
.middle {{ text-anchor: middle }}
.end {{ text-anchor: end }}
path {{ stroke-width: 1 }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
</style>"""


def colours(ground: dict[str, str], bars: dict[str, str]) -> str:
    rules = [
        f".ground {{ fill: {ground['ground']} }}",
        f"text {{ fill: {ground['text']} }}",
        f".faint {{ fill: {ground['faint']} }}",
        f".grid {{ stroke: {ground['grid']} }}",
        f".one, .spread {{ stroke: {ground['text']} }}",
        *(f".{name} {{ fill: {value} }}" for name, value in bars.items()),
    ]
    return "\n".join(rules)


# The command line


def names_of(known: tuple[str, ...]) -> object:
    """Return what turns the value of an option into a list of known names."""

    def names(value: str) -> list[str]:
        chosen = value.split(",")
        if unknown := sorted(set(chosen) - set(known)):
            choice = ", ".join(known)
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)} in {choice}")
        return chosen

    return names


def parse_arguments() -> argparse.Namespace:
    workloads = tuple(WORKLOADS)
    parser = argparse.ArgumentParser(description="Compare trio_wsclient with other clients.")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure everything")
    parser.add_argument(
        "--workloads",
        type=names_of(workloads),
        default=list(workloads),
        metavar="A,B",
        help=f"some of {', '.join(workloads)}",
    )
    parser.add_argument(
        "--clients",
        type=names_of(CLIENTS),
        default=list(CLIENTS),
        metavar="A,B",
        help=f"some of {', '.join(CLIENTS)}; trio_websocket is always measured, to compare with",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_name("results"),
        metavar="FOLDER",
        help="where to write the tables and the plot",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="where to write all figures: results.json in that folder, by default",
    )
    parser.add_argument(
        "--from-json",
        type=Path,
        metavar="FILE",
        help="measure nothing: make the tables and the plot of these figures",
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("there has to be a round")
    return arguments


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_here(*sys.argv[2:])
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # So that servers end first.
    if arguments.from_json is not None:
        results = Results.load(arguments.from_json)
    else:
        results = measure_rounds(
            arguments.rounds,
            arguments.workloads,
            chosen_contenders(arguments.clients),
            arguments.json or arguments.out / "results.json",
        )
    rows = summarise(results)
    tables = write_tables(results, rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.md").write_text(tables)
    (arguments.out / "results.svg").write_text(draw(results, rows))
    print(tables)
    if not any(record.figures for record in results.records):
        sys.exit("nothing could be measured")


if __name__ == "__main__":
    main()
