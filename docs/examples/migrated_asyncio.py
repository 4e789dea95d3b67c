"""Two tasks on one connection, a timeout for each answer, and the defaults of websockets."""

import trio

from trio_wsclient import WebSocketClient, open_websocket_client


async def ask(ws: WebSocketClient) -> None:
    for number in range(3):
        await ws.send(f"question {number}")


async def main() -> None:
    async with (
        open_websocket_client(
            "wss://example.org/echo",
            ping_interval=20,
            compression="deflate",
            proxy="environment",
            max_redirects=9,
        ) as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, ws)
        for _ in range(3):
            with trio.fail_after(5):
                print(await ws.receive())


trio.run(main)
