"""aiohttp's server."""

import asyncio
import socket
import ssl
import struct

from aiohttp import WSMsgType, web

from . import (
    MAX_MESSAGE_SIZE,
    REJECTION_BODY,
    REJECTION_HEADERS,
    REJECTION_STATUS,
    SUBPROTOCOL,
    Listeners,
)


async def _accept(request: web.Request, *, autoping: bool = True) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(
        protocols=[SUBPROTOCOL], max_msg_size=MAX_MESSAGE_SIZE, autoping=autoping
    )
    await ws.prepare(request)
    return ws


async def _echo(request: web.Request) -> web.WebSocketResponse:
    ws = await _accept(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


async def _ping(request: web.Request) -> web.WebSocketResponse:
    ws = await _accept(request, autoping=False)
    await ws.ping(b"anybody there?")
    pong = await ws.receive()
    await ws.send_str(f"{pong.type.name} {pong.data.decode()}")
    return ws


async def _close(request: web.Request) -> web.WebSocketResponse:
    ws = await _accept(request)
    await ws.send_str("last words")
    await ws.close(code=int(request.query["code"]), message=request.query["reason"].encode())
    return ws


async def _refuse(request: web.Request) -> web.Response:
    rejection = web.Response(
        status=REJECTION_STATUS, headers=REJECTION_HEADERS, text=REJECTION_BODY
    )
    await rejection.prepare(request)
    return rejection


async def _crash(request: web.Request) -> web.WebSocketResponse:
    ws = await _accept(request)
    await ws.send_str("last words")
    raise RuntimeError("the handler crashed, as it was asked to")


async def _abort(request: web.Request) -> web.WebSocketResponse:
    ws = await _accept(request)
    await ws.send_str("last words")
    await ws.receive()
    assert isinstance(request.transport, asyncio.Transport)
    # No linger: the kernel sends a reset instead of a FIN.
    linger = struct.pack("ii", 1, 0)
    request.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger
    )
    request.transport.abort()
    return ws


async def _serve(listeners: Listeners) -> None:
    application = web.Application()
    application.add_routes(
        [
            web.get("/echo", _echo),
            web.get("/ping", _ping),
            web.get("/close", _close),
            web.get("/refuse", _refuse),
            web.get("/crash", _crash),
            web.get("/abort", _abort),
        ]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(listeners.certificate)
    await web.SockSite(runner, listeners.ws).start()
    await web.SockSite(runner, listeners.wss, ssl_context=tls).start()
    await asyncio.Event().wait()


def serve(_variant: str, listeners: Listeners) -> None:
    asyncio.run(_serve(listeners))
