import trio
from trio_websocket import connect_websocket_url


async def main():
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            ws = await connect_websocket_url(nursery, "wss://example.org/echo")
        await ws.send_message("Hello, Trio!")
        print(await ws.get_message())
        await ws.aclose()


trio.run(main)
