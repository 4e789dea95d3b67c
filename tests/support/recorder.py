"""A server that records what the client sends, and sends what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import wire
from scripted_server import Peer, memory_server
from streams import Valve

from trio_wsclient import WebSocketClient, open_websocket_client


@asynccontextmanager
async def opened(
    script: Callable[[Peer], Awaitable[object]], **options: object
) -> AsyncIterator[tuple[WebSocketClient, Valve]]:
    async with memory_server(script) as stream:
        valve = Valve(stream)
        async with open_websocket_client("ws://server/", stream=valve, **options) as ws:
            yield ws, valve


class Recorder:
    """A script that accepts, records the client's frames, and sends what the test says."""

    def __init__(self, *, closes: bool = True) -> None:
        self.closes = closes
        self.frames: list[wire.ClientFrame] = []
        self.torn = b""
        self.eof = trio.Event()
        self.peer: Peer

    async def __call__(self, peer: Peer) -> None:
        self.peer = peer
        await peer.accept()
        try:
            while (frame := await peer.next_frame()) is not None:
                self.frames.append(frame)
                if frame.opcode == wire.CLOSE and self.closes:
                    await peer.send(wire.close(frame.code))
                    await peer.stream.aclose()
                    break
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.torn = peer._reader.pending
        self.eof.set()

    def opcodes(self) -> list[int]:
        return [frame.opcode for frame in self.frames]


async def after(seconds: float, function: Callable[..., Awaitable[None]], *args: object) -> None:
    """Call a function after some seconds, for `start_soon`."""
    await trio.sleep(seconds)
    await function(*args)
