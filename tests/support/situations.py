"""Servers that are wrong, or meet a client at a bad moment: the scripts of E1 to E24.

A script is the server's side of one connection, for any client: the tests run them with this
library, `peers` with others too. What a script returns is handed out by `Scene.seen`; what it
raises leaves the block of `scene`.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Generic, TypeVar

import trio
import wire
from scripted_server import Peer, loopback_server

T = TypeVar("T")
Script = Callable[[Peer], Awaitable[T]]


class Scene(Generic[T]):
    """A server on loopback TCP that plays a script, for one connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._results: list[T] = []
        self._over = trio.Event()

    async def play(self, script: Script[T], peer: Peer) -> None:
        self._results.append(await script(peer))
        self._over.set()

    async def seen(self) -> T:
        """Wait for the script's end, and return what it returned."""
        await self._over.wait()
        return self._results[0]


@asynccontextmanager
async def scene(
    script: Script[T], *, ssl_context: SSLContext | None = None
) -> AsyncIterator[Scene[T]]:
    stage: Scene[T] = Scene("")
    async with loopback_server(
        lambda peer: stage.play(script, peer), ssl_context=ssl_context
    ) as stage.url:
        yield stage


async def reset(peer: Peer) -> None:
    """End TCP by a reset."""
    stream = peer.stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


async def end(peer: Peer) -> None:
    """End TCP normally."""
    await peer.stream.aclose()


async def frames_to_end(peer: Peer) -> list[wire.ClientFrame]:
    """Return the frames that still come until TCP ends, normally or not."""
    frames: list[wire.ClientFrame] = []
    with suppress(trio.BrokenResourceError):
        while (frame := await peer.next_frame()) is not None:
            frames.append(frame)
    return frames


# Opening


def ends_in_handshake(start: bytes, how: Callable[[Peer], Awaitable[None]] = end) -> Script[None]:
    """E11: TCP ends after a part of the answer, which may be nothing."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(start)
        await how(peer)

    return script


_open_tcp_stream = trio.open_tcp_stream


async def open_ipv6_as_ipv4(host: str, port: int, **_: object) -> trio.SocketStream:
    """Replace `trio.open_tcp_stream`, so that E13 needs no IPv6 on this machine."""
    assert host == "::1"
    return await _open_tcp_stream("127.0.0.1", port)


async def accepts(peer: Peer) -> bytes:
    """E13: all goes well; what the request was is of interest."""
    await peer.accept()
    await peer.close_politely()
    return peer.request


async def is_silent(peer: Peer) -> bytes:
    """E15, E16: nothing is ever answered, but for what TLS does. Returns what came, unparsed."""
    return await peer.wait_eof()


def drips(head: bytes, byte: bytes, seconds: float) -> Script[None]:
    """E15: something, then one byte at a time, without end."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        with suppress(trio.BrokenResourceError):
            await peer.send(head)
            while True:
                await peer.send(byte)
                await trio.sleep(seconds)

    return script


async def refuses_without_end(peer: Peer) -> None:
    """E15: a rejection whose body has no end."""
    await peer.read_request()
    with suppress(trio.BrokenResourceError):
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            await peer.send(bytes(65_536))


# Sending and receiving


def vanishes_on_ping(how: Callable[[Peer], Awaitable[None]]) -> Script[None]:
    """E2: TCP ends when a ping has come."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        frame = await peer.next_frame()
        assert frame is not None
        assert frame.opcode == wire.PING
        await how(peer)

    return script


def sends_and_listens(data: bytes) -> Script[list[wire.ClientFrame]]:
    """E1, E3, E9, E24: something, while TCP stays open. Returns what the client still sends."""

    async def script(peer: Peer) -> list[wire.ClientFrame]:
        await peer.accept()
        await peer.send(data)
        return await frames_to_end(peer)

    return script


def listens_and_sends(data: bytes) -> Script[list[wire.ClientFrame]]:
    """E47: something, once a Text message has come. Returns what the client still sends."""

    async def script(peer: Peer) -> list[wire.ClientFrame]:
        await peer.accept()
        while (frame := await peer.next_frame()) is not None and frame.opcode != wire.TEXT:
            pass
        await peer.send(data)
        return await frames_to_end(peer)

    return script


def sends_and_stays(data: bytes, stays_until: trio.Event) -> Script[int | None]:
    """E3, E9: the same, but TCP ends at a moment. Returns the code of the client's Close."""

    async def script(peer: Peer) -> int | None:
        await peer.accept()
        await peer.send(data)
        code = await peer.expect_close()
        await stays_until.wait()
        await end(peer)
        return code

    return script


def sends_and_answers(data: bytes, *, asked: bool = False) -> Script[None]:
    """E6, E7, E21: messages, at once or when asked; apart from that all that a server should do."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        if asked:
            await peer.next_frame()
        with suppress(trio.BrokenResourceError):  # The client may leave before the end.
            await peer.send(data)
            await peer.echo()

    return script


def listens_from(start: trio.Event) -> Script[bytes]:
    """E8, E22, E23: nothing is read before a moment. Returns what came, unparsed."""

    async def script(peer: Peer) -> bytes:
        await peer.accept()
        await start.wait()
        return await peer.wait_eof()

    return script


def writes_before_it_reads(size: int, piece: int, *, pings: bool = True) -> Script[int]:
    """E10: half duplex, with a ping after each message. Returns how many bytes of data came."""

    async def script(peer: Peer) -> int:
        await peer.accept()
        for number in range(size // piece):
            await peer.send(wire.binary(bytes(piece)))
            if pings:
                await peer.send(wire.ping(b"%d" % number))
        received = 0
        while (frame := await peer.next_frame()) is not None and frame.opcode != wire.CLOSE:
            if frame.opcode == wire.PING:
                await peer.send(wire.pong(frame.payload))
            elif frame.opcode != wire.PONG:
                received += len(frame.payload)
        await peer.send(wire.close(1000))
        await end(peer)
        return received

    return script


def bursts(frame: bytes, count: int) -> Script[None]:
    """E17: very many small messages, as fast as TCP takes them, and a Close after them."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError):  # The client may leave before the end.
            await peer.send(frame * count + wire.close(1000))
            await peer.expect_close()
            await end(peer)

    return script


class Heartbeat:
    """E17: beats every millisecond; `worst` is how late one came at most, in seconds.

    Only what this process has kept the processor busy for counts: on a loaded machine others may
    keep it waiting for as long.
    """

    def __init__(self) -> None:
        self.worst = 0.0

    async def beat(self) -> None:
        while True:
            due, busy = trio.current_time() + 0.001, time.thread_time()
            await trio.sleep_until(due)
            late = min(trio.current_time() - due, time.thread_time() - busy)
            self.worst = max(self.worst, late)


# Closing


async def echoes_until_close(peer: Peer) -> int | None:
    """E4, E14: as a server should. Returns the code of the client's Close."""
    await peer.accept()
    while True:
        frame = await peer.next_frame()
        assert frame is not None, "TCP ended without a Close"
        await peer.send(wire.frame(frame.opcode, frame.payload))
        if frame.opcode == wire.CLOSE:
            await end(peer)
            return frame.code


async def floods_without_end(peer: Peer) -> None:
    """E6: messages without end, and no look at what the client says."""
    await peer.accept()
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(wire.binary(bytes(1000)) * 100)


def pings_after_close(then: bytes) -> Script[list[wire.ClientFrame]]:
    """E12: a ping after the client's Close, then, maybe, a Close; TCP stays open.

    Returns what the client sends after its Close.
    """

    async def script(peer: Peer) -> list[wire.ClientFrame]:
        await peer.accept()
        await peer.expect_close()
        await peer.send(wire.ping(b"late") + then)
        return await frames_to_end(peer)

    return script


async def answers_goodbye(peer: Peer) -> list[wire.ClientFrame]:
    """E20: "farewell" for "goodbye". Returns what comes then, which it does not answer."""
    await peer.accept()
    frame = await peer.next_frame()
    assert frame == wire.ClientFrame(wire.TEXT, b"goodbye")
    await peer.send(wire.text("farewell"))
    return await frames_to_end(peer)
