"""websockets.trio, as a check uses it."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager

import websockets.exceptions
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as websockets_connect
from websockets.trio.messages import Assembler

CLOSED = websockets.exceptions.ConnectionClosed


def connect(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    open_timeout: float = 5,
    close_timeout: float = 0.5,
    max_message_size: int = 2**20,
    keepalive: tuple[float, float] | None = None,
) -> AbstractAsyncContextManager[ClientConnection]:
    interval, timeout = keepalive or (None, None)
    return websockets_connect(
        url,
        ssl=ssl_context,
        compression=None,
        proxy=None,
        open_timeout=open_timeout,
        close_timeout=close_timeout,
        max_size=max_message_size,
        ping_interval=interval,
        ping_timeout=timeout,
    )


async def send(ws: ClientConnection, message: str | bytes) -> None:
    await ws.send(message)


async def receive(ws: ClientConnection) -> str | bytes:
    return await ws.recv()


async def ping(ws: ClientConnection) -> None:
    pong = await ws.ping()
    await pong.wait()


async def close(ws: ClientConnection, code: int) -> None:
    await ws.aclose(code)


def plant(bug: Exception) -> None:
    put = Assembler.put

    def raise_bug(self):
        raise bug

    def buggy(self, frame):
        # What goes wrong in the receiving task itself is logged, and closes the connection; so here
        # the closing goes wrong as well, for that is not caught.
        self.close = raise_bug
        put(self, frame)
        raise bug

    Assembler.put = buggy
