"""Feeds the accelerator bytes of all kinds, and compares: ``fuzz_frames.py [SECONDS]``.

Meant to run under sanitizers: what it is given lies in memory of exactly its size, so that reading
a byte too far is found.
"""

from __future__ import annotations

import random
import sys
import time
from array import array
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import wire
from accelerator import accelerator

from trio_wsclient._protocol import frames_py

NO_LIMIT = 2**63 - 1
SIZES = [0, 1, 2, 3, 4, 7, 8, 9, 124, 125, 126, 127, 300, 65_535, 65_536]


def random_frame(draw: random.Random) -> bytes:
    payload = draw.randbytes(draw.choice(SIZES[:13] if draw.random() < 0.98 else SIZES))
    if draw.random() < 0.5:
        payload = "".join(chr(draw.choice([65, 228, 9731, 128_512])) for _ in range(9)).encode()
    if draw.random() < 0.8:
        return wire.frame(draw.choice([wire.TEXT, wire.BINARY]), payload)
    return wire.frame(
        draw.randrange(16),
        payload,
        fin=draw.random() < 0.8,
        rsv=draw.choice([0, 0, 4, 4, 1]),
        masked=draw.random() < 0.2,
        length=draw.choice([None, 0, 125, 126, 2**16, 2**31, 2**32, 2**63, 2**64 - 1]),
        length_size=draw.choice([None, 8]),
    )


def random_stream(draw: random.Random) -> bytearray:
    data = bytearray(b"".join(random_frame(draw) for _ in range(draw.randrange(5))))
    for _ in range(draw.choice([0, 0, 1, 3])):
        if data:
            data[draw.randrange(len(data))] = draw.choice([0, 0x81, 0x82, 125, 126, 127, 255])
    del data[len(data) - draw.choice([0, 0, 1, 2, 5, 9]) :]
    return data


def some_message(first_byte: int, payload: bytes) -> tuple[int, bytes] | None:
    return None if len(payload) % 5 == 4 else (first_byte, payload)


def compare_once(draw: random.Random) -> None:
    data = random_stream(draw)
    start = draw.choice([0, 0, 0, draw.randrange(len(data) + 3)])
    limit = draw.choice([0, 1, 125, 126, 65_535, NO_LIMIT])
    makers = draw.choice([None, bytes.hex]), draw.choice([None, some_message])
    expected = frames_py.decode(bytes(data), start, limit, *makers)
    exact = array("B", data)
    assert accelerator.decode(exact, start, limit, *makers) == expected, (data, start, limit)

    decode_text = draw.random() < 0.5
    expected = frames_py.decode_single(bytes(data), limit, decode_text)
    assert accelerator.decode_single(exact, limit, decode_text) == expected, (data, limit)

    first_byte, key = draw.randrange(256), array("B", draw.randbytes(4))
    expected = frames_py.build(first_byte, bytes(data), bytes(key))
    assert accelerator.build(first_byte, exact, key) == expected
    start = 4 * draw.randrange(len(data) // 4 + 1)
    stop = draw.randrange(start, len(data) + 10)
    expected = frames_py.mask(bytes(data), bytes(key), start, stop)
    assert accelerator.mask(exact, key, start, stop) == expected


def main(seconds: float) -> None:
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    draw = random.Random(seed)
    ends = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ends:
        compare_once(draw)
        rounds += 1
    print(f"{rounds} rounds in {seconds:g} s: no difference")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
