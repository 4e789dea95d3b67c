"""The clients that are compared, each behind the same few names.

A client's library is imported when the client is loaded, so a process has only its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import trio


class Connection(Protocol):
    """An open WebSocket; `receive_batch` is there only where the library has it."""

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> object: ...


class Client(Protocol):
    """A library, with the event loop that it is run on.

    Attributes:
        is_limit: Whether it looks at nothing that it receives, so that there is nothing to check.
        compresses: Whether it has permessage-deflate.
    """

    is_limit: bool
    compresses: bool

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any: ...

    def connect(
        self, url: str, ssl_context: ssl.SSLContext | None, *, compress: bool
    ) -> AbstractAsyncContextManager[Connection]: ...

    def content(self, received: Any) -> str | bytes: ...

    async def together(self, functions: list[Callable[[], Awaitable[Any]]]) -> None: ...

    async def sleep(self, seconds: float) -> None: ...


def load(name: str) -> Client:
    """Make the client of that name; the libraries of the others are not imported."""
    return CLIENTS[name]()


class Adapted:
    """A connection whose methods have other names in its library."""

    def __init__(self, send: Any, receive: Any) -> None:
        self.send = send
        self.receive = receive


# The event loops


class OnLoop:
    """What all clients have in common."""

    is_limit = False
    compresses = True

    def content(self, received: Any) -> Any:
        """Return the text or the bytes of what `receive` has returned."""
        return received


class OnTrio(OnLoop):
    """Trio."""

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        return trio.run(main)

    async def together(self, functions: list[Callable[[], Awaitable[Any]]]) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class OnAsyncio(OnLoop):
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
        return import_module("uvloop").run(main())


# On Trio


class TrioWsclient(OnTrio):
    """This library."""

    def __init__(self) -> None:
        self._open = import_module("trio_wsclient").open_websocket_client

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):
        compression = "deflate" if compress else None
        async with self._open(
            url, ssl_context=ssl_context, compression=compression, max_message_size=None
        ) as ws:
            yield ws


class TrioWebsocket(OnTrio):
    """trio-websocket."""

    compresses = False

    def __init__(self) -> None:
        self._open = import_module("trio_websocket").open_websocket_url

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):  # noqa: ARG002 it has no compression
        async with self._open(
            url, ssl_context=ssl_context, max_message_size=2**30, message_queue_size=16
        ) as ws:
            yield Adapted(ws.send_message, ws.get_message)


class RawTrio(OnTrio):
    """Trio's streams with nothing on top, as the limit: bytes are counted, not looked at.

    It knows what size the messages have, parses nothing, makes no messages, masks with zeros, and
    believes any answer to its handshake. Each message is a write of its own, so that clients which
    gather some before they write can be faster in sending.
    """

    is_limit = True
    compresses = False

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):  # noqa: ARG002 it has no compression
        parts = urlsplit(url)
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        if ssl_context is not None:
            stream = trio.SSLStream(
                stream, ssl_context, server_hostname=parts.hostname, https_compatible=True
            )
        async with stream:
            await stream.send_all(
                f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some(_READ_SIZE)
            _, _, first_frames = answer.partition(b"\r\n\r\n")
            flood_size = int(dict(parse_qsl(parts.query)).get("size", 0))
            yield _RawConnection(stream, flood_size, len(first_frames))
            await stream.send_all(b"\x88\x80" + _MASK)
            while await stream.receive_some(_READ_SIZE):
                pass  # The server closes, as RFC 6455 §7.1.1 has it.


_HEADER_SIZES = ((126, 2), (65_536, 4), (2**63, 10))
_MASK = b"\0\0\0\0"
_READ_SIZE = 262_144  # bytes


def _header_size(size: int) -> int:
    return next(header for limit, header in _HEADER_SIZES if size < limit)


class _RawConnection:
    def __init__(self, stream, flood_size, credit):
        self._stream = stream
        self._frame_size = flood_size + _header_size(flood_size)
        self._credit = credit

    async def send(self, message):
        payload = message.encode() if isinstance(message, str) else message
        first_byte = 0x81 if isinstance(message, str) else 0x82
        size = len(payload)
        self._frame_size = size + _header_size(size)  # of the answer, which has no mask
        if size < 126:
            header = bytes([first_byte, 0x80 | size]) + _MASK
        elif size < 65_536:
            header = bytes([first_byte, 0x80 | 126]) + size.to_bytes(2, "big") + _MASK
        else:  # It is not copied only to be in one piece.
            header = bytes([first_byte, 0x80 | 127]) + size.to_bytes(8, "big") + _MASK
            await self._stream.send_all(header)
            await self._stream.send_all(payload)
            return
        await self._stream.send_all(header + payload)

    async def receive(self):
        while self._credit < self._frame_size:
            data = await self._stream.receive_some(_READ_SIZE)
            if not data:
                raise trio.EndOfChannel
            self._credit += len(data)
        self._credit -= self._frame_size


# With the interface of websockets


class _LikeWebsockets:
    library = ""  # the module that has `connect`

    def __init__(self) -> None:
        self._connect = import_module(self.library).connect

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):
        async with self._connect(
            url,
            ssl=ssl_context,
            compression="deflate" if compress else None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        ) as ws:
            yield Adapted(ws.send, ws.recv)


class WebsocketsTrio(_LikeWebsockets, OnTrio):
    """websockets.trio."""

    library = "websockets.trio.client"


class WebsocketsAsyncio(_LikeWebsockets, OnAsyncio):
    """websockets on asyncio."""

    library = "websockets.asyncio.client"


class PicowsUvloop(_LikeWebsockets, OnUvloop):
    """picows, its coroutine API."""

    library = "picows.websockets.asyncio.client"


# aiohttp


class AiohttpUvloop(OnUvloop):
    """aiohttp on uvloop; one session for all connections, as its documentation asks for."""

    def run(self, main):
        aiohttp = import_module("aiohttp")

        async def with_session():
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as self._session:
                await main()

        super().run(with_session)

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):
        async with self._session.ws_connect(
            url, ssl=ssl_context or True, compress=15 if compress else 0, max_msg_size=0
        ) as ws:

            async def send(message):
                if isinstance(message, str):
                    await ws.send_str(message)
                else:
                    await ws.send_bytes(message)

            yield Adapted(send, ws.receive)

    def content(self, received):
        return received.data


CLIENTS: dict[str, Callable[[], Client]] = {
    "trio_wsclient": TrioWsclient,
    "trio_websocket": TrioWebsocket,
    "websockets_trio": WebsocketsTrio,
    "websockets_asyncio": WebsocketsAsyncio,
    "aiohttp_uvloop": AiohttpUvloop,
    "picows_uvloop": PicowsUvloop,
    "raw_trio": RawTrio,
}
