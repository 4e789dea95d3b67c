"""Plain frames (RFC 6455 §5.2), decoded and built in pure Python.

This is the specification. ``frames_c.c`` does the same, where it is built.

A frame is *plain* if it is a whole message: FIN, Text or Binary, no reserved bit, no mask, a size
in its shortest form and within the limit; where deflate is in use RSV1 may be set (RFC 7692 §6).
Nearly all frames are plain. ``decode`` stops before any other frame, before a frame that has not
come completely, and before Text that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trio_wsclient._protocol.events import DataFrame, Entry, Opcode
from trio_wsclient._protocol.header import FIN, MASKED, RSV1

TEXT: Final = FIN | Opcode.TEXT  # first bytes of a frame
BINARY: Final = FIN | Opcode.BINARY
COMPRESSED: Final = RSV1  # RFC 7692 §6

MAX_MESSAGES: Final = 512  # that one call decodes: up to 2 ms, while other tasks wait
INTERFACE: Final = 3  # a number for the functions as they are here, of both variants
_LONG: Final = 512  # bytes from which on `bytes.translate` masks faster than one large integer

# What masking by each byte makes of all bytes. Large integers make it in a tenth of the time.
_ALL_BYTES: Final = int.from_bytes(range(256))
_TABLES: Final = [
    (_ALL_BYTES ^ int.from_bytes(bytes([key]) * 256)).to_bytes(256) for key in range(256)
]


def decode(
    data: bytes,
    start: int,
    max_size: int,
    make_text: Callable[[bytes], DataFrame] | None,
    inflate: Callable[[int, bytes], Entry | None] | None,
) -> tuple[list[Entry], int, int]:
    """Decode the plain frames at the beginning of the input.

    Args:
        data: The input.
        start: Where in it to begin, at the border of a frame.
        max_size: Bytes of a payload; one that is larger is not plain.
        make_text: What makes a message of the payload of Text; ``None`` to decode it to a ``str``.
        inflate: What makes a message of a compressed payload and the first byte of its frame,
            without RSV1; it returns ``None`` to stop there. ``None`` if there is no such frame.

    Returns:
        The messages, where it stopped, and how many bytes they take (of a ``str`` that is not ASCII
        CPython needs up to four a character), without those of ``inflate``.
    """
    messages: list[Entry] = []
    end = len(data)
    taken = 0
    while start + 2 <= end and len(messages) < MAX_MESSAGES:
        first_byte, size = data[start], data[start + 1]
        begin = start + 2
        if size > 125:
            begin, size = long_size(data, start)
        stop = begin + size
        if not 0 <= size <= max_size or stop > end:
            break
        payload = data[begin:stop]
        if first_byte == BINARY:
            messages.append(payload)
        elif first_byte != TEXT:
            first_byte ^= COMPRESSED
            if inflate is None or first_byte not in {TEXT, BINARY}:
                break
            message = inflate(first_byte, payload)
            if message is None:
                break
            messages.append(message)
            size = 0
        elif make_text is not None:
            messages.append(make_text(payload))
        else:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                break
            messages.append(text)
            if not text.isascii():
                size = 4 * len(text)
        taken += size
        start = stop
    return messages, start, taken


def decode_single(data: bytes | memoryview, max_size: int, decode_text: bool) -> str | bytes | None:
    """Decode a plain frame that is the whole input; return ``None`` if the input is anything else.

    Args:
        data: The input.
        max_size: Bytes of a payload; a larger one is not plain.
        decode_text: Whether Text is decoded to a ``str``.
    """
    if len(data) < 2 or data[0] not in {TEXT, BINARY}:
        return None
    begin, size = 2, data[1]
    if size > 125:
        begin, size = long_size(data, 0)
    if not 0 <= size <= max_size or begin + size != len(data):
        return None
    payload = bytes(data[begin:])
    if data[0] == BINARY or not decode_text:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def long_size(data: bytes | memoryview, start: int) -> tuple[int, int]:
    """Return where the payload of a frame begins whose second byte is over 125, and its size.

    The size is -1 if it has not come completely, if it is not in its shortest form, or if the frame
    is masked.
    """
    length = data[start + 1]
    if length >= MASKED:
        return start, -1
    begin, least = (start + 4, 126) if length == 126 else (start + 10, 65_536)
    size = int.from_bytes(data[start + 2 : begin], "big")
    return begin, size if size >= least and begin <= len(data) else -1


def build(first_byte: int, payload: bytes | bytearray, key: bytes) -> bytes:
    """Build a frame as a client sends it, masked with a key of 4 bytes (RFC 6455 §5.3)."""
    size = len(payload)
    return b"".join((header(first_byte, size), key, mask(payload, key, 0, size)))


def header(first_byte: int, size: int) -> bytes:
    """Build the header of a frame of a client, up to the key."""
    if size <= 125:
        return bytes((first_byte, MASKED | size))
    if size < 65_536:
        return bytes((first_byte, MASKED | 126)) + size.to_bytes(2, "big")
    return bytes((first_byte, MASKED | 127)) + size.to_bytes(8, "big")


def mask(payload: bytes | bytearray, key: bytes, start: int, stop: int) -> bytes | bytearray:
    """Mask a piece of a payload: a XOR with the key, over and over.

    Args:
        payload: The payload.
        key: Its 4 bytes.
        start: Where the piece begins, at a multiple of 4.
        stop: Where it ends, if not at the end of the payload.
    """
    stop = min(stop, len(payload))
    size = stop - start
    if size < _LONG:
        keys = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(payload[start:stop], "little") ^ keys).to_bytes(size, "little")
    masked = bytearray(size)
    for i, byte in enumerate(key):
        masked[i::4] = payload[start + i : stop : 4].translate(_TABLES[byte])
    return masked
