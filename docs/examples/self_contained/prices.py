import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def sell(peer: Peer) -> None:
    """The server: when somebody subscribes, it sends three prices, and closes."""
    assert await peer.receive() == "subscribe"
    for price in ("101", "99", "103"):
        await peer.send(price)
    await peer.close(1000, "market closed")


async def main() -> None:
    async with open_loopback_server(sell) as server:
        async with open_websocket_client(server.url) as ws:
            await ws.send("subscribe")
            async for price in ws:
                print(price)
        print("over:", await ws.wait_closed())


trio.run(main)
