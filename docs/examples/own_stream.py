"""Talk to a server at another address than that of its name, as in a test of a new machine."""

import trio

from trio_wsclient import open_websocket_client

ADDRESS = ("192.0.2.7", 80)


async def main() -> None:
    stream = await trio.open_tcp_stream(*ADDRESS)
    async with open_websocket_client("ws://example.org/echo", stream=stream) as ws:
        await ws.send("Hello, Trio!")
        print(await ws.receive())


trio.run(main)
