"""A check, and how it says what it finds.

It runs in a process of its own, because a fault may be to hang, also against a cancel. So it says
each thing at once, as a line on standard output: `step`, what it does now, and `fault`. Where it
hangs, its process is killed, and the last step tells where that was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from peers.library import Library

BOUND = 10  # seconds for what takes a fraction of one


@dataclass(frozen=True)
class Check:
    situation: str
    bound: float  # seconds until it is a hang
    loose: bool  # whether trio.run is not to be strict about groups
    run: Callable[[Library], Awaitable[None]]


CHECKS: dict[str, Check] = {}


def check(
    name: str, situation: str, *, bound: float = BOUND, loose: bool = False
) -> Callable[[Callable[[Library], Awaitable[None]]], None]:
    def register(run: Callable[[Library], Awaitable[None]]) -> None:
        CHECKS[name] = Check(situation, bound, loose, run)

    return register


def step(text: str) -> None:
    print("step", text, flush=True)


def fault(text: str) -> None:
    print("fault", text, flush=True)


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        fault(otherwise)


@contextmanager
def within(seconds: float, otherwise: str) -> Iterator[None]:
    """Cancel what lasts longer, and call it a fault."""
    with trio.move_on_after(seconds) as scope:
        yield
    expect(not scope.cancelled_caught, otherwise)


def leaves(exc: BaseException) -> list[BaseException]:
    """Take groups apart."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    return [leaf for inner in exc.exceptions for leaf in leaves(inner)]


def name(exc: BaseException) -> str:
    """Say which exception it is, in a few words."""
    if isinstance(exc, BaseExceptionGroup):
        return f"a group of {' and '.join(name(inner) for inner in exc.exceptions)}"
    return str(exc) if isinstance(exc, AssertionError) and str(exc) else type(exc).__name__
