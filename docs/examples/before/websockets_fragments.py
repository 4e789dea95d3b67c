import trio
from websockets.trio.client import connect


async def main():
    async with connect("wss://example.org/echo") as websocket:
        await websocket.send(["one, ", "two"])
        async for part in websocket.recv_streaming():
            print(part)


trio.run(main)
