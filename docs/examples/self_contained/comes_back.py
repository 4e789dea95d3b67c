import trio

from trio_wsclient import reconnecting
from trio_wsclient.testing import Peer, open_loopback_server

visits = iter(range(1, 4))


async def unreliable(peer: Peer) -> None:
    """The server: it vanishes twice, and only then says that this is all."""
    visit = next(visits)
    await peer.send(f"visit {visit}")
    if visit < 3:
        await peer.cut()
    else:
        await peer.send("that was all")


async def main() -> None:
    async with open_loopback_server(unreliable) as server:
        async for connection in reconnecting(server.url, first_delay=0.1):
            async with connection as ws:
                if connection.last_error is not None:
                    print("back after:", connection.last_error)
                async for message in ws:
                    print(message)
                    if message == "that was all":
                        return


trio.run(main)
