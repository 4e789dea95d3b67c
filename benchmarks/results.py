"""What was measured, as it is kept in JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

Figures = dict[str, float]


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
