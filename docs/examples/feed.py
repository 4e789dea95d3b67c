"""Subscribe to a feed and print it, until the server closes normally."""

import trio

from trio_wsclient import ConnectionClosedError, HandshakeError, open_websocket_client


async def main() -> None:
    try:
        async with open_websocket_client("wss://example.org/feed", ping_interval=20) as ws:
            await ws.send("subscribe")
            async for message in ws:
                print(message)
    except HandshakeError as exc:
        print("it did not open:", exc)
    except ConnectionClosedError as exc:
        print("it broke off:", exc)


trio.run(main)
