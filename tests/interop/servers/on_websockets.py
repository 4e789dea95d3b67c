"""websockets' asyncio server."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from functools import partial
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import (
    MAX_MESSAGE_SIZE,
    REJECTION_BODY,
    REJECTION_HEADERS,
    REJECTION_STATUS,
    SUBPROTOCOL,
    Listeners,
)


async def _echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def _parts(ws: ServerConnection) -> None:
    parts = [part async for part in ws.recv_streaming()]
    await ws.send(json.dumps(parts))


async def _fragments(ws: ServerConnection) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "frag"
        await (await ws.ping())
        yield "men"
        yield "ted"

    await ws.send(parts())


async def _ping(ws: ServerConnection) -> None:
    pong = await ws.ping(b"anybody there?")
    # The library hands over a pong only if its payload is the ping's.
    await pong
    await ws.send("PONG anybody there?")


async def _close(ws: ServerConnection, code: int, reason: str) -> None:
    await ws.send("last words")
    await ws.close(code, reason)


async def _crash(ws: ServerConnection) -> None:
    await ws.send("last words")
    raise RuntimeError("the handler crashed, as it was asked to")


async def _abort(ws: ServerConnection) -> None:
    await ws.send("last words")
    await ws.recv()
    # No linger: the kernel sends a reset instead of a FIN.
    linger = struct.pack("ii", 1, 0)
    ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    ws.transport.abort()


async def _handle(ws: ServerConnection) -> None:
    assert ws.request is not None
    url = urlsplit(ws.request.path)
    try:
        match url.path:
            case "/echo":
                await _echo(ws)
            case "/parts":
                await _parts(ws)
            case "/fragments":
                await _fragments(ws)
            case "/ping":
                await _ping(ws)
            case "/close":
                query = parse_qs(url.query)
                await _close(ws, int(query["code"][0]), query["reason"][0])
            case "/crash":
                await _crash(ws)
            case "/abort":
                await _abort(ws)
    except ConnectionClosed:
        pass


def _refuse(ws: ServerConnection, request: Request) -> Response | None:
    if request.path != "/refuse":
        return None
    response = ws.respond(REJECTION_STATUS, REJECTION_BODY)
    response.headers.update(REJECTION_HEADERS)
    return response


def _select_subprotocol(
    _ws: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


async def _serve(listeners: Listeners) -> None:
    server = partial(
        websockets_serve,
        _handle,
        process_request=_refuse,
        select_subprotocol=_select_subprotocol,
        max_size=MAX_MESSAGE_SIZE,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(listeners.certificate)
    async with server(sock=listeners.ws), server(sock=listeners.wss, ssl=tls):
        await asyncio.Event().wait()


def serve(_variant: str, listeners: Listeners) -> None:
    asyncio.run(_serve(listeners))
