"""Compressed messages of a server (RFC 7692 §6, §7.2): right, odd and hostile ones."""

from __future__ import annotations

import random
import zlib

import wire
from protocol_tables import make_protocol

from trio_wsclient import DataFrame, Opcode, PerMessageDeflate
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Event, Ping, Pong
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol

LIMIT = 1000  # bytes: max_message_size of the tables
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"  # ends every flush, and is not sent (RFC 7692 §7.2.1)


def deflating(params: str = "", *, limit: int | None = LIMIT, **settings: object) -> Protocol:
    """Make a protocol with compression as it is after a server's answer."""
    extension = Deflate(PerMessageDeflate(**settings), Limits(limit))
    extension.finalize(f"permessage-deflate{params}")
    return make_protocol(extensions=[extension], max_message_size=limit)


def squeezed(payload: bytes, opcode: int = wire.TEXT, *, fin: bool = True) -> bytes:
    """Make the first frame of a compressed message."""
    return wire.frame(opcode, payload, fin=fin, rsv=RSV1)


class Compressor:
    """Compresses one message after the other, as a server does."""

    def __init__(self, bits: int = 15) -> None:
        self._bits = max(bits, 9)  # zlib compresses with no smaller window
        self._zlib = zlib.compressobj(wbits=-self._bits)

    def compress(self, *parts: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
        data = b""
        for part in parts:
            data += self._zlib.compress(part) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        data += self._zlib.flush(mode)
        if mode == zlib.Z_FINISH:
            self._zlib = zlib.compressobj(wbits=-self._bits)
            return data
        return data.removesuffix(TAIL)


def raw(data: bytes) -> bytes:
    """Compress for a message of its own."""
    return Compressor().compress(data)


def repetitive(*sizes: int) -> list[bytes]:
    """Make messages of `sizes` phrases, so that they refer back as far as a window lets."""
    dice = random.Random(1)
    phrases = [dice.randbytes(60) for _ in range(400)]
    return [b"".join(dice.choices(phrases, k=size)) for size in sizes]


def stored(data: bytes) -> bytes:
    """Make a message of one plain block (RFC 1951 §3.2.4)."""
    size = len(data)
    return b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data + b"\0"


def from_bits(bits: str) -> bytes:
    """Pack bits as RFC 1951 §3.1.1 does: the first one is the lowest of its byte."""
    bits = bits.replace(" ", "")
    groups = (bits[start : start + 8] for start in range(0, len(bits), 8))
    return bytes(int(group[::-1], 2) for group in groups)


def repeat(distance_code: int, extra_bits: str) -> bytes:
    """Make a message that repeats three bytes from a distance back (RFC 1951 §3.2.5, §3.2.6)."""
    return from_bits(f"010 0000001 {distance_code:05b} {extra_bits} 0000000 000")


def messages(events: list[Event]) -> list[str | bytes | Ping | Pong]:
    """Put the frames of messages together again."""
    whole: list[str | bytes | Ping | Pong] = []
    parts: list[DataFrame] = []
    for event in events:
        if not isinstance(event, DataFrame):
            whole.append(event)
            continue
        parts.append(event)
        if event.fin:
            payload = b"".join(part.payload for part in parts)
            whole.append(payload.decode() if parts[0].opcode is Opcode.TEXT else payload)
            parts.clear()
    assert not parts
    return whole


HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")  # RFC 7692 §7.2.3.1
HELLO_AGAIN = bytes.fromhex("f2 00 11 00 00")  # §7.2.3.2: five bytes from five back
FINAL = bytes.fromhex("f3 48 cd c9 c9 07 00")  # §7.2.3.4, without the octet after it
TWO_BLOCKS = bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")  # §7.2.3.5
LONG = bytes(range(256)) * 3 + bytes(LIMIT - 768)

# What the RFC allows
CONVERSATIONS: dict[str, tuple[bytes, list[str | bytes | Ping | Pong]]] = {
    "one frame": (squeezed(HELLO), ["Hello"]),
    "binary": (squeezed(HELLO, wire.BINARY), [b"Hello"]),
    "two frames": (squeezed(HELLO[:3], fin=False) + wire.continuation(HELLO[3:]), ["Hello"]),
    "frames of a byte": (
        squeezed(HELLO[:1], fin=False)
        + b"".join(wire.continuation(bytes([byte]), fin=False) for byte in HELLO[1:-1])
        + wire.continuation(HELLO[-1:]),
        ["Hello"],
    ),
    "empty frames": (
        squeezed(b"", fin=False)
        + wire.continuation(HELLO[:4], fin=False)
        + wire.continuation(b"", fin=False)
        + wire.continuation(HELLO[4:], fin=False)
        + wire.continuation(b""),
        ["Hello"],
    ),
    "a context that is taken over": (squeezed(HELLO) + squeezed(HELLO_AGAIN), ["Hello", "Hello"]),
    "a plain block": (squeezed(stored(b"Hello")), ["Hello"]),
    "two blocks": (squeezed(TWO_BLOCKS), ["Hello"]),
    "empty blocks at the end": (squeezed(HELLO + (TAIL + b"\0") * 3), ["Hello"]),
    "an empty block of fixed codes": (squeezed(HELLO + TAIL + b"\2\0"), ["Hello"]),
    "dynamic codes": (squeezed(raw(LONG), wire.BINARY), [LONG]),
    "BFINAL": (squeezed(FINAL + b"\0"), ["Hello"]),
    "BFINAL without an octet after it": (squeezed(FINAL), ["Hello"]),
    "BFINAL twice (E18)": (squeezed(FINAL + b"\0") * 2, ["Hello", "Hello"]),
    "BFINAL twice without an octet after it (E18)": (squeezed(FINAL) * 2, ["Hello", "Hello"]),
    "BFINAL, then not": (squeezed(FINAL) + squeezed(HELLO), ["Hello", "Hello"]),
    "blocks with BFINAL, and one without": (squeezed(FINAL * 3 + HELLO), ["Hello" * 4]),
    "empty blocks with BFINAL": (squeezed(b"\3\0" * 3), [""]),
    "a plain block with BFINAL": (squeezed(b"\1\5\0\xfa\xffHello"), ["Hello"]),
    "BFINAL in frames": (
        squeezed(FINAL[:4], fin=False) + wire.continuation(FINAL[4:] + FINAL),
        ["HelloHello"],
    ),
    "BFINAL, then an empty frame": (squeezed(FINAL, fin=False) + wire.continuation(b""), ["Hello"]),
    "empty": (squeezed(b"\0"), [""]),
    "empty, in no bytes": (squeezed(b""), [""]),
    "empty, in empty frames": (squeezed(b"", fin=False) + wire.continuation(b""), [""]),
    "empty, in the last frame": (squeezed(b"", fin=False) + wire.continuation(b"\0"), [""]),
    "empty ones keep the context": (
        squeezed(HELLO) + squeezed(b"") + squeezed(b"\0") + squeezed(HELLO_AGAIN),
        ["Hello", "", "", "Hello"],
    ),
    "plain ones keep the context": (
        squeezed(HELLO)
        + wire.text("plain")
        + wire.text("in ", fin=False)
        + wire.continuation(b"frames")
        + squeezed(HELLO_AGAIN),
        ["Hello", "plain", "in frames", "Hello"],
    ),
    "control frames between frames (E19)": (
        squeezed(HELLO[:2], fin=False)
        + wire.ping(HELLO)
        + wire.continuation(b"", fin=False)
        + wire.pong(b"\xff")
        + wire.continuation(HELLO[2:5], fin=False)
        + wire.ping()
        + wire.continuation(HELLO[5:]),
        [Ping(HELLO), Pong(b"\xff"), Ping(b""), "Hello"],
    ),
    "a code point cut by frames and blocks": (
        squeezed(stored(b"\xe2\x98") + TAIL, fin=False) + wire.continuation(stored(b"\x83")),
        ["\u2603"],
    ),
    "of just the limit": (squeezed(raw(bytes(LIMIT))), ["\0" * LIMIT]),
    "of just the limit, in frames": (
        squeezed(raw(bytes(LIMIT))[:3], fin=False) + wire.continuation(raw(bytes(LIMIT))[3:]),
        ["\0" * LIMIT],
    ),
    "each of just the limit": (squeezed(raw(bytes(LIMIT))) * 3, ["\0" * LIMIT] * 3),
    "longer than the limit before it is inflated": (
        squeezed((stored(b"abcde") + TAIL) * 200 + b"\0"),
        ["abcde" * 200],
    ),
}

# Streams that are not deflate; most are from the tests of zlib itself.
NOT_DEFLATE = {
    "a block of type 3": (b"\x06", "invalid block type"),
    "a block of type 3 after BFINAL": (FINAL + b"\x06", "invalid block type"),
    "two lengths that differ": (bytes(5), "invalid stored block lengths"),
    "too many codes": (b"\xfc\0\0", "too many length or distance symbols"),
    "code lengths that fit no tree": (bytes.fromhex("0400feff"), "invalid code lengths set"),
    "a repetition of nothing": (bytes.fromhex("0400244900"), "invalid bit length repeat"),
    "a repetition beyond the end": (bytes.fromhex("040024e9ffff"), "invalid bit length repeat"),
    "no code for the end": (bytes.fromhex("040024e9ff6d"), "invalid code -- missing end-of-block"),
    "lengths of literals that fit no tree": (
        bytes.fromhex("048049922449922471ffff931100"),
        "invalid literal/lengths set",
    ),
    "lengths of distances that fit no tree": (
        bytes.fromhex("04804992244992240fb4ffffc384"),
        "invalid distances set",
    ),
    "a code without a symbol": (
        bytes.fromhex("04c0810800000000207feb0b0000"),
        "invalid literal/length code",
    ),
    "literal 286": (from_bits("010 11000110 00000"), "invalid literal/length code"),
    "distance 30": (from_bits("010 0000001 11110 0"), "invalid distance code"),
    "a distance into nothing": (repeat(0, ""), "invalid distance too far back"),
    "a distance beyond the beginning": (
        stored(b"abc") + TAIL + repeat(3, ""),
        "invalid distance too far back",
    ),
    "a distance beyond BFINAL": (FINAL + HELLO_AGAIN, "invalid distance too far back"),
    "no end in a plain block": (stored(b"Hello")[:8], "the message ends inside a block"),
    "no end in a block of fixed codes": (HELLO[:4], "the message ends inside a block"),
    "no end in the lengths of a block": (b"\x5c\x11", "the message ends inside a block"),
    # The tail completes them, and then is the byte 0 and the end of the last block.
    "no end in the lengths of a last block": (
        bytes.fromhex("05f481a66ddbb66ddb869872a9ad8fb9f6b9efff3ff701"),
        "the message ends inside a block",
    ),
}

TOO_BIG = f"a message over max_message_size ({LIMIT}) once inflated"
NAMES = {0: "CONTINUATION", 1: "TEXT", 2: "BINARY", 8: "CLOSE", 9: "PING", 10: "PONG"}
BITS = {1: "RSV3", 2: "RSV2", 4: "RSV1", 5: "RSV1 and RSV3", 6: "RSV1 and RSV2"}

# What it forbids, with the Close that answers it


def not_utf8(byte: int, position: int) -> str:
    return f"a TEXT message that is not UTF-8: byte 0x{byte:02x} at position {position}"


def reserved(opcode: int, bits: int) -> str:
    return f"a {NAMES[opcode]} frame with {BITS[bits]}, which is not in use"


VIOLATIONS: dict[str, tuple[bytes, int, str]] = {
    **{
        name: (squeezed(data), 1007, f"not deflate data: {problem}")
        for name, (data, problem) in NOT_DEFLATE.items()
    },
    "not deflate in the last frame": (
        squeezed(stored(b"Hello") + TAIL, fin=False) + wire.ping() + wire.continuation(b"\6"),
        1007,
        "not deflate data: invalid block type",
    ),
    "over the limit by a byte": (squeezed(raw(bytes(LIMIT + 1))), 1009, TOO_BIG),
    "over the limit by a byte in a plain block": (
        squeezed(stored(bytes(LIMIT + 1)), wire.BINARY),
        1009,
        TOO_BIG,
    ),
    "over the limit by a byte after BFINAL": (
        squeezed(FINAL + raw(bytes(LIMIT - 4)), wire.BINARY),
        1009,
        TOO_BIG,
    ),
    "over the limit by the last frame": (
        squeezed(stored(bytes(LIMIT)) + TAIL, fin=False)
        + wire.ping()
        + wire.continuation(b"", fin=False)
        + wire.continuation(stored(b"a")),
        1009,
        TOO_BIG,
    ),
    "over the limit by a thousand": (squeezed(raw(bytes(LIMIT * 1000))), 1009, TOO_BIG),
    "over the limit before the message ends": (
        wire.frame(wire.BINARY, stored(bytes(LIMIT + 1)), rsv=RSV1, length=2**62),
        1009,
        TOO_BIG,
    ),
    "over the limit in the plain": (
        squeezed(HELLO) + wire.binary(bytes(LIMIT + 1)),
        1009,
        f"a message of at least {LIMIT + 1} bytes, over max_message_size ({LIMIT})",
    ),
    "a byte that is never in UTF-8": (
        squeezed(stored(b"a\xffb")),
        1007,
        not_utf8(0xFF, 1),
    ),
    "an end inside a code point": (
        squeezed(stored(b"a\xe2\x98")),
        1007,
        not_utf8(0xE2, 1),
    ),
    "an end inside a code point, in frames": (
        squeezed(stored(b"\xe2") + TAIL, fin=False) + wire.continuation(stored(b"\x98")),
        1007,
        not_utf8(0xE2, 0),
    ),
    "an empty end inside a code point": (
        squeezed(stored(b"\xe2\x98"), fin=False) + wire.continuation(),
        1007,
        not_utf8(0xE2, 0),
    ),
    **{
        f"RSV1 on opcode {opcode}": (wire.frame(opcode, rsv=RSV1), 1002, reserved(opcode, 4))
        for opcode in (wire.PING, wire.PONG, wire.CLOSE)
    },
    **{
        f"reserved bits {rsv} on opcode {opcode}": (
            wire.frame(opcode, rsv=rsv),
            1002,
            # Compression uses RSV1 on the first frame of a message.
            reserved(opcode, rsv if opcode == wire.PING else rsv & ~RSV1),
        )
        for rsv in (1, 2, 5, 6)
        for opcode in (wire.TEXT, wire.BINARY, wire.PING)
    },
    "RSV1 on a continuation": (
        squeezed(HELLO[:3], fin=False) + wire.frame(wire.CONTINUATION, HELLO[3:], rsv=RSV1),
        1002,
        reserved(wire.CONTINUATION, 4),
    ),
    "RSV1 on a continuation of a plain message": (
        wire.text("plain", fin=False) + wire.frame(wire.CONTINUATION, HELLO, rsv=RSV1),
        1002,
        reserved(wire.CONTINUATION, 4),
    ),
    "RSV1 on a ping between frames": (
        squeezed(HELLO[:3], fin=False) + wire.frame(wire.PING, rsv=RSV1),
        1002,
        reserved(wire.PING, 4),
    ),
}
