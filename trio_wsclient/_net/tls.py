"""TLS on a socket (RFC 8446), tried before it waits, too: ``ssl.SSLObject`` between two buffers.

Theory of operation
-------------------

``trio.SSLStream`` is made for any stream and any use: each call costs locks, scheduler
ticks and copies. On an ``EagerSocketStream`` with one reader and one writer these rules are enough:

* T1: what OpenSSL has to send lies in ``_outgoing`` in its order, and only ``_drain`` takes it out,
  never while the socket still holds a part of what was taken before.
* T2: the reader never waits for a write. If reading makes OpenSSL say something (a key update, RFC
  8446 §4.6.3; a renegotiation of TLS 1.2), that leaves at once if the socket takes it, or else with
  the next write.
* T3: One read takes a time slice, and one feed of OpenSSL more, at most. Records may have a byte
  each, or none at all, as session tickets and key updates have (RFC 8446 §4.6), so a read can't go
  on until the buffer is full or data has come. OpenSSL itself goes on over records without data
  until it has nothing left to read. So one feed is a record or its rest, or up to 16 records that
  have 4 KiB together. A server may pack session tickets into one record of 16 KiB. OpenSSL takes
  8 ms for that record in one call, which nothing can split.
* T4: TLS may end without close_notify. The Close frame says whether something was cut off.
"""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from time import perf_counter
from typing import Final

import trio

from trio_wsclient._net.sockets import EagerSocketStream, EagerStream
from trio_wsclient._net.tls_info import TLSInfo, read_tls_info
from trio_wsclient._scheduling import SLICE_SECONDS

_PIECE_SIZE: Final = 65_536  # bytes to encrypt at a time: four records
# One feed of OpenSSL is a record, or several that have no more bytes together than this (T3). The
# costliest small record, a key update that asks for ours, takes 60 µs.
_FEED_SIZE: Final = 4096
_MAX_FED_RECORDS: Final = 16
_HEADER_SIZE: Final = 5  # bytes: type, version and length of a record (RFC 8446 §5.1)
_record_length: Final = struct.Struct(">3xH").unpack_from
_NOTHING: Final = memoryview(b"")

_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class EagerTLSStream(EagerStream):
    """The client's side of TLS.

    Args:
        transport: The socket.
        context: The settings of TLS.
        server_hostname: The name to verify in the certificate, and to send as SNI (RFC 6066 §3).
    """

    def __init__(
        self, transport: EagerSocketStream, context: ssl.SSLContext, server_hostname: str
    ) -> None:
        super().__init__(transport.socket, transport.time_slice, transport.buffers.decrypted)
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._unwritten = _NOTHING  # what OpenSSL has not taken yet
        self._unread = _NOTHING  # bytes from the socket that were not fed to OpenSSL yet
        self._record_left = 0  # bytes of the last fed record that are still to be fed
        self._is_starved = True  # whether OpenSSL needs more bytes from the socket
        # Set when OpenSSL has got something to read, or at the end, for a writer that waits.
        self._has_read: trio.Event | None = None
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
                await self._flush_handshake()
                # Some bytes of the last read are not fed yet. Feed them before the socket is read
                # again.
                if self._feed():
                    await self.time_slice.checkpoint()  # T3
                else:
                    self._take_encrypted(await self._transport.receive_some())
            except ssl.SSLError as exc:
                with suppress(*_BROKEN):
                    self._drain()  # The alert that says why (RFC 8446 §6.2).
                raise _broken(exc) from exc
            else:
                await self._flush_handshake()
                return

    @property
    def info(self) -> TLSInfo:
        """What the handshake, which is complete, has agreed on."""
        return read_tls_info(self._object)

    async def _flush_handshake(self) -> None:
        """Send; a write that fails is not the verdict, as an alert may be here to be read."""
        with suppress(trio.BrokenResourceError):
            await self._flush_outgoing()

    # Sending

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        self._unwritten = memoryview(data)
        return self._send_unwritten()

    async def flush_some(self) -> bool:
        if self._transport.has_unsent:
            await self._transport.flush_some()
        # The socket has taken everything, and OpenSSL still does not write: it has to read first.
        if not self._send_unwritten() and not self._transport.has_unsent:
            self._has_read = trio.Event()
            await self._has_read.wait()  # A renegotiation is under way.
            if self.socket.fileno() == -1:
                raise trio.ClosedResourceError("this stream was closed")
        return not (self._unwritten or self._transport.has_unsent)

    def _send_unwritten(self) -> bool:
        """Encrypt and send, in pieces; return whether all is gone."""
        while self._drain() and self._unwritten:
            if not self._encrypt():
                break
        return not (self._unwritten or self._transport.has_unsent)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    def _encrypt(self) -> bool:
        """Encrypt a piece; return ``False`` if a renegotiation has to be read first.

        A piece is small, as the buffer of a ``MemoryBIO`` never shrinks.
        """
        try:
            size = self._object.write(self._unwritten[:_PIECE_SIZE])
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as exc:
            raise _broken(exc) from exc
        self._unwritten = self._unwritten[size:]
        return True

    def _drain(self) -> bool:
        """Send what OpenSSL has to send; return whether all of it is gone (T1)."""
        if self._transport.has_unsent:
            return False
        return not self._outgoing.pending or self._transport.send_nowait(self._outgoing.read())

    async def _flush_outgoing(self) -> None:
        while not self._drain():
            await self._transport.flush_some()

    # Receiving

    def receive_nowait(self, max_bytes: int | None = None) -> int | None:
        wanted = max_bytes or len(self.buffer)
        size = self._decrypt(wanted)
        # OpenSSL has nothing left, so read the socket, once.
        if size is None and self._is_starved:
            encrypted_size = self._transport.receive_nowait()
            if encrypted_size is None:
                self.is_drained = True
                return None
            self._take_encrypted(self._transport.buffer[:encrypted_size])
            size = self._decrypt(wanted)
        if self._unread and self._unread.obj is self._transport.buffer.obj:
            # The next read of any connection overwrites the buffer.
            self._unread = memoryview(bytes(self._unread))
        return size

    def _decrypt(self, wanted: int) -> int | None:
        """Fill the buffer, for a time slice at most (T3).

        Returns:
            0 at the end of the stream; ``None`` if there is no data yet. Then ``_is_starved`` says
            whether that is sure, or only not clear after a time slice.
        """
        size = 0
        read, buffer, incoming = self._object.read, self.buffer, self._incoming
        self.is_drained = self._is_starved = False
        # OpenSSL reads below. Then a writer that waits for a renegotiation may go on.
        if incoming.pending:
            self._wake_writer()
        ends = perf_counter() + SLICE_SECONDS
        try:
            while size < wanted and self._error is None:
                try:
                    # typeshed says `bytes`, but with a buffer the result is a number.
                    count: int = read(wanted - size, buffer[size:wanted])  # type: ignore[assignment]
                except ssl.SSLWantReadError:
                    if not self._feed():
                        raise
                else:
                    if not count:
                        break
                    size += count
                    # An exception of OpenSSL's costs more than to feed it before it asks.
                    if not incoming.pending:
                        self._feed()
                if perf_counter() >= ends:
                    return size or None
        except ssl.SSLWantReadError:
            self._is_starved = True
            self.is_drained = self._transport.is_drained
            with suppress(*_BROKEN):  # It will be read, too, that the connection is broken.
                self._drain()  # T2
            if not size:
                return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass  # T4
        except ssl.SSLError as exc:
            self._error = exc
        if self._error is not None and not size:
            raise _broken(self._error) from self._error
        return size

    def _take_encrypted(self, data: bytes | memoryview) -> None:
        """Take bytes from the socket; none are its end. All earlier records were fed."""
        if data:
            # The bytes that are left are a part of a header.
            self._unread = memoryview(b"".join((self._unread, data)) if self._unread else data)
            self._feed()
        else:
            self._incoming.write_eof()
            self._wake_writer()

    def _feed(self) -> bool:
        """Give OpenSSL some of the bytes that were read; return whether there were any (T3).

        A header is fed as a whole, because it says where the next record begins. The buffer of a
        ``MemoryBIO`` grows with what is in it and never shrinks. As that is one record, a
        connection does not keep the memory of its largest read (E46).
        """
        unread, start, end = self._unread, 0, self._record_left
        if not end:
            last_header = min(len(unread), _FEED_SIZE) - _HEADER_SIZE
            for _ in range(_MAX_FED_RECORDS):
                if end > last_header:
                    break
                start = end
                end += _HEADER_SIZE + _record_length(unread, start)[0]
            if start and end > _FEED_SIZE:
                end = start
        # A record may be longer than what has come. Its rest is fed with the next read.
        size = min(end, len(unread))
        if not size:
            return False
        self._incoming.write(unread[:size])
        self._unread = unread[size:] or _NOTHING
        self._record_left = end - size
        self._wake_writer()
        return True

    def _wake_writer(self) -> None:
        """Have a writer try again that waits for a renegotiation."""
        if self._has_read is not None:
            self._has_read.set()
            self._has_read = None

    def half_close(self) -> None:
        self._send_close_notify()
        self._transport.half_close()

    def close(self) -> None:
        self._send_close_notify()
        self._transport.close()
        self._wake_writer()

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
