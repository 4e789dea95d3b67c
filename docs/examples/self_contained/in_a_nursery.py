from functools import partial

import trio

from trio_wsclient import WebSocketClient, run_websocket_client
from trio_wsclient.testing import open_loopback_server


async def greet(name: str, ws: WebSocketClient) -> None:
    await ws.send(f"Hello, {name}!")
    print(await ws.receive())


async def main() -> None:
    async with open_loopback_server() as server:
        async with trio.open_nursery() as nursery:
            run = partial(run_websocket_client, server.url, open_timeout=5)
            nursery.start_soon(run, partial(greet, "Ada"))
        print("the connection is closed")


trio.run(main)
