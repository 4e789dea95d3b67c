"""trio-websocket."""

from contextlib import asynccontextmanager

from trio_websocket import open_websocket_url

from .loops import OnTrio


class _Connection:
    def __init__(self, ws):
        self.send = ws.send_message
        self.receive = ws.get_message


class _Client(OnTrio):
    compresses = False

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):  # noqa: ARG002 it has no compression
        async with open_websocket_url(
            url, ssl_context=ssl_context, max_message_size=2**30, message_queue_size=16
        ) as ws:
            yield _Connection(ws)


CLIENT = _Client()
