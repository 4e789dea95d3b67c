"""An echo server that parses strictly and keeps what it has parsed, and the ways to reach it."""

from __future__ import annotations

import functools
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import trio
import trio.testing
import trustme
import wire
from scripted_server import Peer, loopback_server, memory_server, tls_of

Connected = tuple[str, dict[str, object]]  # URL and options
Transport = Callable[["StrictServer"], AbstractAsyncContextManager[Connected]]


def whole(message: str | bytes) -> list[wire.ClientFrame]:
    """Return the frame in which a message is sent."""
    if isinstance(message, str):
        return [wire.ClientFrame(wire.TEXT, message.encode())]
    return [wire.ClientFrame(wire.BINARY, message)]


def in_parts(*parts: str) -> list[wire.ClientFrame]:
    """Return the frames that a writer makes of the parts of a message."""
    opcodes = [wire.TEXT, *[wire.CONTINUATION] * len(parts)]
    payloads = [part.encode() for part in (*parts, "")]
    return [
        wire.ClientFrame(opcode, payload, fin=number == len(parts))
        for number, (opcode, payload) in enumerate(zip(opcodes, payloads, strict=True))
    ]


class StrictServer:
    """Pings, then echoes, each frame of data; answers pings and Close; keeps what it has parsed.

    It reads while it writes, and goes on reading when it can't write any more, or when it is mute.
    """

    def __init__(self) -> None:
        self.read_sizes: Iterator[int | None] = itertools.repeat(None)
        self._pings = itertools.count()
        self.frames: list[wire.ClientFrame] = []
        self.torn = b""
        self.mute = False
        self.started = False
        self.over = trio.Event()

    async def __call__(self, peer: Peer) -> None:
        self.started = True
        outgoing, replies = trio.open_memory_channel[bytes](1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, peer.stream, replies)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._read(peer.stream, outgoing)
            outgoing.close()
        await trio.aclose_forcefully(peer.stream)
        self.over.set()

    async def _read(self, stream: trio.abc.Stream, outgoing: trio.MemorySendChannel[bytes]) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = await stream.receive_some()
            if not data:
                return
            request += data
        outgoing.send_nowait(wire.answer(request))
        reader = wire.ClientFrameReader()
        data = request.partition(b"\r\n\r\n")[2]
        try:
            while True:
                for frame in reader.feed(data):
                    self.frames.append(frame)
                    if not self.mute:
                        outgoing.send_nowait(self._reply(frame))
                        if frame.opcode == wire.CLOSE:
                            self.mute = True
                            outgoing.close()
                data = await stream.receive_some(next(self.read_sizes))
                if not data:
                    return
        finally:
            self.torn = reader.pending

    def _reply(self, frame: wire.ClientFrame) -> bytes:
        if frame.opcode == wire.PONG:
            return b""
        if frame.opcode == wire.PING:
            return wire.pong(frame.payload)
        echo = wire.frame(frame.opcode, frame.payload, fin=frame.fin)
        return echo if frame.opcode == wire.CLOSE else wire.ping(b"%d" % next(self._pings)) + echo

    async def _write(
        self, stream: trio.abc.Stream, replies: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in replies:
                await stream.send_all(data)
            # RFC 6455 §7.1.1: the server ends TCP; where that can be done one way, it reads on.
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            else:
                await stream.aclose()

    def data(self) -> list[wire.ClientFrame]:
        return [frame for frame in self.frames if frame.opcode < wire.CLOSE]

    def messages(self) -> list[str | bytes]:
        """Return the complete messages, and check that none came between the parts of another."""
        messages: list[str | bytes] = []
        parts: list[wire.ClientFrame] = []
        for frame in self.data():
            assert (frame.opcode == wire.CONTINUATION) is bool(parts)
            parts.append(frame)
            if frame.fin:
                payload = b"".join(part.payload for part in parts)
                messages.append(payload.decode() if parts[0].opcode == wire.TEXT else payload)
                parts.clear()
        return messages

    def check(self, expected: list[wire.ClientFrame]) -> None:
        """Check that data came as expected, as far as it came."""
        data = self.data()
        assert data == expected[: len(data)]
        self.check_end(expected[len(data) : len(data) + 1])

    def check_end(self, following: list[wire.ClientFrame]) -> None:
        """Check that nothing came after a Close, or after a torn frame, one of `following`."""
        pongs = [int(frame.payload) for frame in self.frames if frame.opcode == wire.PONG]
        assert pongs == sorted(set(pongs))
        closes = [n for n, frame in enumerate(self.frames) if frame.opcode == wire.CLOSE]
        assert closes in ([], [len(self.frames) - 1]), "a Close is the last frame"
        if self.torn:
            assert not closes, "nothing comes after a Close"
            opcode, size, payload = _begun(self.torn)
            if opcode is not None and opcode < wire.CLOSE:
                # Anything that came after it would be in its payload.
                assert any(
                    (opcode, size) == (frame.opcode, len(frame.payload))
                    and frame.payload.startswith(payload)
                    for frame in following
                )


def _begun(torn: bytes) -> tuple[int | None, int, bytes]:
    """Return opcode, declared size and what has come of the payload of a frame that was cut."""
    head = next((size for size in (6, 8, 14) if _is_head(torn[:size], size)), None)
    if head is None:
        return None, 0, b""
    came = len(torn) - head
    size = int.from_bytes(torn[2 : head - 4], "big") if head > 6 else torn[1] & 0x7F
    (frame,) = wire.ClientFrameReader().feed(torn + bytes(size - came))
    return frame.opcode, size, frame.payload[:came]


def _is_head(data: bytes, size: int) -> bool:
    return len(data) == size == {126: 8, 127: 14}.get(data[1] & 0x7F, 6)


@asynccontextmanager
async def memory(server: StrictServer) -> AsyncIterator[Connected]:
    async with memory_server(server) as stream:
        yield "ws://server/", {"stream": stream}


@asynccontextmanager
async def lockstep(server: StrictServer) -> AsyncIterator[Connected]:
    """Connect by a stream whose writes end when all was read, in sips, so that they can be torn."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        server.read_sizes = itertools.cycle([3, 65536])
        nursery.start_soon(server, Peer(theirs))
        yield "ws://server/", {"stream": ours}
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def tcp(server: StrictServer) -> AsyncIterator[Connected]:
    async with loopback_server(server) as url:
        yield url, {}


@functools.cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA()
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return tls_of(ca, "127.0.0.1"), client


@asynccontextmanager
async def tls(server: StrictServer) -> AsyncIterator[Connected]:
    server_context, client_context = tls_contexts()
    async with loopback_server(server, ssl_context=server_context) as url:
        yield url, {"ssl_context": client_context}


TRANSPORTS = [memory, lockstep, tcp, tls]
