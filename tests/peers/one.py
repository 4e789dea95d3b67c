"""One check of one library, in a process of its own: see `run`."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback

import trio

from peers import leaving, opening, traffic
from peers.check import CHECKS, fault, leaves, name
from peers.library import Lacking

MODULES = (opening, traffic, leaving)  # they fill CHECKS


def main(wanted: str, module: str) -> None:
    check = CHECKS[wanted]
    options = {"strict_exception_groups": False} if check.loose else {}
    # E22: SIGINT is ignored by what a shell has started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trio.run(check.run, importlib.import_module(module), **options)
    except BaseException as exc:
        traceback.print_exc()
        for leaf in leaves(exc):
            fault(str(leaf) if isinstance(leaf, Lacking) else name(leaf))
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
