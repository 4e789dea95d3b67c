"""Send and receive JSON as bytes: nothing is decoded but by the parser."""

import json

import trio

from trio_wsclient import open_websocket_client


async def main() -> None:
    async with open_websocket_client("wss://example.org/echo", decode_text=False) as ws:
        await ws.send_text(json.dumps({"answer": 42}).encode())
        message = await ws.receive()
        assert isinstance(message, bytes)
        print(json.loads(message))


trio.run(main)
