"""Deflate data without content (RFC 1951), which costs the receiver the most CPU a byte."""

from __future__ import annotations

from collections.abc import Iterable

STORED = b"\x00\x00\x00\xff\xff"  # RFC 1951 §3.2.4: a stored block of 0 bytes
STREAM = b"\x03\x00"  # an empty block with BFINAL: a deflate stream of its own (RFC 7692 §7.2.3.4)
STREAM_WITH_BYTE = b"\x4b\x04\x00"  # the same with an "a" in it: zlib also makes its window

# RFC 1951 §3.2.7: the order of the lengths in the header of a dynamic block
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_ZEROS = 18  # the symbol for 11 to 138 lengths of 0


def _number(fields: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Pack pairs of value and width, the first into the lowest bits; return number and width."""
    number = bits = 0
    for value, width in fields:
        number |= value << bits
        bits += width
    return number, bits


def _fixed() -> tuple[int, int]:
    """Make a block with fixed codes (RFC 1951 §3.2.6): nothing but the end of the block."""
    return _number([(0, 1), (1, 2), (0, 7)])


def _dynamic() -> tuple[int, int]:
    """Make a block with codes of its own (RFC 1951 §3.2.7).

    zlib builds three tables of codes for it, from 90 bits. The code lengths have two symbols, of
    one bit each: 18 is 1, and 1 is 0. The only literal with a code is the end of the block.
    """
    lengths = [1 if symbol in (_ZEROS, 1) else 0 for symbol in _ORDER[:18]]
    return _number(
        [
            (0, 1),  # no BFINAL
            (2, 2),  # dynamic
            (0, 5),  # 257 literals
            (0, 5),  # 1 distance
            (len(lengths) - 4, 4),
            *((length, 3) for length in lengths),
            (1, 1),  # 138 literals without a code
            (138 - 11, 7),
            (1, 1),  # and 118 more
            (118 - 11, 7),
            (0, 1),  # the end of the block has a code of one bit
            (0, 1),  # and so has the distance
            (0, 1),  # the end of the block
        ]
    )


def _repeated(block: tuple[int, int], size: int) -> bytes:
    """Return about `size` bytes of a block, then what a sync flush leaves (RFC 7692 §7.2.1)."""
    number, bits = block
    eight = sum(number << bits * place for place in range(8))  # a whole number of bytes
    return eight.to_bytes(bits, "little") * (size // bits) + b"\x00"


def stored(size: int) -> bytes:
    return STORED * (size // len(STORED)) + b"\x00"


def fixed(size: int) -> bytes:
    return _repeated(_fixed(), size)


def dynamic(size: int) -> bytes:
    return _repeated(_dynamic(), size)
