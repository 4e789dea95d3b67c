"""Trio's streams with nothing on top, as the limit: bytes are counted, not looked at.

It knows what size the messages have, parses nothing, makes no messages, masks with zeros, and
believes any answer to its handshake. Each message is a write of its own, so that clients which
gather some before they write can be faster in sending.
"""

from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import trio

from .loops import OnTrio

_HEADER_SIZES = ((126, 2), (65_536, 4), (2**63, 10))
_MASK = b"\0\0\0\0"
_READ_SIZE = 262_144  # bytes


def _header_size(size: int) -> int:
    return next(header for limit, header in _HEADER_SIZES if size < limit)


class _Connection:
    def __init__(self, stream, flood_size, credit):
        self._stream = stream
        self._frame_size = flood_size + _header_size(flood_size)
        self._credit = credit

    async def send(self, message):
        payload = message.encode() if isinstance(message, str) else message
        first_byte = 0x81 if isinstance(message, str) else 0x82
        size = len(payload)
        self._frame_size = size + _header_size(size)  # of the answer, which has no mask
        if size < 126:
            header = bytes([first_byte, 0x80 | size]) + _MASK
        elif size < 65_536:
            header = bytes([first_byte, 0x80 | 126]) + size.to_bytes(2, "big") + _MASK
        else:  # Not copied only to be in one piece.
            header = bytes([first_byte, 0x80 | 127]) + size.to_bytes(8, "big") + _MASK
            await self._stream.send_all(header)
            await self._stream.send_all(payload)
            return
        await self._stream.send_all(header + payload)

    async def receive(self):
        while self._credit < self._frame_size:
            data = await self._stream.receive_some(_READ_SIZE)
            if not data:
                raise trio.EndOfChannel
            self._credit += len(data)
        self._credit -= self._frame_size


class _Client(OnTrio):
    is_limit = True
    compresses = False

    @asynccontextmanager
    async def connect(self, url, ssl_context, *, compress):  # noqa: ARG002 it has no compression
        parts = urlsplit(url)
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        if ssl_context is not None:
            stream = trio.SSLStream(
                stream, ssl_context, server_hostname=parts.hostname, https_compatible=True
            )
        async with stream:
            await stream.send_all(
                f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some(_READ_SIZE)
            _, _, first_frames = answer.partition(b"\r\n\r\n")
            flood_size = int(dict(parse_qsl(parts.query)).get("size", 0))
            yield _Connection(stream, flood_size, len(first_frames))
            await stream.send_all(b"\x88\x80" + _MASK)
            while await stream.receive_some(_READ_SIZE):
                pass  # The server closes, as RFC 6455 §7.1.1 has it.


CLIENT = _Client()
