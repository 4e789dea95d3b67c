"""A client meets a message of 1 GiB in 1 MiB; prints seconds, growth in MiB and the Close code."""

from __future__ import annotations

import resource
import sys
import time
import zlib

import trio
import wire
from scripted_server import Peer, memory_server

from trio_wsclient import ConnectionClosedError, open_websocket_client


def peak() -> float:
    """Return the peak of this process's memory in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    mebibyte = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return wire.frame(wire.BINARY, mebibyte * 1024, rsv=4)


async def main() -> None:
    data = bomb()

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.send(wire.frame(wire.TEXT, b"\0", rsv=4))  # what is loaded once is loaded
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, peer)
            code = await peer.expect_close()
            nursery.cancel_scope.cancel()
        await peer.send(wire.close(code))
        await peer.stream.aclose()

    async def send(peer: Peer) -> None:
        await go.wait()
        await peer.send(data)

    go = trio.Event()
    async with memory_server(script) as stream:
        async with open_websocket_client("ws://x/", stream=stream, compression="deflate") as ws:
            assert await ws.receive() == ""
            before, started = peak(), time.perf_counter()
            go.set()
            try:
                await ws.receive()
            except ConnectionClosedError as error:
                seconds = time.perf_counter() - started
                print(f"{seconds:.3f} {peak() - before:.2f} {error.sent.code}")


trio.run(main)
