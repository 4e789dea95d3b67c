"""websockets on asyncio."""

from contextlib import asynccontextmanager

from websockets.asyncio.client import connect

from .loops import OnAsyncio


class _Connection:
    def __init__(self, ws):
        self.send = ws.send
        self.receive = ws.recv


class _Client(OnAsyncio):
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
