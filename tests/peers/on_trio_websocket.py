"""trio-websocket, as a check uses it."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager

import trio_websocket
from trio_websocket import WebSocketConnection

from peers.library import Lacking

CLOSED = trio_websocket.ConnectionClosed


def connect(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    open_timeout: float = 5,
    close_timeout: float = 0.5,
    max_message_size: int = 2**20,
    keepalive: tuple[float, float] | None = None,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    if keepalive is not None:
        raise Lacking("no keepalive")
    return trio_websocket.open_websocket_url(
        url,
        ssl_context,
        connect_timeout=open_timeout,
        disconnect_timeout=close_timeout,
        max_message_size=max_message_size,
    )


async def send(ws: WebSocketConnection, message: str | bytes) -> None:
    await ws.send_message(message)


async def receive(ws: WebSocketConnection) -> str | bytes:
    return await ws.get_message()


async def ping(ws: WebSocketConnection) -> None:
    await ws.ping()


async def close(ws: WebSocketConnection, code: int) -> None:
    await ws.aclose(code)


def plant(bug: Exception) -> None:
    async def buggy(self, event):
        raise bug

    WebSocketConnection._handle_message_event = buggy
