"""Talk to a server by way of a proxy that wants a password."""

import trio

from trio_wsclient import ProxyError, open_websocket_client

PROXY = "http://user:password@proxy.example:8080"


async def main() -> None:
    try:
        async with open_websocket_client("wss://example.org/echo", proxy=PROXY) as ws:
            await ws.send("Hello, Trio!")
            print(await ws.receive())
    except ProxyError as exc:
        print("no tunnel:", exc.status_code, exc)


trio.run(main)
