"""Compare the clients: `python benchmarks/run.py --help`.

Each round runs all clients of a workload one after the other, in an order that is drawn for each
round. Each client runs in a fresh process. So a machine that is slower for a while is slower for
all clients, and a ratio within a round says more than figures of different rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from contenders import CLIENTS, Contender, chosen_contenders
from machine import describe_machine
from plot import draw
from results import Figures, Record, Results
from servers import Servers, run_servers
from summary import summarise
from table import write_tables
from workloads import WORKLOADS

HERE = Path(__file__).parent
PATIENCE = 30  # seconds for one process, of which most take two


def measure_rounds(
    rounds: int, workloads: list[str], contenders: list[Contender], path: Path
) -> Results:
    """Measure everything, and save it after each round."""
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


def run_one(contender: Contender, workload: str, servers: Servers) -> tuple[Figures, str]:
    """Measure a client in a process of its own; return figures, or what was the problem."""
    if contender.client in WORKLOADS[workload].left_out:
        return {}, WORKLOADS[workload].left_out[contender.client]
    where = [servers.plain]
    if WORKLOADS[workload].is_secure:
        where = [servers.secure, servers.ca]
    command = [sys.executable, str(HERE / "one.py"), contender.client, workload, *where]
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
        default=HERE / "results",
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
