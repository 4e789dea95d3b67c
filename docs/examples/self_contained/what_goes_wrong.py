import trio

from trio_wsclient import ConnectionClosedError, ConnectionRejected, open_websocket_client
from trio_wsclient.testing import Peer, Request, open_loopback_server


def refuse(request: Request) -> int | None:
    return 401 if request.target == "/secret" else None


async def vanish(peer: Peer) -> None:
    await peer.send("one price")
    await peer.cut()


async def main() -> None:
    async with open_loopback_server(vanish, refuse=refuse) as server:
        try:
            async with open_websocket_client(server.url + "secret"):
                print("not reached")
        except ConnectionRejected as exc:
            print("did not open:", exc)

        try:
            async with open_websocket_client(server.url) as ws:
                async for price in ws:
                    print(price)
        except ConnectionClosedError as exc:
            print("broke off:", exc.code, exc)


trio.run(main)
