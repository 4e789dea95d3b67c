"""A server by hand for `trace_calls.py` and `compare_builds.py`: handshake, frames, sockets."""

from __future__ import annotations

import base64
import hashlib
import mmap
import socket
import struct
import time
from contextlib import suppress

import trio

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# This memory begins with a page. A large `bytearray` begins 16 bytes later, and some processors
# then copy from the kernel four times as slowly.
BUFFER = memoryview(mmap.mmap(-1, 262_144))

# First bytes of frames (RFC 6455 section 5.2, RFC 7692 section 6).
TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
TEXT_BEGINS, TEXT_ENDS = 0x01, 0x80
TEXT_COMPRESSED = 0xC1


def response_to(request: bytes, extension: bytes = b"") -> bytes:
    """Return the response that accepts a handshake, and an extension if there is one."""
    fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n") if b": " in line)
    (key,) = (value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    token = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 RFC 6455 wants it
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + token,
    ]
    if extension:
        lines.append(b"Sec-WebSocket-Extensions: " + extension)
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def accept(listener: trio.socket.SocketType, extension: bytes = b"") -> socket.socket:
    """Accept a connection and its handshake; return the socket, ready for frames."""
    accepted, _ = await listener.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += await accepted.recv(4096)
    await accepted.send(response_to(request, extension))
    connected = socket.socket(fileno=accepted.detach())
    set_options(connected)
    return connected


def set_options(connected: socket.socket) -> None:
    """Set what Trio sets, too."""
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def frame(first_byte: int, payload: bytes) -> bytes:
    """Return a frame of a server."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first_byte, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", first_byte, 126, size) + payload
    return struct.pack("!BBQ", first_byte, 127, size) + payload


class Server(trio.abc.Instrument):
    """The server's side of one connection, in the client's own thread.

    As an instrument of Trio, the server runs whenever all tasks wait.

    Args:
        connected: The server's non-blocking socket.
        answer: What to send when something has arrived.

    Attributes:
        seconds: CPU time that the server has used.
    """

    def __init__(self, connected: socket.socket, answer: bytes = b"") -> None:
        self._socket = connected
        self._answer = answer
        self._unsent = memoryview(b"")
        self.seconds = 0.0

    def write(self, data: bytes) -> None:
        """Write what fits into the socket; `play` writes the rest."""
        start = time.thread_time()
        self._unsent = memoryview(data)
        self._flush()
        self.seconds += time.thread_time() - start

    def play(self) -> None:
        """Read, answer and write what is possible without waiting."""
        start = time.thread_time()
        with suppress(BlockingIOError):
            while self._socket.recv_into(BUFFER):
                if self._answer:
                    self._unsent = memoryview(self._answer)
                    break
        self._flush()
        self.seconds += time.thread_time() - start

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self.play()

    def close(self) -> None:
        """Send a Close and end TCP, so that the client need not wait."""
        self.write(frame(CLOSE, b"\x03\xe8"))  # 1000
        self._socket.close()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
