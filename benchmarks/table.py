"""The results as tables in Markdown."""

from __future__ import annotations

from contenders import BASELINE
from results import Results
from summary import Cell, Row, measured_contenders
from workloads import Workload

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
