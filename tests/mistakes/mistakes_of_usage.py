"""Blocks and handlers that are used in a wrong way, where that takes more than a line."""

from __future__ import annotations

from contextlib import suppress

import trio
import trio.testing
from mistakes import Place, situation
from scripted_server import echo_script

from trio_wsclient import open_websocket_client


@situation("a block that is entered twice")
async def _(place: Place) -> None:
    block = open_websocket_client(await place.serve(echo_script))
    async with block:
        pass
    async with block:
        pass


@situation("a block that another task leaves")
async def _(place: Place) -> None:
    async def enter() -> None:
        await block.__aenter__()
        await trio.sleep_forever()

    block = open_websocket_client(await place.serve(echo_script))
    error = RuntimeError()
    # The nursery of the block is never left. Later versions of Trio report that, too.
    with suppress(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            await trio.testing.wait_all_tasks_blocked(0.01)
            try:
                await block.__aexit__(None, None, None)
            except RuntimeError as exc:
                error = exc
            nursery.cancel_scope.cancel()
    raise error


@situation("a second task that receives, while one waits in frames")
async def _(place: Place) -> None:
    async with open_websocket_client(await place.serve(echo_script)) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, ws.frames())
            await trio.testing.wait_all_tasks_blocked(0.01)
            try:
                await ws.receive()
            except trio.BusyResourceError as exc:
                error = exc
            nursery.cancel_scope.cancel()
        raise error


@situation("a second task in frames, while one waits in receive")
async def _(place: Place) -> None:
    async with open_websocket_client(await place.serve(echo_script)) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            try:
                await anext(ws.frames())
            except trio.BusyResourceError as exc:
                error = exc
            nursery.cancel_scope.cancel()
        raise error
