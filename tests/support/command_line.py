"""The command line, called in this process, with a standard input of the test's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trio_wsclient._cli.main import main


@contextmanager
def standard_input(read_end: int) -> Iterator[None]:
    """Make a descriptor the standard input, and close it."""
    saved = os.dup(0)
    os.dup2(read_end, 0)
    os.close(read_end)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


async def run_main(*arguments: str) -> int:
    with trio.fail_after(60):
        return await trio.to_thread.run_sync(main, arguments, abandon_on_cancel=True)
