"""What level, window and memory of zlib make of typical messages: `python deflate_defaults.py`.

The defaults of `PerMessageDeflate` were chosen by this table: what is left of the size, and CPU a
message, with takeover, as most servers grant it.
"""

from __future__ import annotations

import json
import random
import statistics
import time
import zlib
from collections.abc import Callable

ROUNDS = 5
SETTINGS = [  # level, window bits, memory level
    (1, 15, 5),
    (3, 15, 5),
    (5, 15, 5),
    (6, 15, 5),
    (6, 15, 8),
    (9, 15, 9),
    (6, 13, 5),
    (6, 12, 5),
    (6, 11, 4),
    (6, 9, 1),
]
WORDS = (
    "the of and to in is that it was for on are as with his they at be this from have or by one "
    "had not but what all were when we there can an your which their said if do will each about"
)


def trade(number: int) -> object:
    """Return what a feed sends for each trade: some 100 bytes."""
    return {
        "e": "trade",
        "E": 1_700_000_000_000 + number * 13,
        "s": random.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
        "p": f"{random.gauss(42_000, 30):.2f}",
        "q": f"{random.random():.5f}",
        "m": random.random() < 0.5,
    }


def book(number: int) -> object:
    """Return changes of an order book: some 800 bytes."""
    sides = [random.choice(["buy", "sell"]) for _ in range(20)]
    return {
        "type": "l2update",
        "time": f"2026-01-01T00:00:00.{number:06d}Z",
        "changes": [
            [side, f"{random.gauss(42_000, 30):.2f}", f"{random.random():.8f}"] for side in sides
        ],
    }


def chat(number: int) -> object:
    """Return a message of a person: some 500 bytes."""
    return {"user": number % 50, "text": " ".join(random.choices(WORDS.split(), k=100))}


def page(number: int) -> object:
    """Return a document: some 50 KB."""
    return [chat(number) for _ in range(95)]


KINDS: dict[str, tuple[Callable[[int], object], int]] = {
    "trade": (trade, 600),
    "book": (book, 600),
    "chat": (chat, 600),
    "page": (page, 12),
}


def measure(messages: list[bytes], level: int, bits: int, memory: int) -> tuple[float, float]:
    """Return what is left of the size, in percent, and microseconds of CPU a message."""
    durations = []
    for _ in range(ROUNDS):
        compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
        size = 0
        start = time.process_time()
        for message in messages:
            size += len(compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)) - 4
        durations.append(time.process_time() - start)
    plain = sum(map(len, messages))
    return 100 * size / plain, 1e6 * statistics.median(durations) / len(messages)


def main() -> None:
    random.seed(1)
    kinds = {
        name: [json.dumps(make(number)).encode() for number in range(count)]
        for name, (make, count) in KINDS.items()
    }
    print("level window memory      KiB", *(f"{name:>16}" for name in kinds))
    for level, bits, memory in SETTINGS:
        cells = [measure(messages, level, bits, memory) for messages in kinds.values()]
        kib = ((1 << (bits + 2)) + (1 << (memory + 9))) // 1024  # as zconf.h has it
        shown = (f"{size:5.1f} % {us:6.0f} µs" for size, us in cells)
        print(f"{level:5} {bits:6} {memory:6} {kib:8}", *shown)


if __name__ == "__main__":
    main()
