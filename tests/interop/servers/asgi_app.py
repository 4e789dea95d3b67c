"""The ASGI application that uvicorn and hypercorn serve; it knows no event loop."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from . import REJECTION_BODY, REJECTION_HEADERS, REJECTION_STATUS, SUBPROTOCOL

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()  # websocket.connect
    if scope["path"] == "/refuse":
        await _refuse(send)
        return
    await send({"type": "websocket.accept", "subprotocol": _subprotocol(scope)})
    match scope["path"]:
        case "/echo":
            await _echo(receive, send)
        case "/quiet":
            await receive()
        case "/close":
            await send({"type": "websocket.send", "text": "last words"})
            query = parse_qs(scope["query_string"].decode())
            await send(
                {
                    "type": "websocket.close",
                    "code": int(query["code"][0]),
                    "reason": query["reason"][0],
                }
            )
        case "/crash":
            await send({"type": "websocket.send", "text": "last words"})
            raise RuntimeError("the application crashed, as it was asked to")


def _subprotocol(scope: Message) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None


async def _echo(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send(
            {"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")}
        )


async def _refuse(send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in REJECTION_HEADERS.items()]
    await send(
        {"type": "websocket.http.response.start", "status": REJECTION_STATUS, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": REJECTION_BODY.encode()})
