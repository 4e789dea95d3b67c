"""A connection that is over leaves nothing behind; `soak_cycles` is the same for hours."""

from __future__ import annotations

import tracemalloc
from functools import partial

import pytest
import trio
from soak_cycles import MIB, Held, echo_server, soak
from sweep import last_guard

WARM_UP = 50
CYCLES = 150


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_cycles_leave_no_descriptor_task_or_memory(tls):
    held: list[Held] = []
    traced: list[int] = []

    def report(now: Held) -> None:
        held.append(now)
        traced.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        with last_guard(100), echo_server(tls=tls) as (url, context):
            run = partial(soak, cycles=WARM_UP + CYCLES, every=WARM_UP, report=report)
            trio.run(run, url, context)
    finally:
        tracemalloc.stop()
    assert held[-1].descriptors == held[0].descriptors
    assert held[-1].tasks == held[0].tasks
    assert held[-1].objects - held[0].objects < CYCLES
    # Caches still fill by some 20 KiB.
    assert traced[-1] - traced[0] < MIB / 10
