"""What interrupts a task from outside: a cancel and Ctrl-C, alone or in groups of nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import trio
from trio.lowlevel import disable_ki_protection

from trio_wsclient._errors import HandshakeError, keep_redirects

_P = ParamSpec("_P")
_T = TypeVar("_T")

INTERRUPTS: Final = (trio.Cancelled, KeyboardInterrupt)


@disable_ki_protection
def call_interruptible(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function of the user's out of a task that Ctrl-C must not interrupt.

    The function may block or loop for long, so Ctrl-C has to reach it.
    """
    try:
        return function(*args, **kwargs)
    except HandshakeError as exc:
        keep_redirects(exc)
        raise


@disable_ki_protection
async def await_interruptible(awaitable: Awaitable[_T], kept: list[_T] | None = None) -> _T:
    """Await what a function of the user's has returned; Ctrl-C has to reach it, as above.

    Args:
        awaitable: A coroutine, or any other object that can be awaited.
        kept: Gets the result in the step that returns it. If Ctrl-C strikes right after that step,
            the caller finds the result here, and can close it.
    """
    results: list[_T] = [] if kept is None else kept
    try:
        results.append(await awaitable)
    except HandshakeError as exc:
        keep_redirects(exc)
        raise
    return results[0]


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
