"""Requests and answers on one connection, in any order, each with a deadline of its own."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_wsclient import WebSocketClient, open_websocket_client


class Caller:
    def __init__(self, ws: WebSocketClient) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: dict[int, trio.MemorySendChannel[Any]] = {}

    async def call(self, method: str, *params: object, timeout: float = 5) -> Any:
        """Ask, and wait for the answer to this very question."""
        number = next(self._ids)
        self._waiting[number], answer = trio.open_memory_channel[Any](1)
        try:
            with trio.fail_after(timeout):
                await self._ws.send(json.dumps({"id": number, "method": method, "params": params}))
                return await answer.receive()
        except trio.EndOfChannel:
            raise ConnectionError("the connection has ended before the answer came") from None
        finally:
            del self._waiting[number]

    async def hand_out(self) -> None:
        """Give each answer to whoever waits for it; those that come too late, to nobody."""
        try:
            async for message in self._ws:
                answer = json.loads(message)
                if answer["id"] in self._waiting:
                    self._waiting[answer["id"]].send_nowait(answer["result"])
        finally:
            for channel in self._waiting.values():
                channel.close()


@asynccontextmanager
async def open_caller(url: str) -> AsyncIterator[Caller]:
    async with open_websocket_client(url) as ws, trio.open_nursery() as nursery:
        caller = Caller(ws)
        nursery.start_soon(caller.hand_out)
        yield caller
        nursery.cancel_scope.cancel()


async def main() -> None:
    async with open_caller("wss://example.org/rpc") as caller, trio.open_nursery() as nursery:

        async def show(a: int, b: int) -> None:
            print(f"{a} + {b} = {await caller.call('add', a, b)}")

        nursery.start_soon(show, 1, 2)
        nursery.start_soon(show, 3, 4)
        try:
            await caller.call("sleep", timeout=0.5)
        except trio.TooSlowError:
            print("no answer in time")


trio.run(main)
