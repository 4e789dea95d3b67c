"""For the tests of programs that use the client: a peer to script, and a server on loopback.

Example:
    ::

        async def test_it_says_hello(autojump_clock):
            async with memory_websocket_pair() as (ws, peer):
                await my_program(ws)
                assert await peer.receive() == "hello"

In memory nothing waits for a real network, so with ``autojump_clock`` an hour takes no time. What a
block raises leaves it as it is, not in a group; so does what the handler of a server raises.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Unpack

import h11
import trio
import trio.testing

from trio_wsclient import (
    ClientOptions,
    WebSocketClient,
    background_task,
    open_websocket_client,
)
from trio_wsclient._http import upgrade
from trio_wsclient._protocol import frames
from trio_wsclient.testing.peer import Peer, Rejection, Request

__all__ = [
    "LoopbackServer",
    "Peer",
    "Rejection",
    "Request",
    "echo",
    "fixed_randomness",
    "memory_websocket_pair",
    "open_loopback_server",
]

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@asynccontextmanager
async def memory_websocket_pair(
    url: str = "ws://server/",
    *,
    headers: Sequence[tuple[str, str]] = (),
    answers: bool = True,
    **options: Unpack[ClientOptions],
) -> AsyncIterator[tuple[WebSocketClient, Peer]]:
    """Open a real client on a stream in memory, and hand it out with its peer.

    What the client writes waits until the peer reads, which it does by itself until it is told to
    ``stall``. The peer chooses the subprotocol that the client prefers, and knows no extensions.

    Args:
        url: What the client asks for.
        headers: Further header fields of the peer's answer.
        answers: See ``Peer``.
        **options: See ``ClientOptions``, but for ``stream``, which is the kit's.

    Raises:
        ValueError: The URL is ``wss``, for which there is ``open_loopback_server``, or there is a
            ``stream``.
    """
    if url.lower().startswith("wss:"):
        raise ValueError("there is no TLS in memory: see open_loopback_server")
    if options.get("stream") is not None:
        raise ValueError("the stream is the kit's own")
    subprotocols = options["subprotocols"] = tuple(options.get("subprotocols", ()))
    outgoing, incoming = trio.testing.lockstep_stream_one_way_pair()
    answering, answered = trio.testing.memory_stream_one_way_pair()
    peer = Peer(trio.StapledStream(answering, incoming), answers=answers)
    # A client that is cancelled says so, and a real peer would hear it.
    scope = trio.CancelScope(shield=True)

    async def serve() -> None:
        with scope:
            await peer.shake_hands(subprotocols=subprotocols, headers=headers)
            await peer.read()

    async with background_task(serve):
        options["stream"] = trio.StapledStream(outgoing, answered)
        try:
            async with open_websocket_client(url, **options) as ws:
                yield ws, peer
        finally:
            scope.cancel()


@dataclass(frozen=True, slots=True)
class LoopbackServer:
    """A server on 127.0.0.1.

    Attributes:
        url: Its URL, with the path ``/``.
        port: Its port.
    """

    url: str
    port: int


async def echo(peer: Peer) -> None:
    """Send every message back, until the client closes: a handler for ``open_loopback_server``."""
    async for message in peer:
        await peer.send(message)


@asynccontextmanager
async def open_loopback_server(
    handler: Callable[[Peer], Awaitable[object]] = echo,
    *,
    ssl_context: ssl.SSLContext | None = None,
    subprotocols: Sequence[str] = (),
    refuse: Callable[[Request], int | Rejection | None] | None = None,
) -> AsyncIterator[LoopbackServer]:
    """Serve on a free port of 127.0.0.1 for the length of a block.

    Whatever runs is cancelled when the block is left. If a handler raises, the block is cancelled,
    and the exception leaves it; but that the client has gone is no error of a handler.

    Args:
        handler: Called with the ``Peer`` of each connection; when it returns, that is closed.
        ssl_context: For a ``wss`` server, as of ``ssl.Purpose.CLIENT_AUTH``.
        subprotocols: Those that it knows; it chooses the one that the client prefers.
        refuse: Called with each request; returns the HTTP status to reject it with, or a
            ``Rejection``, which has header fields and a body, or ``None`` to accept it.

    Raises:
        TypeError: ``handler`` or ``refuse`` is not a function, or ``refuse`` has returned something
            else.
    """
    for name, function in (("handler", handler), ("refuse", refuse)):
        if not callable(function) and not (name == "refuse" and function is None):
            raise TypeError(f"{name} has to be a function, not {type(function).__name__}")

    async def serve(stream: trio.abc.Stream) -> None:
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        peer = Peer(stream)
        with suppress(*_GONE, h11.RemoteProtocolError):
            if not await peer.shake_hands(subprotocols=subprotocols, refuse=refuse):
                return
            async with background_task(peer.read):
                try:
                    await handler(peer)
                except trio.EndOfChannel:
                    if not peer.is_over:
                        raise  # It is of another channel.
                await peer.close()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with background_task(_serve_all, serve, listeners):
        port = listeners[0].socket.getsockname()[1]
        scheme = "ws" if ssl_context is None else "wss"
        yield LoopbackServer(f"{scheme}://127.0.0.1:{port}/", port)


async def _serve_all(
    serve: Callable[[trio.abc.Stream], Awaitable[None]], listeners: list[trio.SocketListener]
) -> None:
    """Serve each connection until one raises; a single exception leaves in no group."""
    errors: list[BaseException] = []

    async def serve_one(stream: trio.abc.Stream) -> None:
        try:
            await serve(stream)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001 it is raised below
            errors.append(exc)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await trio.serve_listeners(serve_one, listeners, handler_nursery=nursery)
    raise errors[0] if len(errors) == 1 else BaseExceptionGroup("handlers", errors)


@contextmanager
def fixed_randomness(mask: bytes = bytes(4), nonce: bytes = bytes(16)) -> Iterator[None]:
    """Have the masks and keys of clients be the same each time, for golden bytes.

    With them all that a client sends is, but for pings without a payload of yours.

    It holds for all clients of the process while the block lasts, so it is for tests alone: a mask
    that can be foreseen makes some proxies take what is sent for a request (RFC 6455 §10.3).

    Args:
        mask: The masking key of each frame, 4 bytes; with zeros payloads can be read as they are.
        nonce: What ``Sec-WebSocket-Key`` stands for, 16 bytes.

    Raises:
        TypeError: One of them is not ``bytes``.
        ValueError: One of them is of another size.
    """
    for name, value in (("mask", mask), ("nonce", nonce)):
        if not isinstance(value, bytes):
            raise TypeError(f"{name} has to be bytes, not {type(value).__name__}")
    if len(mask) != 4 or len(nonce) != 16:  # noqa: PLR2004 RFC 6455 §5.3 and §4.1
        raise ValueError("a mask has 4 bytes and a nonce has 16")
    drawn = [(frames, "_take_key", mask), (upgrade, "make_nonce", nonce)]
    before = [getattr(module, name) for module, name, _ in drawn]
    for module, name, value in drawn:
        setattr(module, name, partial(bytes, value))
    try:
        yield
    finally:
        for (module, name, _), function in zip(drawn, before, strict=True):
            setattr(module, name, function)
