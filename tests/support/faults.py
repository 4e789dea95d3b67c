"""Faults of streams and sockets, at the k-th call: what can go wrong, and where to put it in.

A `Strike` counts the calls; what happens at the one that it means is up to a fault.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import trio
from sweep import Strike


class AtCall(Strike):
    """Counts calls of what can fail."""

    def is_due(self) -> bool:
        was_struck = self.struck
        self.count()
        return self.struck and not was_struck


class FaultySend(trio.abc.Stream):
    """A user's stream whose k-th `send_all` goes wrong.

    Args:
        inner: The stream.
        strike: Says which call.
        share: Which part of the data is sent before.
        fault: What happens then.
    """

    def __init__(
        self,
        inner: trio.abc.Stream,
        strike: AtCall,
        share: float,
        fault: Callable[[], object],
    ) -> None:
        self._inner = inner
        self._strike = strike
        self._share = share
        self._fault = fault
        self._is_broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self._strike.is_due():
            await self._inner.send_all(data)
            return
        size = int(len(data) * self._share)
        if size:
            await self._inner.send_all(bytes(data)[:size])
        else:
            await trio.lowlevel.checkpoint()
        await self._break()

    async def _break(self) -> None:
        """Have it go wrong; what is broken, is so in both directions."""
        try:
            self._fault()
        except Exception:
            self._is_broken = True
            await trio.aclose_forcefully(self._inner)
            raise
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            return await self._inner.receive_some(max_bytes)
        except trio.ClosedResourceError:
            if self._is_broken:
                raise trio.BrokenResourceError("broken") from OSError(errno.EIO, "broken")
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


class FaultyReceive(FaultySend):
    """A user's stream whose k-th `receive_some` goes wrong, before it has taken anything."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._strike.is_due():
            await trio.lowlevel.checkpoint()
            await self._break()
        return await super().receive_some(max_bytes)


class EndsEarly(FaultyReceive):
    """A user's stream that ends at its k-th `receive_some`."""

    _has_ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._has_ended = self._has_ended or self._strike.is_due()
        if self._has_ended:
            await trio.lowlevel.checkpoint()
            return b""
        return await super().receive_some(max_bytes)


# A call of a socket, and what it does instead: None means what it would have done.
SocketFault = Callable[["FaultySocket", Callable[[int], object], int], object]


class FaultySocket(socket.socket):
    """A socket whose k-th call to send or to receive goes wrong."""

    strike: AtCall
    on_send: SocketFault | None = None
    on_receive: SocketFault | None = None

    def send(self, data, *args):
        if self.on_send is None or not self.strike.is_due():
            return super().send(data, *args)
        view = memoryview(data)
        send = super().send
        return self.on_send(self, lambda size: send(view[:size], *args), len(view))

    def recv_into(self, buffer, size, *args):
        if self.on_receive is None or not self.strike.is_due():
            return super().recv_into(buffer, size, *args)
        receive = super().recv_into
        return self.on_receive(self, lambda size: receive(buffer, size, *args), size)


def raises(error: BaseException) -> SocketFault:
    def fault(_socket: FaultySocket, _call: Callable[[int], object], _size: int) -> object:
        raise error

    return fault


def breaks(error: BaseException) -> SocketFault:
    """Break the connection, so that the server sees an end."""

    def fault(broken: FaultySocket, _call: Callable[[int], object], _size: int) -> object:
        broken.shutdown(socket.SHUT_RDWR)
        raise error

    return fault


def one_byte(_socket: FaultySocket, call: Callable[[int], object], size: int) -> object:
    return call(min(size, 1))


def seven_bytes(_socket: FaultySocket, call: Callable[[int], object], size: int) -> object:
    return call(min(size, 7))  # Never the whole of anything, and not for too long a time.


def half(_socket: FaultySocket, call: Callable[[int], object], size: int) -> object:
    return call(max(1, size // 2))


def half_then_reset(broken: FaultySocket, call: Callable[[int], object], size: int) -> object:
    if size > 1:
        call(size // 2)
    broken.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def ends(_socket: FaultySocket, _call: Callable[[int], object], _size: int) -> object:
    return 0


HARMLESS = {
    "one byte": one_byte,
    "half": half,
    "not now": raises(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")),
}
FATAL = {
    "reset": breaks(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
    "half, then reset": half_then_reset,
    "broken pipe": breaks(BrokenPipeError(errno.EPIPE, "Broken pipe")),
    "timed out": breaks(TimeoutError(errno.ETIMEDOUT, "Connection timed out")),
    "no buffers": breaks(OSError(errno.ENOBUFS, "No buffer space available")),
    "unreachable": breaks(OSError(errno.EHOSTUNREACH, "No route to host")),
}
