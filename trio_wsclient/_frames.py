"""Plain frames (RFC 6455 §5.2), by the accelerator in C where it was built, and their keys.

Pure Python, ``_frames_py``, says what the functions do, and does it where there is no accelerator
or the environment variable ``TRIO_WSCLIENT_PURE`` is set.
"""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

from trio_wsclient import _frames_py
from trio_wsclient._frames_py import BINARY, COMPRESSED, TEXT, header, long_size

__all__ = [
    "BINARY",
    "COMPRESSED",
    "IMPLEMENTATION",
    "PIECE_SIZE",
    "TEXT",
    "build",
    "build_in_pieces",
    "decode",
    "long_size",
]

PIECE_SIZE: Final = 65_536  # bytes; like the next one a multiple of the key's, which goes on
_MAX_HEADER_SIZE: Final = 16  # bytes, with the key, rounded up
# Masking keys drawn at once: a call of the system costs more than the bytes.
_KEYS: Final = struct.Struct("4s" * 1024)


def choose(environ: Mapping[str, str]) -> ModuleType:
    """Return the module whose functions are to be used."""
    if environ.get("TRIO_WSCLIENT_PURE"):
        return _frames_py
    try:
        return importlib.import_module("trio_wsclient._frames_c")
    except ImportError:  # It is not built, or for another platform.
        return _frames_py


if TYPE_CHECKING:
    _chosen = _frames_py
else:
    _chosen = choose(os.environ)

IMPLEMENTATION: Final[Literal["c", "python"]] = "python" if _chosen is _frames_py else "c"

decode = _chosen.decode
_build = _chosen.build
_mask = _chosen.mask


def build(first_byte: int, payload: bytes) -> bytes:
    """Build a frame as a client sends it, masked with a fresh key (RFC 6455 §5.3)."""
    return _build(first_byte, payload, _take_key())


def build_in_pieces(first_byte: int, payload: bytes) -> Iterator[bytes | bytearray]:
    """Build a frame piece by piece: what is masked as it is written stays in the cache."""
    key = _take_key()
    stop = PIECE_SIZE - _MAX_HEADER_SIZE
    yield b"".join((header(first_byte, len(payload)), key, _mask(payload, key, 0, stop)))
    for start in range(stop, len(payload), PIECE_SIZE):
        yield _mask(payload, key, start, start + PIECE_SIZE)


_keys: list[bytes] = []


def _take_key() -> bytes:
    try:
        return _keys.pop()  # Not asked before whether there is one: another thread may take it.
    except IndexError:
        fresh: tuple[bytes, ...] = _KEYS.unpack(os.urandom(_KEYS.size))
        _keys.extend(fresh[1:])
        return fresh[0]


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    # A child must not use the keys of its parent once more.
    os.register_at_fork(after_in_child=_keys.clear)
