"""A chat at a terminal: what is typed goes out, and what the others say is printed meanwhile."""

import trio

from trio_wsclient import WebSocketClient, open_websocket_client


async def speak(ws: WebSocketClient) -> None:
    try:
        while True:
            await ws.send(await trio.to_thread.run_sync(input, abandon_on_cancel=True))
    except EOFError:
        await ws.aclose(1000, "good night")


async def main() -> None:
    async with (
        open_websocket_client("wss://example.org/chat", subprotocols=["chat"]) as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(speak, ws)
        async for message in ws:
            print(message)
        nursery.cancel_scope.cancel()


trio.run(main)
