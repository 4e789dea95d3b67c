"""Requests and responses on one connection, in any order, each with a timeout of its own."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_wsclient import (
    ConnectionClosed,
    WebSocketClient,
    background_task,
    open_websocket_client,
)


class RequestFailed(Exception):
    """The server answered with an error."""


class RPCClient:
    """Requests of JSON-RPC 2.0; ``on_notification`` is called with what nobody has asked for."""

    def __init__(self, ws: WebSocketClient) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: dict[int, trio.MemorySendChannel[Any]] = {}
        self._ended: ConnectionClosed | None = None

    async def call(self, method: str, *params: object, timeout: float = 5) -> Any:
        """Send a request, and wait for its response.

        Raises:
            RequestFailed: The server answered with an error.
            trio.TooSlowError: No response came in time. One that comes later is dropped.
            ConnectionClosed: The connection ended before.
        """
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._waiting[number], responses = trio.open_memory_channel[Any](1)
        try:
            with trio.fail_after(timeout):
                await self._ws.send(json.dumps(request))
                response = await responses.receive()
        except trio.EndOfChannel:
            ended = self._ended or self._ws.outcome
            assert ended is not None
            raise ended from None
        finally:
            del self._waiting[number]
        if "error" in response:
            raise RequestFailed(response["error"]["message"])
        return response["result"]

    async def read(self) -> None:
        """Give each response to the call that waits for it."""
        try:
            async for message in self._ws:
                response = json.loads(message)
                if response.get("id") in self._waiting:
                    self._waiting[response["id"]].send_nowait(response)
                elif "method" in response:
                    print("notification:", response["method"])
        except ConnectionClosed as exc:
            self._ended = exc  # The call that waits raises it, so it must not leave here as well.
        finally:
            for channel in self._waiting.values():
                channel.close()


@asynccontextmanager
async def open_rpc_client(url: str) -> AsyncIterator[RPCClient]:
    async with open_websocket_client(url) as ws:
        client = RPCClient(ws)
        async with background_task(client.read):
            yield client


async def main() -> None:
    async with open_rpc_client("wss://example.org/rpc") as client:
        async with trio.open_nursery() as nursery:

            async def show(a: int, b: int) -> None:
                print(f"{a} + {b} = {await client.call('add', a, b)}")

            nursery.start_soon(show, 1, 2)
            nursery.start_soon(show, 3, 4)
        try:
            await client.call("divide", 1, 0)
        except RequestFailed as exc:
            print("failed:", exc)
        try:
            await client.call("sleep", timeout=0.5)
        except trio.TooSlowError:
            print("no response in time")
        try:
            await client.call("stop")
        except ConnectionClosed as exc:
            print("ended:", exc.code, exc.reason)


trio.run(main)
