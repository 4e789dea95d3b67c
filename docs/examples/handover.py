"""A feed without a gap, though its server ends each connection after 24 hours."""

import json
from collections.abc import Callable
from contextlib import suppress

import trio

from trio_wsclient import ConnectionClosed, WebSocketClient, run_websocket_client


async def open_feed(nursery: trio.Nursery, url: str) -> WebSocketClient:
    """Open a connection that lives until it is closed, and subscribe."""
    ws: WebSocketClient = await nursery.start(
        run_websocket_client, url, WebSocketClient.wait_closed
    )
    await ws.send("subscribe")
    confirmation = await ws.receive_text()
    assert confirmation == "subscribed", confirmation
    return ws


async def follow(url: str, renew_after: float, handle: Callable[[int], None]) -> None:
    """Call ``handle`` once for each number, in order, and change the connection meanwhile."""
    last = 0
    async with trio.open_nursery() as nursery:
        ws = await open_feed(nursery, url)
        while True:
            renewed: list[WebSocketClient] = []

            async def renew(old: WebSocketClient, renewed: list[WebSocketClient]) -> None:
                await trio.sleep(renew_after)
                renewed.append(await open_feed(nursery, url))
                # From here on the server sends everything on the new connection, too. The pong
                # comes after what it has sent on the old one before.
                with suppress(ConnectionClosed):
                    await old.ping()
                    await old.aclose()

            nursery.start_soon(renew, ws, renewed)
            async for message in ws:  # ends after aclose, when all that had arrived is taken
                number = json.loads(message)["number"]
                if number > last:  # Both connections have the messages of the overlap.
                    last = number
                    handle(number)
            if not renewed:
                raise ConnectionError("the server ended the feed before it was renewed")
            ws = renewed[0]


async def main() -> None:
    await follow("wss://example.org/feed", 23 * 3600, print)


if __name__ == "__main__":
    trio.run(main)
