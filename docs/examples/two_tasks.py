"""Send in one task and receive in another, so that neither has to wait for the other."""

import trio

from trio_wsclient import WebSocketClient, open_websocket_client


async def ask(ws: WebSocketClient) -> None:
    for number in range(3):
        await ws.send(f"question {number}")


async def main() -> None:
    async with (
        open_websocket_client("wss://example.org/echo") as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, ws)
        for _ in range(3):
            print(await ws.receive())


trio.run(main)
