"""Compares the lane with wsproto alone, on many streams: ``lane_differences.py [EXAMPLES]``."""

from __future__ import annotations

import sys
import time

import test_lane
from hypothesis import HealthCheck, settings

from trio_wsclient import IMPLEMENTATION


def main(examples: int) -> None:
    begun = time.monotonic()
    compare = test_lane.given_cut_streams(
        test_lane.test_the_lane_and_wsproto_alone_say_the_same.hypothesis.inner_test
    )
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(compare)()
    seconds = time.monotonic() - begun
    print(f"{examples} examples, frames by {IMPLEMENTATION}: no difference, {seconds:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
