"""The role of the active reader, which passes from task to task.

Theory of operation
-------------------

Everything that a task can wait for arrives on one stream. One task at a time may read it: the
*active reader*. A task switch for each message would cost more than the message. So a task that
waits for a message becomes the active reader itself, if there is none. Then it waits for the
stream, and handles what it has read, all in its own coroutine.

A receiver that finds an active reader parks. It is woken with a message of its own, or with the
role of the active reader, or when the connection is closed. Receivers are served first come, first
served. An active receiver came before all parked ones, so it takes its message first; when it
leaves, it gives the other messages to the parked receivers, and passes the role to the first
receiver that is still parked. Each of these steps takes the same time, however many receivers wait
(N1, linear cost).

Pings must be answered although no task wants a message. That is the job of the *background reader*,
a task of the connection. It has the lowest priority: if a receiver has parked since it became
active, it leaves after the current step, and *rests* for a second. That receiver will likely call
again. The role is vacant meanwhile, so request and response need no task switch.

Some tasks can't wait that long: a blocked writer, whose server may want to be read first; a ping
that waits for its pong; a connection that is being closed. While there is such a need, the
background reader takes over as soon as the role is vacant.

It *pauses* while the queue has no room (R2, control frames are always handled). A receiver
continues to read, because its message may be larger than the queue.

A user's own stream may require that one task does all reads. There only the background reader
reads, and it never rests.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar, cast

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._scheduling import Stopwatch

_REST: Final = 1.0  # seconds; a server's ping may wait this long for its pong

_T = TypeVar("_T")


class Woken(enum.Enum):
    """Why a parked receiver was woken without a message."""

    TO_READ = enum.auto()  # It is the active reader now.
    CLOSED = enum.auto()  # The connection is closed: no message will come.


class _Receiver:
    """A task that is parked.

    Attributes:
        take: The function by which it takes what it waits for.
        result: What it is woken with.
        error: What `take` has raised.
    """

    __slots__ = ("error", "result", "take", "task")

    def __init__(self, take: Callable[[], object]) -> None:
        self.task = current_task()
        self.take = take
        self.result: object = Woken.CLOSED
        self.error: Exception | None = None

    def serve(self) -> None:
        """Wake it with what it takes, or with the exception that `take` raises."""
        try:
            self.result = self.take()
        except Exception as exc:  # noqa: BLE001 such as MemoryError; the receiver raises it
            self.error = exc
        reschedule(self.task)

    def wake(self, result: object) -> None:
        self.result = result
        reschedule(self.task)


class SharedReader:
    """The role of the active reader of one connection.

    Args:
        queue: What was read.
        is_shared: Whether receivers may read, too.

    Attributes:
        is_active: Whether some task is the active reader.
        is_led_by_receiver: Whether that task is a receiver.
        paused: Runs while the background reader waits for room, and no receiver reads.
    """

    def __init__(self, queue: ReceiveQueue, *, is_shared: bool) -> None:
        self._queue = queue
        self._is_shared = is_shared
        self._receivers: OrderedDict[_Receiver, None] = OrderedDict()  # that are parked
        self._background: Task | None = None  # the background reader, while it is parked
        self._is_resting = False  # whether it is parked for a rest
        self._has_met_receiver = False  # whether one has parked since the background reader entered
        self._needs = 0
        self._resumed: trio.Event | None = None  # of the keepalive, if it waits
        self.is_active: bool = False
        self.is_led_by_receiver: bool = False
        self.paused: Final = Stopwatch()

    # Receivers

    def enter(self) -> bool:
        """Become the active reader, for a receiver; return whether that is possible."""
        if self.is_active or not self._is_shared:
            return False
        self.is_active = self.is_led_by_receiver = True
        if self.paused.since is not None:
            self._resume()
        return True

    def leave(self) -> None:
        """Give up the role, and pass it on if a task needs a reader."""
        self.is_active = self.is_led_by_receiver = False
        if self._queue.is_claimed:
            self._queue.claim(False)
        # First the messages that are here go to the parked receivers, in their order. If receivers
        # are left, the first of them becomes the active reader.
        if self._receivers:
            self.serve()
            if self._receivers and self.enter():  # on behalf of the task that is woken
                self._receivers.popitem(last=False)[0].wake(Woken.TO_READ)
                return
        # A rest goes on unless some task needs a reader.
        if self._needs or not self._is_resting:
            self.wake_background()

    async def park(self, take: Callable[[], _T]) -> _T | Woken:
        """Wait for a message or the role.

        If cancelled: nothing was taken.

        Returns:
            What ``take`` has returned, or why this task was woken without that.
        """
        receiver = _Receiver(take)
        # At the end of the line: first come, first served.
        self._receivers[receiver] = None
        self._has_met_receiver = True
        if self.paused.since is not None:  # only with a user's own stream
            # R2 (control frames are always handled): a message may be larger than the queue.
            self.wake_background()

        def abort(_: RaiseCancelT) -> Abort:
            del self._receivers[receiver]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        if receiver.error is not None:
            # The traceback refers to the frames of `serve` and of this method. If the receiver, or
            # a local variable, kept the exception, that would be a cycle.
            error, receiver.error = receiver.error, None
            try:
                raise error
            finally:
                del error
        return cast("_T | Woken", receiver.result)

    def serve(self) -> None:
        """Hand out what is in the queue to the receivers that are parked."""
        while self._receivers and self._queue.is_ready:
            self._receivers.popitem(last=False)[0].serve()

    def wake_receivers(self) -> None:
        """Wake all that are parked, because the connection is closed.

        An active receiver came first, so it is first to take. When it leaves, the next receiver
        becomes active, and so on.
        """
        if self.is_led_by_receiver:
            return
        self.serve()
        while self._receivers:
            self._receivers.popitem(last=False)[0].wake(Woken.CLOSED)

    @property
    def has_parked(self) -> bool:
        """Whether receivers are parked."""
        return bool(self._receivers)

    # The background reader

    def enter_background(self) -> None:
        """Become the active reader, for the background reader; there must be none."""
        assert not self.is_active
        self.is_active = True
        self._has_met_receiver = bool(self._receivers)

    @property
    def should_yield(self) -> bool:
        """Whether the background reader should leave, because receivers can read instead."""
        return self._is_shared and self._has_met_receiver

    @property
    def is_needed(self) -> bool:
        """Whether some task needs an active reader."""
        return self._needs > 0

    def need(self) -> None:
        """Require an active reader until `need_no_more`, while the queue has room."""
        # Needs are counted: several tasks may have one at the same time.
        self._needs += 1
        self.wake_background()

    def need_no_more(self) -> None:
        """Take back one call of `need`."""
        self._needs -= 1

    def wake_background(self) -> None:
        """Have the background reader check whether to read; no effect while a task reads."""
        # It is parked in `stand_by`, `rest` or `pause`. Each of them looks again when it returns.
        if not self.is_active and self._background is not None:
            task, self._background = self._background, None
            reschedule(task)

    async def stand_by(self) -> None:
        """Wait until `wake_background` is called."""
        self._background = current_task()

        def abort(_: RaiseCancelT) -> Abort:
            self._background = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    async def rest(self) -> None:
        """Leave the role vacant for a while, unless an active reader is needed."""
        self._is_resting = True
        try:
            with trio.move_on_after(_REST):
                await self.stand_by()
        finally:
            self._is_resting = False

    async def pause(self) -> None:
        """Wait until there may be room, or a receiver has read."""
        self.paused.start()
        self._queue.pause(True)  # It ends the fast path, so that each taker looks for room.
        try:
            await self.stand_by()
        finally:
            if self.paused.since is not None:
                self._resume()
            self._queue.pause(False)

    def _resume(self) -> None:
        self.paused.stop()
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    async def wait_resumed(self) -> None:
        """Wait until reading is not paused."""
        while self.paused.since is not None:
            if self._resumed is None:
                self._resumed = trio.Event()
            await self._resumed.wait()
