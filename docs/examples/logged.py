"""Show on standard error what happens, to the last frame."""

import logging

import trio

from trio_wsclient import open_websocket_client

logging.basicConfig(level=5, format="%(name)s %(message)s")


async def main() -> None:
    async with open_websocket_client("wss://example.org/echo") as ws:
        await ws.send("Hello, Trio!")
        print(await ws.receive())


trio.run(main)
