import socket

import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def main() -> None:
    async with open_loopback_server() as server:

        async def open_stream(host: str, port: int) -> trio.SocketStream:
            print(f"asked for {host} port {port}")
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return stream

        url = "ws://service.internal/feed"
        async with open_websocket_client(url, open_stream=open_stream) as ws:
            await ws.send("hello")
            print(await ws.receive())


trio.run(main)
