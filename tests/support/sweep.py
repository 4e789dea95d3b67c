"""Striking a short session at its k-th step, for k = 1, 2, … until it ends before the blow.

A sweep runs the same session again and again, each time in an event loop of its own, beside a
server that parses strictly. After each run nothing may be left: no task, nursery, file descriptor
or unclosed stream, and the server has seen the end of the connection.
"""

from __future__ import annotations

import gc
import itertools
import signal
import sys
import types
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.testing
import wire
from strict_server import StrictServer, Transport

import trio_wsclient
from trio_wsclient import WebSocketClient, open_websocket_client

# Seconds of real time. Nothing in a session waits for as long as its timeouts are, so a session
# that does is seen by the guards, of which the second one stops even what is shielded.
_TIMEOUT = 120
_GUARD = 20
_LAST_GUARD = 40

_PACKAGE = str(Path(trio_wsclient.__file__).parent)

Session = Callable[["Trial"], Awaitable[None]]


class Strike(trio.abc.Instrument):
    """Does something at the k-th moment from when it is armed; here no moment ever comes."""

    once = True

    def __init__(self, k: int) -> None:
        self._left = k
        self._blow: Callable[[], object] | None = None
        self.struck = False

    def arm(self, blow: Callable[[], object]) -> None:
        self._blow = blow

    def disarm(self) -> None:
        self._blow = None

    def count(self) -> None:
        if self._blow is not None:
            self._left -= 1
            if self._left == 0 or (self._left < 0 and not self.once):
                self.struck = True
                self._blow()


class AtOwnStep(Strike):
    """Counts the steps of the task that has armed it, their beginnings and their ends.

    A blow at the beginning meets a wait that is just over, one at the end a wait that has begun.
    """

    @trio.lowlevel.enable_ki_protection  # A step that is interrupted before its first line is none.
    def arm(self, blow: Callable[[], object]) -> None:
        super().arm(blow)
        self._task = trio.lowlevel.current_task()
        self.count()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._blow is not None and task is self._task:
            self.count()

    after_task_step = before_task_step


class FromOwnStepOn(AtOwnStep):
    """Strikes again and again, like a user who sees no effect."""

    once = False


class AtAnyStep(Strike):
    """Counts the steps of all tasks, the server's too."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count()


class AtOpenLine(Strike):
    """Counts the lines of the package that Ctrl-C can interrupt, not being protected from it."""

    def arm(self, blow: Callable[[], object]) -> None:
        super().arm(blow)
        self._former = sys.gettrace()
        sys.settrace(self._trace)

    def disarm(self) -> None:
        if self._blow is not None:
            sys.settrace(self._former)
        super().disarm()

    def _trace(self, frame: types.FrameType, event: str, arg: object) -> object:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line" and not trio.lowlevel.currently_ki_protected():
            self.count()
        return self._trace


@dataclass
class Trial:
    """One run of a session: its strike, and its server."""

    strike: Strike
    server: StrictServer
    url: str
    options: dict[str, object] = field(repr=False)

    def open(self) -> AbstractAsyncContextManager[WebSocketClient]:
        return open_websocket_client(self.url, **self.options)

    async def seen_by_server(self) -> None:
        """Wait until the server has seen the end."""
        self.strike.disarm()
        await trio.testing.wait_all_tasks_blocked()
        if self.server.started:  # If not, it was over before the connection was accepted.
            await self.server.over.wait()

    async def ended(
        self, expected: list[wire.ClientFrame], *, whole: bool, code: int | None = 1000
    ) -> None:
        """Check what the server has seen, once it has seen the end.

        Args:
            expected: The data frames that the server expects; it may have seen only the first ones.
            whole: Whether all of them have to be there, and then a Close.
            code: The code of the Close; None if there need not be one.
        """
        await self.seen_by_server()
        self.server.check(expected)
        if whole:
            assert self.server.data() == expected
            assert code is None or self.server.frames[-1].code == code


def sweep(
    transport: Transport,
    session: Session,
    moment: type[Strike],
    *,
    restrict: bool = False,
) -> int:
    """Strike a session at its k-th step for each k; return the first one that it didn't reach."""
    for k in itertools.count(1):
        strike = moment(k)
        try:
            with last_guard(_LAST_GUARD), _nothing_left():
                trio.run(
                    _try,
                    transport,
                    session,
                    strike,
                    instruments=[strike],
                    restrict_keyboard_interrupt_to_checkpoints=restrict,
                )
        except BaseException as exc:
            strike.disarm()
            exc.add_note(f"k = {k}")
            raise
        if not strike.struck:
            print(f"{moment.__name__}, k = {k}: not reached", end=" ")
            return k
    raise AssertionError


async def _try(transport: Transport, session: Session, strike: Strike) -> None:
    living = trio.lowlevel.current_statistics().tasks_living
    task = trio.lowlevel.current_task()
    server = StrictServer()
    async with transport(server) as (url, options):
        nurseries = list(task.child_nurseries)
        with trio.fail_after(_GUARD):
            options.update(open_timeout=_TIMEOUT, close_timeout=_TIMEOUT)
            await session(Trial(strike, server, url, options))
            assert task.child_nurseries == nurseries
    assert trio.lowlevel.current_statistics().tasks_living == living


@contextmanager
def last_guard(seconds: float) -> Iterator[None]:
    """Stop whatever goes on for too long, also an event loop that hangs."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def fail(*_: object) -> None:
        raise AssertionError(f"no end within {seconds:g} s")

    former = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@contextmanager
def _nothing_left() -> Iterator[None]:
    """Check that file descriptors are as before, and that nothing is left to the collector."""
    descriptors = open_descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert not caught, [str(warning.message) for warning in caught]
    assert open_descriptors() == descriptors


def open_descriptors() -> set[str]:
    """Return the numbers of the open file descriptors, where the system tells them."""
    folder = Path("/dev/fd")
    return {descriptor.name for descriptor in folder.iterdir()} if folder.is_dir() else set()
