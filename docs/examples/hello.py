import trio

from trio_wsclient import open_websocket_client


async def main() -> None:
    async with open_websocket_client("wss://example.org/echo") as ws:
        await ws.send("Hello, Trio!")
        print(await ws.receive())


trio.run(main)
