import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def main() -> None:
    async with (
        open_loopback_server() as server,
        open_websocket_client(server.url) as ws,
    ):
        for _ in range(10):
            await ws.send("ping-pong")
            await ws.receive()
        await ws.ping()
        now = ws.statistics()
        print(now.messages_sent, "messages sent,", now.messages_received, "received")
        print(now.bytes_sent, "bytes written,", now.bytes_received, "read")
        print("latency known:", now.latency is not None)


trio.run(main)
