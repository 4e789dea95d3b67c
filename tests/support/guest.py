"""A Trio run that a test drives from outside, step by step: for hypothesis' state machines.

Trio is a guest of a loop that is nothing but a queue, and that runs only while somebody waits for
all tasks to be blocked. Time does not pass unless the test lets it.
"""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable

import outcome
import trio
import trio.testing

_PATIENCE = 30  # seconds of real time in which something has to happen


class Call:
    """A call in a task of its own, that can be cancelled, and how it ended."""

    def __init__(self, function: Callable[[], Awaitable[object]]) -> None:
        self._function = function
        self.scope = trio.CancelScope()
        self.is_running = True
        self.is_done = False  # whether it has returned
        self.error: Exception | None = None  # what it has raised; None also if it was cancelled

    async def run(self) -> None:
        with self.scope:
            try:
                await self._function()
            except Exception as exc:
                self.error = exc
            else:
                self.is_done = True
        self.is_running = False


class Guest:
    """The run."""

    def __init__(self) -> None:
        self.clock = trio.testing.MockClock()
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._result: outcome.Outcome[None] | None = None
        self._nursery: trio.Nursery | None = None
        self._is_settled = False
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._queue.put,
            done_callback=self._note_result,
            clock=self.clock,
        )
        self._run_while(lambda: self._nursery is None)

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            await trio.sleep_forever()

    def _note_result(self, result: outcome.Outcome[None]) -> None:
        self._result = result

    def _run_while(self, condition: Callable[[], bool]) -> None:
        while condition():
            if self._result is not None:
                self._result.unwrap()
                raise AssertionError("the run is over")
            self._queue.get(timeout=_PATIENCE)()

    async def _settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        self._is_settled = True

    def settle(self) -> None:
        """Run until all tasks wait."""
        self._is_settled = False
        self._token.run_sync_soon(self._start, self._settle)
        self._run_while(lambda: not self._is_settled)

    def _start(self, function: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function)

    def call(self, function: Callable[[], Awaitable[object]]) -> Call:
        """Start a call, and run until all tasks wait."""
        call = Call(function)
        self._token.run_sync_soon(self._start, call.run)
        self.settle()
        return call

    def do(self, function: Callable[[], object]) -> None:
        """Do something inside, and run until all tasks wait."""
        self._token.run_sync_soon(function)
        self.settle()

    def do_both(
        self,
        first: Callable[[], Awaitable[object]],
        second: Callable[[], object],
        *,
        ticks: int,
    ) -> None:
        """Begin something, do something else some scheduler ticks later, and run until all wait."""

        async def delay() -> None:
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            second()

        def start() -> None:
            self._start(first)
            self._start(delay)

        self.do(start)

    def pass_time(self, seconds: float) -> None:
        """Have time pass, and run until all tasks wait."""
        self.do(lambda: self.clock.jump(seconds))

    def close(self) -> None:
        """End the run, and raise what it has raised."""
        assert self._nursery is not None
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        while self._result is None:
            self._queue.get(timeout=_PATIENCE)()
        self._result.unwrap()
