"""The libraries that are compared, and how each is run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field


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
    return importlib.import_module("trio_wsclient").IMPLEMENTATION == "c"


def chosen_contenders(clients: list[str]) -> list[Contender]:
    """Return the contenders of these clients, and the baseline."""
    chosen = {*clients, BASELINE.client}
    absent = set() if accelerator_is_here() else {ACCELERATED.title}
    return [each for each in CONTENDERS if each.client in chosen and each.title not in absent]
