"""A logger that keeps its records, and counts how often it is asked whether it is on."""

from __future__ import annotations

import logging


class KeepingLogger(logging.Logger):
    """A logger of its own, outside of logging's tree."""

    def __init__(self, level: int) -> None:
        super().__init__("a user's", level)
        self.records: list[logging.LogRecord] = []
        self.asked: list[int] = []  # the levels that `isEnabledFor` was called with

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 logging has it so
        self.asked.append(level)
        return super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def at(self, level: int) -> list[logging.LogRecord]:
        return [record for record in self.records if record.levelno == level]

    def texts(self, level: int) -> list[str]:
        """Return the messages of a level, without the connection's number in front."""
        return [record.getMessage().partition("] ")[2] for record in self.at(level)]


def facts(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record has besides what every record has."""
    usual = vars(logging.makeLogRecord({})).keys()
    return {name: value for name, value in vars(record).items() if name not in usual}
