import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def slow(peer: Peer) -> None:
    async for message in peer:
        await trio.sleep(0.2 if message == "quick" else 60)
        await peer.send(message)


async def main() -> None:
    async with (
        open_loopback_server(slow) as server,
        open_websocket_client(server.url, open_timeout=5, close_timeout=0.5) as ws,
    ):
        for question in ("quick", "slow"):
            await ws.send(question)
            with trio.move_on_after(2) as scope:  # a cancelled receive takes nothing
                print("answered:", await ws.receive())
            if scope.cancelled_caught:
                print("no answer within two seconds")


trio.run(main)
