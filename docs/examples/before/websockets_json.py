import json

import trio
from websockets.trio.client import connect


async def main():
    async with connect("wss://example.org/echo") as websocket:
        await websocket.send(json.dumps({"answer": 42}).encode(), text=True)
        print(json.loads(await websocket.recv(decode=False)))


trio.run(main)
