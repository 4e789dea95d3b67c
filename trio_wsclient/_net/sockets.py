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

from trio_wsclient._net.read_buffer import read_buffers
from trio_wsclient._scheduling import TimeSlice

READ_SIZE: Final = 65_536  # bytes, as trio.SocketStream reads by default


class EagerStream(trio.abc.Stream):
    """A stream that can be read and written without waiting.

    Args:
        connected: The socket below.
        time_slice: The stream renews it after each wait, as the other tasks have run then.
        buffer: The memory that this stream reads into, which all connections share.

    Attributes:
        is_drained: Whether the last read has left nothing, so that the next one would likely be in
            vain.
    """

    def __init__(self, connected: socket.socket, time_slice: TimeSlice, buffer: memoryview) -> None:
        self.socket: Final = connected
        self.time_slice: Final = time_slice
        self.buffer: Final = buffer
        self.is_drained: bool = True

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """Send data; return whether all of it is gone.

        If not, the stream refers to what is left, and `flush_some` has to be called until that is
        gone, before more is sent.

        Raises:
            trio.BrokenResourceError: The connection is broken.
            trio.ClosedResourceError: The stream was closed.
        """

    @abstractmethod
    def receive_nowait(self, max_bytes: int | None = None) -> int | None:
        """Read what has come into ``buffer``; return the number of bytes.

        Another task may wait in ``receive_some`` meanwhile: it goes on waiting for what comes next.

        Returns:
            0 at the end of the stream; ``None`` if nothing has come, or if that is not clear after
            a time slice. In the second case ``is_drained`` is false, and you should try again.

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
    async def flush_some(self) -> bool:
        """Wait, and send some of what is left; return whether all of it is gone.

        If cancelled, some of the data is lost. It raises the same exceptions as `send_nowait`.
        """

    async def flush(self) -> None:
        """Send what is left; see `flush_some`."""
        while not await self.flush_some():
            pass

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

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive, as ``trio.abc.ReceiveStream`` has it."""
        size: int | None = None
        if max_bytes is not None:
            max_bytes = min(max_bytes, len(self.buffer))
        while size is None:
            # If the last read has left nothing, the next read would likely be in vain.
            if self.is_drained:
                try:
                    await wait_readable(self.socket)
                except (OSError, ValueError) as exc:  # ValueError: there is no descriptor any more
                    raise stream_error(self.socket, exc) from exc
                self.time_slice.renew()
            else:
                await self.time_slice.checkpoint()
            size = self.receive_nowait(max_bytes)
        return bytes(self.buffer[:size])


def stream_error(
    connected: socket.socket, exc: Exception
) -> trio.ClosedResourceError | trio.BrokenResourceError:
    """Make the exception that a stream raises for an error of its socket."""
    if connected.fileno() == -1:
        return trio.ClosedResourceError("this stream was closed")
    return trio.BrokenResourceError(f"the connection is broken: {exc}")


def adopt_socket(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Take the socket out of a stream that will not be used any more, if it is one of Trio's."""
    if not isinstance(stream, trio.SocketStream):
        return stream
    held = stream.socket
    family, kind, proto = held.family, held.type, held.proto
    try:
        descriptor = held.detach()
    except NotImplementedError:  # A socket that a user has made up (trio.abc.SocketFactory).
        return stream
    if descriptor == -1:  # The stream was closed, which its own methods say.
        return stream
    # From here on the descriptor belongs to our stream, and Trio's is closed for good.
    taken = EagerSocketStream(socket.socket(family, kind, proto, fileno=descriptor))
    taken.time_slice.renew()  # It has just been connected.
    return taken


class EagerSocketStream(EagerStream):
    """A connected socket.

    Args:
        connected: The socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.buffers: Final = read_buffers()
        super().__init__(connected, TimeSlice(), self.buffers.received)
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
            raise stream_error(self.socket, exc) from exc
        # The usual case: the buffer of the kernel has room for all of it.
        if sent == len(data):
            return True
        self._unsent = memoryview(data)[sent:]
        return False

    async def flush_some(self) -> bool:
        await self.wait_send_all_might_not_block()
        unsent, self._unsent = self._unsent, memoryview(b"")
        return self.send_nowait(unsent)

    async def wait_send_all_might_not_block(self) -> None:
        try:
            await wait_writable(self.socket)
        except trio.ClosedResourceError:
            if self.socket.fileno() == -1:
                raise
            # `wake_reader` wakes a writer, too. It tries again.
        except (OSError, ValueError) as exc:  # as in `receive_some`
            raise stream_error(self.socket, exc) from exc
        self.time_slice.renew()

    def receive_nowait(self, max_bytes: int | None = None) -> int | None:
        # A read that has filled its size is followed by a larger one, because more is likely there.
        wanted = max_bytes or (READ_SIZE if self.is_drained else len(self.buffer))
        try:
            size = self.socket.recv_into(self.buffer, wanted)
        except BlockingIOError:
            self.is_drained = True
            return None
        except (OSError, ValueError) as exc:
            raise stream_error(self.socket, exc) from exc
        # A short read has emptied the socket: the next read would find nothing.
        self.is_drained = size < wanted
        return size

    def half_close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
