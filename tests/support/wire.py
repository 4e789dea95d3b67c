"""Bytes of a server, made and read by hand (RFC 6455 §5.2), so that wrong ones exist too."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    length: int | None = None,
    length_size: int | None = None,
) -> bytes:
    """Make a frame; `length` may lie, and `length_size` (1, 2 or 8 bytes) be longer than needed."""
    length = len(payload) if length is None else length
    if length_size is None:
        length_size = 1 if length < 126 else 2 if length < 65536 else 8
    mask_bit = 0x80 if masked else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length_size == 1:
        head += bytes([mask_bit | length])
    elif length_size == 2:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def text(data: str, *, fin: bool = True) -> bytes:
    return frame(TEXT, data.encode(), fin=fin)


def binary(data: bytes, *, fin: bool = True) -> bytes:
    return frame(BINARY, data, fin=fin)


def continuation(data: bytes = b"", *, fin: bool = True) -> bytes:
    return frame(CONTINUATION, data, fin=fin)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def ping(payload: bytes = b"") -> bytes:
    return frame(PING, payload)


def pong(payload: bytes = b"") -> bytes:
    return frame(PONG, payload)


def accept_key(request: bytes) -> str:
    key = re.search(rb"(?im)^sec-websocket-key: *([^\r]*)", request)
    assert key is not None, request
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key[1] + guid).digest()).decode()


def answer(request: bytes, *headers: str) -> bytes:
    """Make the answer that accepts a request, with further header lines."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(request)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Cut bytes at the positions that lie inside of them, in any order; no piece is empty."""
    borders = [0, *sorted({position for position in positions if 0 < position < len(data)})]
    return [data[start:end] for start, end in zip(borders, [*borders[1:], len(data)], strict=True)]


@dataclass(frozen=True)
class ClientFrame:
    """A frame as the client has sent it, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int | None:
        """The code of a Close frame."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None


class ClientFrameReader:
    """Parses what a client sends, strictly; `pending` has the bytes of an incomplete frame."""

    def __init__(self) -> None:
        self.pending = b""
        self.has_extensions = False  # whether a reserved bit may be set

    def feed(self, data: bytes) -> list[ClientFrame]:
        self.pending += data
        frames = []
        while (parsed := self._parse()) is not None:
            frames.append(parsed)
        return frames

    def _parse(self) -> ClientFrame | None:
        data = self.pending
        if len(data) < 2:
            return None
        rsv = data[0] >> 4 & 7
        assert self.has_extensions or not rsv, "a reserved bit is set"
        assert data[0] & 0x0F in (0, 1, 2, 8, 9, 10), "a reserved opcode"
        assert data[1] & 0x80, "a client's frame is masked (RFC 6455 §5.1)"
        length, start = data[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return None
            length = int.from_bytes(data[2:start], "big")
        end = start + 4 + length
        if len(data) < end:
            return None
        mask = data[start : start + 4] * (length // 4 + 1)
        masked = int.from_bytes(data[start + 4 : end], "big")
        unmasked = (masked ^ int.from_bytes(mask[:length], "big")).to_bytes(length, "big")
        self.pending = data[end:]
        return ClientFrame(data[0] & 0x0F, unmasked, bool(data[0] & 0x80), rsv)
