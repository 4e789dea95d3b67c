"""Hypercorn; the variant is its worker class."""

import asyncio
from functools import partial
from typing import Any

import hypercorn.asyncio
import hypercorn.trio
import trio
from hypercorn.config import Config

from . import MAX_MESSAGE_SIZE, PING_INTERVAL, Listeners
from .asgi_app import app


def serve(variant: str, listeners: Listeners) -> None:
    config = Config()
    config.insecure_bind = [f"fd://{listeners.ws.fileno()}"]
    config.bind = [f"fd://{listeners.wss.fileno()}"]
    config.certfile = config.keyfile = listeners.certificate
    config.websocket_max_message_size = MAX_MESSAGE_SIZE
    config.websocket_ping_interval = PING_INTERVAL
    application: Any = app
    match variant:
        case "asyncio":
            asyncio.run(hypercorn.asyncio.serve(application, config))
        case "trio":
            trio.run(partial(hypercorn.trio.serve, application, config))
