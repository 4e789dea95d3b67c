"""This library, as a check uses it."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager

from trio_wsclient import ConnectionClosed, WebSocketClient, open_websocket_client
from trio_wsclient._protocol.protocol import Protocol

CLOSED = ConnectionClosed


def connect(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    open_timeout: float = 5,
    close_timeout: float = 0.5,
    max_message_size: int = 2**20,
    keepalive: tuple[float, float] | None = None,
) -> AbstractAsyncContextManager[WebSocketClient]:
    interval, timeout = keepalive or (None, None)
    return open_websocket_client(
        url,
        ssl_context=ssl_context,
        open_timeout=open_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
        ping_interval=interval,
        ping_timeout=timeout,
    )


async def send(ws: WebSocketClient, message: str | bytes) -> None:
    await ws.send(message)


async def receive(ws: WebSocketClient) -> str | bytes:
    return await ws.receive()


async def ping(ws: WebSocketClient) -> None:
    await ws.ping()


async def close(ws: WebSocketClient, code: int) -> None:
    await ws.aclose(code)


def plant(bug: Exception) -> None:
    next_events = Protocol.next_events

    def buggy(self):
        if next_events(self):
            raise bug
        return []

    Protocol.next_events = buggy
