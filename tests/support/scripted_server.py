"""A server that does what a script says, right or wrong, on loopback TCP, TLS or in memory."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import trio
import trio.testing
import wire

if TYPE_CHECKING:
    import trustme


class Peer:
    """The server's end of one connection.

    `request` holds the head of the handshake's request once `accept` has read it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.request = b""
        self._reader = wire.ClientFrameReader()
        self._frames: deque[wire.ClientFrame] = deque()

    async def read_request(self) -> bytes:
        while b"\r\n\r\n" not in self.request:
            data = await self.stream.receive_some()
            assert data, "the client has ended TCP within its request"
            self.request += data
        self.request, _, behind = self.request.partition(b"\r\n\r\n")
        self.request += b"\r\n\r\n"
        self._frames.extend(self._reader.feed(behind))
        return self.request

    async def accept(self, *headers: str, behind: bytes = b"") -> None:
        """Read the request and accept it, with bytes after the answer in the same segment."""
        names = {header.partition(":")[0].lower() for header in headers}
        self._reader.has_extensions = "sec-websocket-extensions" in names
        await self.read_request()
        await self.stream.send_all(wire.answer(self.request, *headers) + behind)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def next_frame(self) -> wire.ClientFrame | None:
        """Return the next frame of the client, or None when it has ended TCP between frames."""
        while not self._frames:
            data = await self.stream.receive_some()
            if not data:
                assert not self._reader.pending, "TCP ended in the middle of a frame"
                return None
            self._frames.extend(self._reader.feed(data))
        return self._frames.popleft()

    async def expect_close(self) -> int | None:
        """Skip to the client's Close, and return its code."""
        while True:
            frame = await self.next_frame()
            assert frame is not None, "TCP ended without a Close"
            if frame.opcode == wire.CLOSE:
                return frame.code

    async def wait_eof(self) -> bytes:
        """Read until the client ends TCP, normally or not; return what came, unparsed."""
        received = b""
        try:
            while data := await self.stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
        return received

    async def close_politely(self) -> None:
        """Wait for the client's Close, echo it and end TCP."""
        code = await self.expect_close()
        await self.send(wire.close(code))
        await self.stream.aclose()

    async def echo(self) -> None:
        """Send every message back, answer pings, until the client closes."""
        while (frame := await self.next_frame()) is not None:
            if frame.opcode == wire.PING:
                await self.send(wire.pong(frame.payload))
            elif frame.opcode == wire.CLOSE:
                await self.send(wire.frame(wire.CLOSE, frame.payload))
                break
            elif frame.opcode != wire.PONG:
                await self.send(wire.frame(frame.opcode, frame.payload, fin=frame.fin))
        await self.stream.aclose()


Script = Callable[[Peer], Awaitable[object]]


async def echo_script(peer: Peer) -> None:
    await peer.accept()
    await peer.echo()


class OnlyClose:
    """A script that accepts and answers the Close, and keeps its code."""

    code: int | None = None

    async def __call__(self, peer: Peer) -> None:
        await peer.accept()
        self.code = await peer.expect_close()
        with suppress(trio.BrokenResourceError):
            await peer.send(wire.close(self.code))
        await peer.stream.aclose()


async def deaf(peer: Peer) -> None:
    """Accept, and never read again."""
    await peer.accept()
    await trio.sleep_forever()


@asynccontextmanager
async def loopback_server(
    script: Script, *, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve on 127.0.0.1 and hand out the URL.

    The script runs for each connection. It may end before the client, which does not end TCP, or
    be cancelled when the block is left; its exceptions leave the block.
    """
    streams: list[trio.abc.Stream] = []

    async def handle(stream: trio.abc.Stream) -> None:
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        streams.append(stream)
        try:
            await script(Peer(stream))
        except trio.ClosedResourceError:
            # A script that was scheduled already sees the closed stream before the cancel.
            if not nursery.cancel_scope.cancel_called:
                raise

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, handle)
        port = listeners[0].socket.getsockname()[1]
        try:
            yield f"{'ws' if ssl_context is None else 'wss'}://127.0.0.1:{port}/"
        finally:
            nursery.cancel_scope.cancel()
            # Shielded: a Cancelled here would take the place of what the test has raised.
            with trio.CancelScope(shield=True):
                for stream in streams:
                    await trio.aclose_forcefully(stream)


async def _serve(
    handler: Callable[[trio.abc.Stream], Awaitable[None]],
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        task_status.started(listeners)
        for listener in listeners:
            nursery.start_soon(_accept_all, listener, handler, nursery)


async def _accept_all(
    listener: trio.SocketListener,
    handler: Callable[[trio.abc.Stream], Awaitable[None]],
    nursery: trio.Nursery,
) -> None:
    # Not trio.serve_listeners: that one closes a stream when its handler returns, and a script has
    # to be able to leave TCP open.
    async with listener:
        while True:
            nursery.start_soon(handler, await listener.accept())


@asynccontextmanager
async def memory_server(script: Script) -> AsyncIterator[trio.abc.Stream]:
    """Run a script on one end of a stream in memory and hand out the other one."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script, Peer(theirs))
        try:
            yield ours
        finally:
            nursery.cancel_scope.cancel()


def tls_of(ca: trustme.CA, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """Make the TLS of a server that has these names, until some time."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


def tls_for(url: str, context: ssl.SSLContext) -> dict[str, ssl.SSLContext]:
    """Return the options of a client for a URL: for `ws` there must be none of TLS (E39)."""
    return {"ssl_context": context} if url.startswith("wss:") else {}
