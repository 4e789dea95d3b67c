import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def archive(peer: Peer) -> None:
    stored = await peer.receive()
    assert isinstance(stored, bytes)
    await peer.send(f"stored {len(stored):,} bytes")
    await peer.send(bytes(3_000_000), fragment_size=1_000_000)


async def main() -> None:
    async with (
        open_loopback_server(archive) as server,
        open_websocket_client(server.url, max_message_size=None) as ws,
    ):
        async with ws.binary_writer() as writer:
            for _ in range(4):
                await writer.write(bytes(500_000))  # as it is made, or read from a file
        print(await ws.receive())

        async for frame in ws.frames():
            print(f"{len(frame.payload):,} bytes")
            if frame.fin:
                break


trio.run(main)
