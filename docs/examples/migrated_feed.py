"""Print what comes, and say how it ended."""

import trio

from trio_wsclient import ConnectionClosed, HandshakeError, open_websocket_client


async def main() -> None:
    try:
        async with open_websocket_client("wss://example.org/feed") as ws:
            await ws.send("subscribe")
            try:
                while True:
                    print(await ws.receive())
            except ConnectionClosed as exc:
                print("closed:", exc.code, exc.reason)
    except HandshakeError as exc:
        print("it did not open:", exc)


trio.run(main)
