"""Send a message in fragments, and take one as its fragments come."""

import trio

from trio_wsclient import Opcode, open_websocket_client


async def main() -> None:
    async with open_websocket_client("wss://example.org/echo") as ws:
        async with ws.text_writer() as writer:
            for part in ("one, ", "two"):
                await writer.write(part)
        async for frame in ws.frames():
            kind = "text" if frame.opcode is Opcode.TEXT else "continuation"
            print(kind, frame.payload, "last" if frame.fin else "more")
            if frame.fin:
                break


trio.run(main)
