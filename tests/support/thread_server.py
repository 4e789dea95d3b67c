"""A scripted server in a thread of its own, so that its CPU time is not the client's.

The script is a plain function. It runs for one connection after the other.
"""

from __future__ import annotations

import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import trio
import wire

TIMEOUT = 30  # seconds for any wait of the server: a hang becomes an error


class ThreadPeer:
    """The server's end of one connection; all calls block."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._file = connected.makefile("rb")

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """End TCP by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self.socket.close()

    def accept(self, *headers: str) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line, "the client has ended TCP within its request"
            request += line
        self.send(wire.answer(request, *headers))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def next_frame(self) -> wire.ClientFrame | None:
        """Return the next frame, or `None` when the client has ended TCP between frames.

        It is fast enough for long frames and for many frames: each byte is copied only a few times.

        Raises:
            EOFError: TCP has ended in the middle of a frame.
        """
        head = self._file.read(2)
        if not head:
            return None
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(self._file.read(2), "big")
        elif size == 127:
            size = int.from_bytes(self._file.read(8), "big")
        key = self._file.read(4)
        data = self._file.read(size)
        if len(head) < 2 or len(key) < 4 or len(data) < size:
            raise EOFError("TCP ended in the middle of a frame")
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        payload = (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")
        return wire.ClientFrame(head[0] & 0x0F, payload, bool(head[0] & 0x80), head[0] >> 4 & 7)

    def frames_to_end(self) -> list[wire.ClientFrame]:
        """Return the frames until TCP ends; answer the first Close, and end TCP then."""
        frames = []
        while (frame := self.next_frame()) is not None:
            frames.append(frame)
            if frame.opcode == wire.CLOSE:
                self.send(wire.frame(wire.CLOSE, frame.payload))
                break
        return frames

    def read(self, size: int) -> bytes:
        """Return the next bytes, unparsed; fewer if TCP ends before."""
        return self._file.read(size)


class ThreadServer:
    """A server on 127.0.0.1.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, script: Callable[[ThreadPeer], Any], tls: ssl.SSLContext | None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._results: queue.Queue[Any] = queue.Queue()
        self._current: socket.socket | None = None
        self._is_over = False
        self.error: Exception | None = None
        port = self._listener.getsockname()[1]
        self.url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/"
        self.thread = threading.Thread(target=self._run, daemon=True)

    async def seen(self) -> Any:
        """Wait for the end of the script, and return its result."""
        return await trio.to_thread.run_sync(
            lambda: self._results.get(timeout=TIMEOUT), abandon_on_cancel=True
        )

    def _run(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            if self._is_over:
                connected.close()
                return
            connected.settimeout(TIMEOUT)
            self._current = connected
            self._results.put(self._serve(connected))

    def _serve(self, connected: socket.socket) -> Any:
        try:
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
                self._current = connected
            with closing(ThreadPeer(connected)) as peer:
                return self._script(peer)
        except OSError:
            return None  # The client has left, or the test is over.
        except Exception as exc:
            self.error = exc
            return None
        finally:
            connected.close()

    def stop(self) -> None:
        self._is_over = True
        if self._current is not None:
            with suppress(OSError):
                self._current.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname()).close()  # It wakes `accept`.
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive(), "the server's script does not end"
        self._listener.close()


@contextmanager
def thread_server(
    script: Callable[[ThreadPeer], Any], *, tls: ssl.SSLContext | None = None
) -> Iterator[ThreadServer]:
    """Serve while the block runs; what a script has raised, except `OSError`, leaves the block."""
    server = ThreadServer(script, tls)
    server.thread.start()
    try:
        yield server
    finally:
        server.stop()
    if server.error is not None:
        raise server.error
