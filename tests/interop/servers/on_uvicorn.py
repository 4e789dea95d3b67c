"""uvicorn; the variant is its WebSocket implementation."""

import asyncio

import uvicorn

from . import MAX_MESSAGE_SIZE, PING_INTERVAL, Listeners
from .asgi_app import app


async def _serve(variant: str, listeners: Listeners) -> None:
    def server(certificate: str | None) -> uvicorn.Server:
        return uvicorn.Server(
            uvicorn.Config(
                app,
                ws=variant,
                ws_max_size=MAX_MESSAGE_SIZE,
                ws_ping_interval=PING_INTERVAL,
                lifespan="off",
                log_config=None,
                ssl_certfile=certificate,
                ssl_keyfile=certificate,
            )
        )

    await asyncio.gather(
        server(None).serve(sockets=[listeners.ws]),
        server(listeners.certificate).serve(sockets=[listeners.wss]),
    )


def serve(variant: str, listeners: Listeners) -> None:
    asyncio.run(_serve(variant, listeners))
