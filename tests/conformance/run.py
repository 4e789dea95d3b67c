"""Run the client through the Autobahn conformance suite, and check its verdicts.

    python tests/conformance/run.py [--cases 1-7,12.1.*] [--reports DIR] [--cache DIR]

Each case is one connection, which offers compression, and on which everything that comes is echoed.
Prints a table; the exit status is 0 only if every case was run and both of its verdicts, on the
messages and on the closing, are OK or INFORMATIONAL.
"""

import argparse
import contextlib
import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
from suite import Server, Suite, SuiteError, find_suite, open_server

from trio_wsclient import (
    IMPLEMENTATION,
    ConnectionClosed,
    WebSocketError,
    __version__,
    open_websocket_client,
)

AGENT = "trio_wsclient"
VERDICTS = ("OK", "INFORMATIONAL")
CACHE = Path.home() / ".cache" / "trio-wsclient-conformance"
MILDER = "!!! no Python 2.7 found: kosoku replaces autobahntestsuite, and is milder"

# How many cases each section of autobahntestsuite 25.10.1 has.
TITLES = {
    1: "1 framing",
    2: "2 pings and pongs",
    3: "3 reserved bits",
    4: "4 opcodes",
    5: "5 fragmentation",
    6: "6 UTF-8",
    7: "7 closing",
    9: "9 limits, performance",
    10: "10 miscellaneous",
    12: "12 compression, messages of different kinds",
    13: "13 compression, different parameters",
}
SECTIONS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}

_BUFFER = 64 * 2**20  # bytes: the largest message of the suite has 16 MiB
_CASE_TIMEOUT = 120  # seconds: the suite itself gives up after 100
_AVERAGE_TIMEOUT = 5  # seconds a case: they take 0.2, those of compression 3
_REPORT_TIMEOUT = 60  # seconds: the server gives up a closing handshake after a few
_DETAILS = 20  # failed cases that are shown in full
_WIRE_LOG = 60  # lines of each

Cases = Mapping[str, Mapping[str, Any]]


def patterns(selection: str) -> list[str]:
    """Say `1-3,12.1.*` as the suite does: `1.*`, `2.*`, `3.*`, `12.1.*`."""
    found = []
    for item in selection.split(","):
        if sections := re.fullmatch(r"(\d+)(?:-(\d+))?", item.strip()):
            first, last = int(sections[1]), int(sections[2] or sections[1])
            found += [f"{number}.*" for number in range(first, last + 1) if number in SECTIONS]
        else:
            found.append(item.strip())
    return found


async def echo(url: str) -> None:
    """Send back all that comes, until the server closes."""
    async with open_websocket_client(
        url,
        compression="deflate",
        max_message_size=None,
        max_buffered_bytes=_BUFFER,
        open_timeout=_CASE_TIMEOUT,
    ) as ws:
        async for message in ws:
            await ws.send(message)


async def drive(url: str) -> tuple[int, list[str]]:
    """Run every case: how many there are, and what went wrong on our own side."""
    async with open_websocket_client(f"{url}/getCaseCount") as ws:
        count = int(await ws.receive())
    print(f"running {count} cases", flush=True)
    complaints = []
    deadline = trio.current_time() + _CASE_TIMEOUT + _AVERAGE_TIMEOUT * count
    for number in range(1, count + 1):
        if trio.current_time() > deadline:
            complaints.append(f"out of time before case number {number} of {count}")
            break
        with trio.move_on_after(_CASE_TIMEOUT) as patience:
            try:
                await echo(f"{url}/runCase?case={number}&agent={AGENT}")
            except ConnectionClosed:
                pass  # what many a case is about; whether it was right is the server's to say
            except Exception as error:  # The other cases still have to run.
                complaints.append(f"case number {number}: {error!r}")
        if patience.cancelled_caught:
            complaints.append(f"case number {number}: not over after {_CASE_TIMEOUT} s")
    return count, complaints


async def collect(server: Server, count: int) -> Cases:
    """Have the report written until all the cases are in it.

    The server enters a case once it has noticed the end of the connection, which may be seconds
    after the client did.
    """
    with trio.move_on_after(_REPORT_TIMEOUT):
        while server.process.poll() is None and len(load(server.reports)) < count:
            with contextlib.suppress(WebSocketError):
                await echo(f"{server.url}/updateReports?agent={AGENT}")
            if server.suite.is_autobahn:
                await trio.sleep(0.2)
            else:
                await server.process.wait()  # kosoku writes its report once, at its end
    return load(server.reports)


def load(reports: Path) -> Cases:
    """Read the report of each case that the index names."""
    try:
        index = json.loads((reports / "index.json").read_text())
    except FileNotFoundError:
        return {}
    files = {case: entry["reportfile"] for case, entry in index.get(AGENT, {}).items()}
    return {case: json.loads((reports / file).read_text()) for case, file in files.items()}


def verdict(case: Mapping[str, Any]) -> str:
    """Merge the two verdicts on a case: the worse one counts."""
    both: tuple[str, str] = (case["behavior"], case["behaviorClose"])
    for grade in both:
        if grade not in VERDICTS:
            return grade
    # kosoku calls the closing OK when it had to give up on a client that ignored a violation.
    if case["failedByMe"] and not case["expectedClose"].get("closedByMe", True):
        return "IGNORED VIOLATION"
    return max(both, key=VERDICTS.index)


def table(cases: Cases) -> str:
    """Return a row for each section, and the total."""
    grades: dict[int, Counter[str]] = {}
    for name, case in cases.items():
        grades.setdefault(section_of(name), Counter())[verdict(case)] += 1
    head = ("section", "cases", "OK", "INFORMATIONAL", "other")
    rows = [f"| {' | '.join(head)} |", f"| ---{' | ---:' * (len(head) - 1)} |"]
    for section, counts in [*sorted(grades.items()), ("total", sum(grades.values(), Counter()))]:
        good = [counts[grade] for grade in VERDICTS]
        name = TITLES.get(section, "total")
        row = [name, counts.total(), *good, counts.total() - sum(good)]
        rows.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(rows)


def described(suite: Suite) -> str:
    """Say what was run, by what, and when."""
    today = datetime.now(UTC).date()
    return (
        f"Run on {today} with trio_wsclient {__version__} (frames by {IMPLEMENTATION}), CPython "
        f"{platform.python_version()}, against {suite.name} 25.10.1:"
    )


def section_of(name: str) -> int:
    """Give the section of a case: 9 of `9.3.1`."""
    return int(name.partition(".")[0])


def print_case(name: str, case: Mapping[str, Any]) -> None:
    """Print what the server has to say about a case that was not passed."""
    print(f"{name}: {verdict(case)}")
    for key in ("description", "expectation", "behavior", "result", "expected", "received"):
        print(f"    {key}: {case[key]}")
    for key in ("behaviorClose", "resultClose", "expectedClose", "remoteCloseCode"):
        print(f"    {key}: {case[key]}")
    for entry in case["wirelog"][:_WIRE_LOG]:
        print(f"    wire: {entry}")
    print()


async def run(suite: Suite, selection: str, reports: Path, page: Path | None) -> bool:
    """Run the chosen cases; whether all of them were passed. A page for the docs gets the table."""
    wanted = patterns(selection)
    started = time.monotonic()
    async with open_server(suite, wanted, reports) as server:
        count, failures = await drive(server.url)
        cases = await collect(server, count)
    print(f"\n{table(cases)}\n")
    if page is not None:
        text = f"{described(suite)}\n\n{table(cases)}\n"
        page.write_text(text, encoding="utf-8")  # noqa: ASYNC240 nothing else runs any more

    found = Counter(map(section_of, cases))
    for section, size in SECTIONS.items():
        if f"{section}.*" in wanted and found[section] != size:
            failures.append(f"section {section}: {found[section]} of {size} cases in the report")
    if len(cases) != count or not count:
        failures.append(f"{len(cases)} of {count} cases in the report")
    bad = {name: case for name, case in cases.items() if verdict(case) not in VERDICTS}
    for name, case in list(bad.items())[:_DETAILS]:
        print_case(name, case)
    failures += [f"case {name}: {verdict(case)}" for name, case in bad.items()]
    for failure in failures:
        print(failure)
    outcome = "FAILED" if failures else "passed"
    print(f"{outcome}: {len(cases)} cases, {suite.name}, {time.monotonic() - started:.0f} s")
    print(f"reports: {reports}")
    return not failures


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--cases", default="1-13", help="sections, ranges, or the suite's own patterns")
    add("--cache", type=Path, default=CACHE, help="where the suite is installed, once")
    add("--reports", type=Path, help="default: a directory in the cache")
    add("--page", type=Path, help="a Markdown file to write the table into")
    options = parser.parse_args()
    reports = options.reports or options.cache / "reports"
    try:
        suite = find_suite(options.cache.resolve())
        if not suite.is_autobahn:
            print(MILDER, flush=True)
        passed = trio.run(run, suite, options.cases, reports.resolve(), options.page)
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 2
    if not suite.is_autobahn:
        print(MILDER)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
