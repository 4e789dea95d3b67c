"""Plain frames (RFC 6455 §5.2): the functions in C where they were built, and masking keys.

`frames_py`, in pure Python, says what each function does. It does the work where there is no
accelerator, or where the environment variable ``TRIO_WSCLIENT_PURE`` is set.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from trio_wsclient._protocol import frames_py
from trio_wsclient._protocol.events import DataFrame, Entry
from trio_wsclient._protocol.frames_py import (
    BINARY,
    COMPRESSED,
    INTERFACE,
    MAX_MESSAGES,
    TEXT,
    header,
)

_Decode: TypeAlias = Callable[
    [
        bytes | memoryview,
        int,
        int,
        Callable[[bytes], DataFrame] | None,
        Callable[[int, bytes], Entry | None] | None,
    ],
    tuple[list[Entry], int, int],
]

if TYPE_CHECKING:
    chosen = frames_py
else:
    # An ordinary import statement, as programs that freeze others look for these.
    try:
        from trio_wsclient._protocol import frames_c as chosen
    except ImportError:  # It is not built, or for another platform.
        chosen = frames_py
    # A file that an older version has left behind may take other arguments.
    is_stale = getattr(chosen, "INTERFACE", None) != INTERFACE
    if is_stale or os.environ.get("TRIO_WSCLIENT_PURE"):
        chosen = frames_py

__all__ = [
    "BINARY",
    "COMPRESSED",
    "DECODES_VIEWS",
    "IMPLEMENTATION",
    "MAX_MESSAGES",
    "PIECE_SIZE",
    "TEXT",
    "build",
    "build_in_pieces",
    "decode",
    "decode_single",
]

IMPLEMENTATION: Final[Literal["c", "python"]] = "python" if chosen is frames_py else "c"

# Bytes. Both are multiples of 4, so that each piece starts at the first byte of the key.
PIECE_SIZE: Final = 262_144
_MAX_HEADER_SIZE: Final = 16  # bytes, with the key, rounded up
# Masking keys drawn at once: a call of the system costs more than the bytes.
_KEY_BATCH: Final = struct.Struct("4s" * 1024)

# Whether `decode` takes a `memoryview`: in Python that would be slower than `bytes`.
DECODES_VIEWS: Final = chosen is not frames_py

decode: _Decode = chosen.decode  # type: ignore[assignment]  # views only if DECODES_VIEWS
decode_single = chosen.decode_single
_build = chosen.build
_mask = chosen.mask


def build(first_byte: int, payload: bytes | bytearray) -> bytes:
    """Build a frame as a client sends it, masked with a fresh key (RFC 6455 §5.3)."""
    return _build(first_byte, payload, _take_key())


def build_in_pieces(first_byte: int, payload: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """Build a frame piece by piece: what is masked as it is written stays in the cache."""
    key = _take_key()
    stop = PIECE_SIZE - _MAX_HEADER_SIZE
    yield b"".join((header(first_byte, len(payload)), key, _mask(payload, key, 0, stop)))
    for start in range(stop, len(payload), PIECE_SIZE):
        yield _mask(payload, key, start, start + PIECE_SIZE)


_keys: list[bytes] = []


def _take_key() -> bytes:
    try:
        return _keys.pop()  # Between a check and a `pop` another thread may take the last one.
    except IndexError:
        fresh: tuple[bytes, ...] = _KEY_BATCH.unpack(os.urandom(_KEY_BATCH.size))
        _keys.extend(fresh[1:])
        return fresh[0]


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    # A child must not use the keys of its parent once more.
    os.register_at_fork(after_in_child=_keys.clear)
