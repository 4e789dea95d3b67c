"""E46: after a burst of 10 MB a connection holds hardly more than a fresh one.

All messages of the burst have been taken, and the server is silent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import burst_memory
import bursts
import pytest
from bursts import BURSTS, Bursts, held_after_bursts
from thread_server import thread_server

PROMISE = 64 * 1024  # bytes

NAMES = [burst.__name__ for burst in BURSTS]


TRACED = [bursts.small_messages, bursts.one_message, bursts.fragments, bursts.compressed_messages]


@pytest.mark.slow
@pytest.mark.parametrize("burst", TRACED, ids=lambda burst: burst.__name__)
async def test_e46_python_memory_shrinks_after_a_burst(burst):
    """``tracemalloc`` sees what Python and zlib have."""
    assert await traced_after_bursts(burst) <= PROMISE


async def test_e46_python_memory_shrinks_over_tls(server_ssl_context, client_ssl_context):
    held = await traced_after_bursts(bursts.one_message, server_ssl_context, client_ssl_context)
    assert held <= PROMISE


async def traced_after_bursts(burst, server_tls=None, client_tls=None) -> int:
    with thread_server(Bursts(burst), tls=server_tls) as server:
        tracemalloc.start()
        try:
            return await held_after_bursts(
                server.url, client_tls, lambda: tracemalloc.get_traced_memory()[0]
            )
        finally:
            tracemalloc.stop()


@pytest.fixture(scope="module")
def held_by_malloc() -> dict[tuple[str, str], int]:
    """What the program `burst_memory` has measured."""
    done = subprocess.run(
        [sys.executable, Path(burst_memory.__file__)],
        env=os.environ | burst_memory.ENVIRONMENT,
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    lines = (line.split() for line in done.stdout.decode().splitlines())
    return {(name, scheme): int(held) for name, scheme, held in lines}


@pytest.mark.slow
@pytest.mark.skipif(not burst_memory.can_measure(), reason="only glibc tells its memory in use")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("name", NAMES)
def test_e46_all_memory_shrinks_after_a_burst(name, scheme, held_by_malloc):
    """All memory is Python's and OpenSSL's."""
    assert held_by_malloc[name, scheme] <= PROMISE
