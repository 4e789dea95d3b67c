"""An observer that keeps what it is called with about openings."""

from __future__ import annotations

from collections.abc import Mapping

from trio_wsclient import Observer


class Notes(Observer):
    """Keeps the arguments of each call about opening."""

    def __init__(self) -> None:
        self.opened_ids: list[int] = []
        self.failed_ids: list[int] = []
        self.errors: list[BaseException] = []
        self.urls: list[str] = []
        self.phases: Mapping[str, float] = {}

    def opened(self, connection_id: int, url: str, phases: Mapping[str, float]) -> None:
        self.opened_ids.append(connection_id)

    def opening_failed(
        self, connection_id: int, url: str, error: BaseException, phases: Mapping[str, float]
    ) -> None:
        self.failed_ids.append(connection_id)
        self.urls.append(url)
        self.errors.append(error)
        self.phases = phases
