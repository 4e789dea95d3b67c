import asyncio

from websockets.asyncio.client import connect


async def ask(websocket):
    for number in range(3):
        await websocket.send(f"question {number}")


async def main():
    async with connect("wss://example.org/echo") as websocket:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(websocket))
            for _ in range(3):
                async with asyncio.timeout(5):
                    print(await websocket.recv())


asyncio.run(main())
