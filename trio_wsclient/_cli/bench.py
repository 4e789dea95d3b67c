"""``trio-wsclient bench``: how long messages take to an echo server and back."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Final

from trio_wsclient import ClientOptions, open_websocket_client
from trio_wsclient._cli.terminal import clear_live, show, show_live

_SHOWN_EVERY: Final = 0.2  # seconds
_RECENT: Final = 1000  # round trips that the live line is about
_BAR: Final = 40  # characters of the longest bar
_STEPS: Final = (1, 2, 5)  # of a decade, where bars of the histogram begin


class NoEcho(Exception):
    """The server has answered something else than what was sent."""


async def measure(url: str, options: ClientOptions, *, seconds: float, size: int) -> None:
    """Measure round trips and show them; Ctrl-C ends it early, and shows what there is.

    Raises:
        NoEcho: The server does not send back what it gets.
    """
    times: list[float] = []
    try:
        # The server sends each message back, however long it is.
        unlimited: ClientOptions = {**options, "max_message_size": None}
        async with open_websocket_client(url, **unlimited) as ws:
            now = shown_at = perf_counter()
            ends = now + seconds
            while now < ends or not times:
                message = str(len(times)).ljust(size)
                began = perf_counter()
                await ws.send(message)
                answer = await ws.receive()
                now = perf_counter()
                if answer != message:
                    raise NoEcho(f"no echo server: it answered {answer[:40]!r} to {message[:40]!r}")
                times.append(now - began)
                if now - shown_at >= _SHOWN_EVERY:
                    shown_at = now
                    _show_live(times)
    finally:
        clear_live()
        if times:
            for line in summary(times):
                show(line)


def _show_live(times: list[float]) -> None:
    recent = sorted(times[-_RECENT:])
    p50, p99 = (_shown(_at(recent, share)) for share in (0.5, 0.99))
    show_live(f"{len(times):,} round trips; p50 {p50}, p99 {p99}")


def summary(times: Sequence[float]) -> Iterator[str]:
    """Yield the lines that tell of round trips: figures, and a histogram of logarithmic scale."""
    ordered = sorted(times)
    facts = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    yield f"{len(ordered):,} round trips, {len(ordered) / sum(ordered):,.0f} a second"
    yield ", ".join(f"{name} {_shown(_at(ordered, share))}" for name, share in facts.items())
    yield ""
    borders = [border for border in _borders() if border > ordered[0]]
    stops = [bisect_right(ordered, border) for border in borders]
    stops = stops[: stops.index(len(ordered)) + 1]
    counts = [stop - start for start, stop in itertools.pairwise([0, *stops])]
    most = max(counts)
    for border, count in zip(borders, counts, strict=False):
        bar = "#" * -(-_BAR * count // most)
        yield f"{'up to ' + _shown(border):>16}  {count:>9,}  {bar}".rstrip()


def _borders() -> Iterator[float]:
    return (step * 10.0**exponent for exponent in range(-7, 6) for step in _STEPS)


def _at(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
