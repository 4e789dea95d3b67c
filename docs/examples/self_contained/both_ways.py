import trio

from trio_wsclient import WebSocketClient, open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def ask(ws: WebSocketClient) -> None:
    for number in range(3):
        await ws.send(f"question {number}")


async def main() -> None:
    async with (
        open_loopback_server() as server,
        open_websocket_client(server.url) as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, ws)
        for _ in range(3):
            print(await ws.receive())


trio.run(main)
