"""Passes of the scheduler are counted without a clock."""

from __future__ import annotations

import trio

from trio_wsclient._passes import after_passes


async def test_the_function_is_called_after_some_passes_and_no_time(autojump_clock):
    called_at = []
    started = trio.current_time()
    after_passes(8, lambda: called_at.append(passes), unless=lambda: False)
    for passes in range(20):  # noqa: B007 the function sees it
        await trio.lowlevel.checkpoint()
    assert 7 <= called_at[0] <= 9
    assert trio.current_time() == started


def test_the_end_of_the_run_is_survived():
    called = []

    async def main() -> None:
        after_passes(8, lambda: called.append(1), unless=lambda: False)

    trio.run(main)
    assert called == []


async def test_it_is_not_called_if_there_is_no_need_for_it_any_more():
    called = []
    passes = 0
    after_passes(8, lambda: called.append(1), unless=lambda: passes > 3)
    for passes in range(20):  # noqa: B007 the function sees it
        await trio.lowlevel.checkpoint()
    assert called == []
