"""Compress where the server agrees, and see what it saves."""

import json

import trio

from trio_wsclient import PerMessageDeflate, open_websocket_client


async def main() -> None:
    compression = PerMessageDeflate(level=9, min_size=64)
    async with open_websocket_client("wss://example.org/feed", compression=compression) as ws:
        print("agreed on:", ws.extensions)
        await ws.send(json.dumps({"subscribe": ["trades"] * 50}))
        now = ws.statistics()
        print(now.uncompressed_bytes_sent, "bytes became", now.bytes_sent)


trio.run(main)
