"""Streams that try the system call first, and wait only if needed: a socket, and the base of TLS.

``trio.SocketStream`` costs a scheduler tick for each call, and guards against being used by two
tasks at once; both together cost several times the system call. A connection has one reader and one
writer at a time by its own rules, and counts its own time slice (``_scheduling``).
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import checkpoint_if_cancelled, wait_readable, wait_writable

from trio_wsclient._scheduling import TimeSlice

READ_SIZE: Final = 65_536  # bytes, as trio.SocketStream reads by default
LONG_READ_SIZE: Final = 262_144  # bytes, where there is much to read: more a system call


class EagerStream(trio.abc.Stream):
    """A stream that can be read and written without waiting.

    Args:
        connected: The socket below.
        time_slice: The stream renews it after each wait, as the other tasks have run then.

    Attributes:
        is_drained: Whether the last read has left nothing, so that the next one would likely be in
            vain.
    """

    def __init__(self, connected: socket.socket, time_slice: TimeSlice) -> None:
        self.socket: Final = connected
        self.time_slice: Final = time_slice
        self.is_drained: bool = True

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """Take data; return whether all of it is gone.

        If not, what is left is kept, and ``flush`` has to be awaited before more is sent.

        Raises:
            trio.BrokenResourceError: The connection is broken.
            trio.ClosedResourceError: The stream was closed.
        """

    @abstractmethod
    def receive_nowait(self, max_bytes: int | None = None) -> bytes | None:
        """Return what has come, nothing at the end of the stream, or ``None`` if nothing has come.

        Another task may wait in ``receive_some`` meanwhile: it goes on waiting for what comes next.

        Raises:
            trio.BrokenResourceError: The connection is broken.
            trio.ClosedResourceError: The stream was closed.
        """

    @abstractmethod
    def half_close(self) -> None:
        """End this side of the connection, as far as that goes without waiting."""

    def wake_reader(self) -> None:
        """Wake a task that waits for the socket, with ``trio.ClosedResourceError``."""
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)

    @abstractmethod
    async def flush(self) -> None:
        """Send what is left; cancelled, some of it is lost. Raises as ``send_nowait``."""

    @abstractmethod
    def close(self) -> None:
        """Do as ``aclose``, which never waits for anything."""

    async def aclose(self) -> None:
        """Close, as ``trio.abc.AsyncResource`` has it."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as ``trio.abc.SendStream`` has it."""
        await checkpoint_if_cancelled()
        if self.send_nowait(data):
            await self.time_slice.cancel_shielded_checkpoint()
        else:
            await self.flush()


def take_over(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Take the socket out of a stream that will not be used any more, if it is one of Trio's."""
    if not isinstance(stream, trio.SocketStream):
        return stream
    held = stream.socket
    family, kind, proto = held.family, held.type, held.proto
    try:
        descriptor = held.detach()
    except NotImplementedError:  # A socket that a user has made up (trio.abc.SocketFactory).
        return stream
    taken = EagerSocketStream(socket.socket(family, kind, proto, fileno=descriptor))
    taken.time_slice.renew()  # It has just been connected.
    return taken


class EagerSocketStream(EagerStream):
    """A connected socket.

    Args:
        connected: The socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected, TimeSlice())
        connected.setblocking(False)
        self._unsent = memoryview(b"")

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            raise self._fault(exc) from exc
        if sent == len(data):
            return True
        self._unsent = memoryview(data)[sent:]
        return False

    async def flush(self) -> None:
        while self._unsent:
            await self.wait_send_all_might_not_block()
            unsent, self._unsent = self._unsent, memoryview(b"")
            self.send_nowait(unsent)

    async def wait_send_all_might_not_block(self) -> None:
        try:
            await wait_writable(self.socket)
        except trio.ClosedResourceError:
            if self.socket.fileno() == -1:
                raise
            # `wake_reader` wakes a writer, too. It tries again.
        except (OSError, ValueError) as exc:  # as in `receive_some`
            raise self._fault(exc) from exc
        self.time_slice.renew()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data: bytes | None = None
        # Where a read has left nothing, the next one is likely to be in vain.
        if not self.is_drained:
            await self.time_slice.checkpoint()
            data = self.receive_nowait(max_bytes)
        while data is None:
            try:
                await wait_readable(self.socket)
            except (OSError, ValueError) as exc:  # ValueError: there is no descriptor any more
                raise self._fault(exc) from exc
            self.time_slice.renew()
            data = self.receive_nowait(max_bytes)
        return data

    def receive_nowait(self, max_bytes: int | None = None) -> bytes | None:
        size = max_bytes or (READ_SIZE if self.is_drained else LONG_READ_SIZE)
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            self.is_drained = True
            return None
        except (OSError, ValueError) as exc:
            raise self._fault(exc) from exc
        self.is_drained = len(data) < size
        return data

    def half_close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def _fault(self, exc: Exception) -> trio.ClosedResourceError | trio.BrokenResourceError:
        if self.socket.fileno() == -1:
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError(f"the connection is broken: {exc}")
