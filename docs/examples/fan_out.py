"""One feed, several consumers: one that must have everything, one that wants only the latest.

If the consumer that must have everything is slow, it slows the server down: messages wait in its
channel, then in the client up to ``max_buffered_bytes``, then in TCP.
"""

import trio

from trio_wsclient import open_websocket_client

Message = str | bytes


async def store(messages: trio.MemoryReceiveChannel[Message]) -> None:
    stored = 0
    async for _ in messages:
        await trio.sleep(0.01)  # a slow disk
        stored += 1
    print("stored", stored)


async def display(messages: trio.MemoryReceiveChannel[Message]) -> None:
    latest: Message = ""
    async for message in messages:
        latest = message
        await trio.sleep(0.1)  # nobody reads faster
    print("shown last:", latest)


async def main() -> None:
    to_store, stored = trio.open_memory_channel[Message](10)
    to_display, displayed = trio.open_memory_channel[Message](1)
    async with (
        trio.open_nursery() as nursery,
        to_store,
        to_display,
        open_websocket_client("wss://example.org/feed") as ws,
    ):
        nursery.start_soon(store, stored)
        nursery.start_soon(display, displayed)
        await ws.send("subscribe")
        async for message in ws:
            await to_store.send(message)
            try:
                to_display.send_nowait(message)
            except trio.WouldBlock:
                displayed.receive_nowait()  # an older one, that nobody has looked at
                to_display.send_nowait(message)


trio.run(main)
