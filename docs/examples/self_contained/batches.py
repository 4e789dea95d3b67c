import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def count(peer: Peer) -> None:
    for _ in range(1000):
        await peer.receive()
    for number in range(1000):
        await peer.send(str(number))


async def main() -> None:
    async with (
        open_loopback_server(count) as server,
        open_websocket_client(server.url) as ws,
    ):
        await ws.send_many(f"order {number}" for number in range(1000))  # in a few writes
        taken = 0
        while taken < 1000:
            batch = await ws.receive_batch()  # all that are here, one at least
            taken += len(batch)
        print(taken, batch[-1])


trio.run(main)
