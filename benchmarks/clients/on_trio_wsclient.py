"""trio_wsclient."""

from contextlib import asynccontextmanager

from trio_wsclient import open_websocket_client

from .loops import OnTrio


class _Client(OnTrio):
    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):
        async with open_websocket_client(
            url,
            ssl_context=ssl_context,
            compression="deflate" if compress else None,
            max_message_size=None,
        ) as ws:
            yield ws


CLIENT = _Client()
