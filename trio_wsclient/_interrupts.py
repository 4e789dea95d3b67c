"""What interrupts a task from outside: a cancel and Ctrl-C, alone or in groups of nothing else."""

from __future__ import annotations

from typing import Final

import trio

INTERRUPTS: Final = (trio.Cancelled, KeyboardInterrupt)


def reduce_interrupts(exc: BaseException) -> BaseException:
    """Return the one exception that a group of nothing but interrupts stands for.

    Ctrl-C goes before a cancel. Any other exception, or group, is returned as it is.
    """
    if not isinstance(exc, BaseExceptionGroup) or exc.split(INTERRUPTS)[1] is not None:
        return exc
    leaf: BaseException = exc.subgroup(KeyboardInterrupt) or exc
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
