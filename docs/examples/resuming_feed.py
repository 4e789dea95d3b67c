"""A feed of numbered trades: after each break it goes on after the last trade that was seen."""

import json

import trio

from trio_wsclient import reconnecting


async def main() -> None:
    last = 0
    async for connection in reconnecting("wss://example.org/trades", ping_interval=20):
        async with connection as ws:
            if connection.last_error is not None:
                print("back after:", connection.last_error)
            await ws.send(json.dumps({"subscribe": "trades", "after": last}))
            async for message in ws:
                trade = json.loads(message)
                last = trade["number"]
                print(last, trade["price"])


trio.run(main)
