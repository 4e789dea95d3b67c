"""tornado's server."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from . import (
    MAX_MESSAGE_SIZE,
    PING_INTERVAL,
    REJECTION_BODY,
    REJECTION_HEADERS,
    REJECTION_STATUS,
    SUBPROTOCOL,
    Listeners,
)


class _Handler(WebSocketHandler):
    def select_subprotocol(self, subprotocols: Sequence[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        return {}

    async def on_message(self, message: str | bytes) -> None:
        pass


class _Echo(_Handler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


class _Ping(_Handler):
    def open(self) -> None:
        self.ping(b"anybody there?")

    def on_pong(self, data: bytes) -> None:
        self.write_message(f"PONG {data.decode()}")


class _Close(_Handler):
    async def open(self) -> None:
        await self.write_message("last words")
        self.close(int(self.get_query_argument("code")), self.get_query_argument("reason"))


class _Crash(_Handler):
    async def open(self) -> None:
        await self.write_message("last words")
        raise RuntimeError("the handler crashed, as it was asked to")


class _Abort(_Handler):
    async def open(self) -> None:
        await self.write_message("last words")

    async def on_message(self, message: str | bytes) -> None:
        assert self.ws_connection is not None
        stream = self.ws_connection.stream
        # No linger: the kernel sends a reset instead of a FIN.
        linger = struct.pack("ii", 1, 0)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        stream.close()


class _Refuse(RequestHandler):
    def get(self) -> None:
        self.set_status(REJECTION_STATUS)
        for name, value in REJECTION_HEADERS.items():
            self.set_header(name, value)
        self.finish(REJECTION_BODY)


async def _serve(listeners: Listeners) -> None:
    application = Application(
        [
            ("/echo", _Echo),
            ("/ping", _Ping),
            ("/quiet", _Handler),
            ("/close", _Close),
            ("/refuse", _Refuse),
            ("/crash", _Crash),
            ("/abort", _Abort),
        ],
        websocket_max_message_size=MAX_MESSAGE_SIZE,
        websocket_ping_interval=PING_INTERVAL,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(listeners.certificate)
    for listener in (listeners.ws, listeners.wss):
        listener.setblocking(False)
    HTTPServer(application).add_sockets([listeners.ws])
    HTTPServer(application, ssl_options=tls).add_sockets([listeners.wss])
    await asyncio.Event().wait()


def serve(_variant: str, listeners: Listeners) -> None:
    asyncio.run(_serve(listeners))
