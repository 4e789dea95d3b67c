"""The event loops, with what a workload needs of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import trio


class _Loop:
    is_limit = False
    compresses = True

    def content(self, received: Any) -> Any:
        """Return the text or the bytes of what `receive` has returned."""
        return received


class OnTrio(_Loop):
    """Trio."""

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        return trio.run(main)

    async def together(self, functions: list[Callable[[], Awaitable[Any]]]) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class OnAsyncio(_Loop):
    """The event loop of the standard library."""

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        return asyncio.run(main())  # type: ignore[arg-type]

    async def together(self, functions: list[Callable[[], Awaitable[Any]]]) -> None:
        async with asyncio.TaskGroup() as group:
            for function in functions:
                group.create_task(function())  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OnUvloop(OnAsyncio):
    """The event loop of asyncio that is written in Cython."""

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        import uvloop  # noqa: PLC0415 only where it is used

        return uvloop.run(main())  # type: ignore[arg-type]
