"""Open a connection in a nursery, use it, and close it when there is no more use for it."""

from functools import partial

import trio

from trio_wsclient import WebSocketClient, run_websocket_client


async def until_closed(ws: WebSocketClient) -> None:
    await ws.wait_closed()


async def main() -> None:
    async with trio.open_nursery() as nursery:
        connect = partial(run_websocket_client, open_timeout=30)
        ws: WebSocketClient = await nursery.start(connect, "wss://example.org/echo", until_closed)
        await ws.send("Hello, Trio!")
        print(await ws.receive())
        await ws.aclose()


trio.run(main)
