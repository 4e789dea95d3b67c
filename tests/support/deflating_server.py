"""A server that has agreed to permessage-deflate (RFC 7692), on a whole connection."""

from __future__ import annotations

import zlib

import trio
import wire
from scripted_server import Peer

from trio_wsclient import open_websocket_client

RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
EXTENSIONS = "Sec-WebSocket-Extensions: permessage-deflate"


def raw(data: bytes, *, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Compress for a message of its own."""
    compressor = zlib.compressobj(wbits=-15)
    flushed = compressor.compress(data) + compressor.flush(mode)
    return flushed.removesuffix(TAIL) if mode == zlib.Z_SYNC_FLUSH else flushed


def compressed(data: bytes, opcode: int = wire.TEXT) -> bytes:
    return wire.frame(opcode, raw(data), rsv=RSV1)


class Says:
    """A server that accepts compression, sends some bytes, and takes frames until the Close."""

    def __init__(self, data: bytes, answer: str = EXTENSIONS) -> None:
        self.data = data
        self.answer = answer
        self.frames: list[wire.ClientFrame] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.accept(self.answer)
        if self.data:
            await peer.send(self.data)
        while (frame := await peer.next_frame()) is not None:
            self.frames.append(frame)
            if frame.opcode == wire.CLOSE:
                await peer.send(wire.frame(wire.CLOSE, frame.payload))
                await peer.stream.aclose()
                break

    @property
    def code(self) -> int | None:
        return self.frames[-1].code


def opened(stream: trio.abc.Stream, **options: object):
    return open_websocket_client("ws://x/", stream=stream, compression="deflate", **options)
