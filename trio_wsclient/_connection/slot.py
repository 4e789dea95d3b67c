"""A slot that one task at a time may have, first come, first served."""

from __future__ import annotations

from collections import OrderedDict

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled


class Slot:
    """A lock that adds no schedule point, and that can dismiss its waiting tasks.

    Each of its methods but `dismiss` takes the same time, however many tasks wait.

    Attributes:
        owner: The task that has the slot; ``None`` while it is free.
    """

    def __init__(self) -> None:
        # The tasks in line, each with whether it is parked.
        self._line: OrderedDict[Task, bool] = OrderedDict()
        self.owner: Task | None = None

    @property
    def tasks_waiting(self) -> int:
        return len(self._line)

    async def acquire(self) -> bool:
        """Wait for the slot; return whether this task has it, or `dismiss` was called.

        It is a checkpoint only if it waits. If cancelled: the task does not have the slot.
        """
        self.line_up()
        return await self.wait()

    def line_up(self) -> None:
        """Take the slot, or join the line. Call `wait` or `leave` next."""
        task = current_task()
        if self.owner is None:
            self.owner = task
        else:
            self._line[task] = False

    async def wait(self) -> bool:
        """Wait for the slot after `line_up`; returns as `acquire`."""
        task = current_task()
        if task in self._line:
            self._line[task] = True

            def abort(_: RaiseCancelT) -> Abort:
                del self._line[task]
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        return self.owner is task

    def leave(self) -> None:
        """Give up the slot, or the place in the line."""
        task = current_task()
        if self.owner is task:
            self.release()
        else:
            self._line.pop(task, None)

    def release(self) -> None:
        """Pass the slot to the first task in the line, or make it free."""
        self.owner = None
        if self._line:
            self.owner, is_parked = self._line.popitem(last=False)
            if is_parked:
                reschedule(self.owner)

    def dismiss(self) -> None:
        """Send all tasks in the line away, without the slot."""
        while self._line:
            task, is_parked = self._line.popitem(last=False)
            if is_parked:
                reschedule(task)
