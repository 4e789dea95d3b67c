import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def main() -> None:
    async with open_loopback_server() as server:  # it sends everything back
        async with open_websocket_client(server.url) as ws:
            await ws.send("Hello, Trio!")
            print(await ws.receive())


trio.run(main)
