"""picows, its coroutine API, on uvloop."""

from contextlib import asynccontextmanager

from picows.websockets.asyncio.client import connect

from .loops import OnUvloop


class _Connection:
    def __init__(self, ws):
        self.send = ws.send
        self.receive = ws.recv


class _Client(OnUvloop):
    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):
        async with connect(
            url,
            ssl=ssl_context,
            compression="deflate" if compress else None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        ) as ws:
            yield _Connection(ws)


CLIENT = _Client()
