"""What many rounds say: medians, ratios within a round and how far they are apart."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from contenders import BASELINE, CONTENDERS, Contender
from results import Figures, Results
from workloads import WORKLOADS, Workload


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
