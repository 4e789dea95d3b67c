"""What interrupts a task from outside: a cancel and Ctrl-C, alone or in groups of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import trio
from trio.lowlevel import disable_ki_protection

_P = ParamSpec("_P")
_T = TypeVar("_T")

INTERRUPTS: Final = (trio.Cancelled, KeyboardInterrupt)


@disable_ki_protection
def call_interruptible(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function of the user's out of a task that Ctrl-C must not interrupt.

    The function may block or loop for long, so Ctrl-C has to reach it.
    """
    return function(*args, **kwargs)


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
