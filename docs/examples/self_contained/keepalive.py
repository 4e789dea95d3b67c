import trio

from trio_wsclient import ConnectionClosedError, open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def fall_asleep(peer: Peer) -> None:
    await peer.send("I am here")
    peer.stall()  # From now on it reads nothing, so it answers no ping.
    await trio.sleep_forever()


async def main() -> None:
    async with open_loopback_server(fall_asleep) as server:
        try:
            async with open_websocket_client(
                server.url, ping_interval=0.2, ping_timeout=0.3, close_timeout=1
            ) as ws:
                async for message in ws:
                    print(message)
        except ConnectionClosedError as exc:
            print(exc)


trio.run(main)
