"""A last message when the block is cancelled, by a deadline here or by Ctrl-C, in bounded time."""

import trio

from trio_wsclient import open_websocket_client


async def main() -> None:
    with trio.move_on_after(0.2):
        async with open_websocket_client("wss://example.org/presence") as ws:
            try:
                await ws.send("here I am")
                await trio.sleep_forever()
            finally:
                # Cancelled, nothing can wait; shielded it can, so it has to have a deadline.
                with trio.move_on_after(1, shield=True):
                    await ws.send("goodbye")
                    await ws.aclose(1001)


trio.run(main)
