"""TLS on a socket (RFC 8446), eager as that: ``ssl.SSLObject`` between two buffers.

Theory of operation
-------------------

``trio.SSLStream`` is made for any stream and any use: each call costs locks, scheduler
ticks and copies. On an ``EagerSocketStream`` with one reader and one writer these rules are enough:

* T1: what OpenSSL has to send lies in ``_outgoing`` in its order, and only ``_drain`` takes it out,
  never while the socket still holds a part of what was taken before.
* T2: whoever reads never waits for a write. What reading makes OpenSSL say (a key update, RFC 8446
  §4.6.3; a renegotiation of TLS 1.2) leaves at once if the socket takes it, else with the next
  write.
* T3: TLS may end without close_notify: that nothing was cut off, a Close frame tells.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

import trio

from trio_wsclient._net.sockets import LONG_READ_SIZE, EagerSocketStream, EagerStream

_RECORD_SIZE: Final = 16_384  # bytes of plaintext (RFC 8446 §5.1): OpenSSL reads one at a time
_NOTHING: Final = memoryview(b"")

_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class EagerTLSStream(EagerStream):
    """The client's side of TLS.

    Args:
        transport: The socket.
        context: How.
        server_hostname: Whom the certificate has to name, also sent as SNI (RFC 6066 §3).
    """

    def __init__(
        self, transport: EagerSocketStream, context: ssl.SSLContext, server_hostname: str
    ) -> None:
        super().__init__(transport.socket, transport.time_slice)
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._unwritten: bytes | bytearray | memoryview = b""  # what OpenSSL has not taken yet
        self._unread = _NOTHING  # bytes from the socket that OpenSSL has not taken yet
        self._heard = trio.Event()  # set when something has come
        self.is_drained = False
        self._error: ssl.SSLError | None = None  # OpenSSL tells it once: it stays broken

    async def do_handshake(self) -> None:
        """Shake hands.

        Raises:
            trio.BrokenResourceError: It failed; ``__cause__`` is the error of ``ssl``.
        """
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_outgoing()
                if not self._feed():
                    self._hear(await self._transport.receive_some())
            except ssl.SSLError as exc:
                with suppress(*_BROKEN):
                    self._drain()  # The alert that says why (RFC 8446 §6.2).
                raise _broken(exc) from exc
            else:
                await self._flush_outgoing()
                return

    # Sending

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        self._unwritten = data
        self._encrypt()
        return self._drain() and not self._unwritten

    async def flush(self) -> None:
        await self._flush_outgoing()
        while self._unwritten:
            heard = self._heard
            self._encrypt()
            await self._flush_outgoing()
            if self._unwritten:
                await heard.wait()

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    def _encrypt(self) -> None:
        if not self._unwritten:
            return
        try:
            self._object.write(self._unwritten)
        except ssl.SSLWantReadError:
            return  # A renegotiation is under way: the server has to be heard first.
        except ssl.SSLError as exc:
            raise _broken(exc) from exc
        self._unwritten = b""

    def _drain(self) -> bool:
        """Send what OpenSSL has to send; return whether all of it is gone (T1)."""
        if self._transport.has_unsent:
            return False
        return not self._outgoing.pending or self._transport.send_nowait(self._outgoing.read())

    async def _flush_outgoing(self) -> None:
        while not self._drain():
            await self._transport.flush()

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.time_slice.checkpoint()
        while (data := self._decrypt(max_bytes or LONG_READ_SIZE)) is None:
            self._hear(await self._transport.receive_some())
        return data

    def receive_nowait(self, max_bytes: int | None = None) -> bytes | None:
        while (data := self._decrypt(max_bytes or LONG_READ_SIZE)) is None:
            encrypted = self._transport.receive_nowait()
            if encrypted is None:
                return None
            self._hear(encrypted)
        return data

    def _decrypt(self, max_size: int) -> bytes | None:
        """Return what has come, nothing at the end, ``None`` if there is nothing yet."""
        pieces = []
        size = 0
        self.is_drained = False
        try:
            while size < max_size and self._error is None:
                try:
                    piece = self._object.read(min(_RECORD_SIZE, max_size - size))
                except ssl.SSLWantReadError:
                    if self._feed():
                        continue
                    raise
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
        except ssl.SSLWantReadError:
            self.is_drained = self._transport.is_drained
            with suppress(*_BROKEN):  # It will be read, too, that the connection is broken.
                self._drain()  # T2
            if not pieces:
                return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass  # T3
        except ssl.SSLError as exc:
            self._error = exc
        if self._error is not None and not pieces:
            raise _broken(self._error) from self._error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hear(self, data: bytes) -> None:
        """Take bytes from the socket; none are its end."""
        if data:
            # What `receive_nowait` has left may still be here, if this task has waited meanwhile.
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
            self._feed()
        else:
            self._incoming.write_eof()
        self._heard.set()
        self._heard = trio.Event()

    def _feed(self) -> bool:
        """Give OpenSSL the next bytes that were read; return whether there were any.

        The buffer of a ``MemoryBIO`` grows with what is in it and never shrinks. So it gets no more
        than about a record at a time, else each connection would keep the memory of its largest
        read.
        """
        if not self._unread:
            return False
        self._incoming.write(self._unread[:_RECORD_SIZE])
        self._unread = self._unread[_RECORD_SIZE:] or _NOTHING
        return True

    def half_close(self) -> None:
        self._send_close_notify()
        self._transport.half_close()

    def close(self) -> None:
        self._send_close_notify()
        self._transport.close()

    def _send_close_notify(self) -> None:
        """Send close_notify (RFC 8446 §6.1) if there is room for it."""
        with suppress(ssl.SSLError, *_BROKEN):
            if not (self._unwritten or self._transport.has_unsent):
                try:
                    self._object.unwrap()
                finally:
                    self._drain()


def _broken(exc: ssl.SSLError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"TLS is broken: {exc}")
