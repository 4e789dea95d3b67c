import json
from typing import Any

import trio

from trio_wsclient import TypedChannel, UnexpectedMessage, open_websocket_client
from trio_wsclient.testing import Peer, open_loopback_server


async def quote(peer: Peer) -> None:
    async for message in peer:
        symbol = json.loads(message)["subscribe"]
        await peer.send(json.dumps({"symbol": symbol, "price": 42.5}))
        await peer.send("not JSON")


async def main() -> None:
    async with (
        open_loopback_server(quote) as server,
        open_websocket_client(server.url) as ws,
    ):
        channel: TypedChannel[Any] = TypedChannel(ws, encode=json.dumps, decode=json.loads)
        await channel.send({"subscribe": "BTC"})
        print(await channel.receive())
        try:
            print(await channel.receive())
        except UnexpectedMessage as exc:
            print(exc, exc.message, sep=": ")


trio.run(main)
