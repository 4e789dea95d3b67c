"""Counting passes of the scheduler: time as the event loop has it, whatever the clock says.

In one pass each task that can run has run once. So a few passes are enough for what need not wait
for the network, on a slow machine too, and no time at all on a fast one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

UNBLOCKED_PASSES: Final = 8  # enough for a write on TCP, TLS or a memory stream that need not wait


def after_passes(
    passes: int, function: Callable[[], object], *, unless: Callable[[], bool]
) -> None:
    """Have a function called after some passes of the scheduler.

    Args:
        passes: How many.
        function: What to call.
        unless: Whether there is no need for it any more; asked in each pass.
    """
    token = trio.lowlevel.current_trio_token()

    def tick(left: int) -> None:
        if unless():
            return
        if left == 0:
            function()
            return
        with suppress(trio.RunFinishedError):  # There will be no more passes.
            token.run_sync_soon(tick, left - 1)

    tick(passes)
