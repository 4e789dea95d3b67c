"""aiohttp on uvloop; one session for all connections, as its documentation asks for."""

from contextlib import asynccontextmanager

import aiohttp

from .loops import OnUvloop


class _Connection:
    def __init__(self, ws):
        self._ws = ws
        self.receive = ws.receive

    async def send(self, message):
        if isinstance(message, str):
            await self._ws.send_str(message)
        else:
            await self._ws.send_bytes(message)


class _Client(OnUvloop):
    def run(self, main):
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
            yield _Connection(ws)

    def content(self, received):
        return received.data


CLIENT = _Client()
