"""What a server sends: inputs that the RFC allows and that it forbids, and how to read them."""

from __future__ import annotations

import wire

from trio_wsclient import DataFrame, Opcode
from trio_wsclient._protocol.closing import CloseFrame
from trio_wsclient._protocol.events import Event, Ping, Pong
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol


def make_protocol(
    *, max_message_size: int | None = None, max_frame_size: int | None = None, **options: object
) -> Protocol:
    """Make a protocol with limits."""
    return Protocol(limits=Limits(max_message_size, max_frame_size), **options)


def next_events(protocol: Protocol, data: bytes) -> list[Event]:
    """Pass on bytes in a buffer, and use that for other bytes once `next_events` has returned."""
    buffer = bytearray(data)
    protocol.receive_data(memoryview(buffer))
    events = protocol.next_events()
    buffer[:] = b"\xee" * len(buffer)
    return events


def read(protocol: Protocol, *pieces: bytes) -> list[Event]:
    """Pass on what the server sends, and return the events; a violation takes effect at once."""
    events: list[Event] = []
    for piece in pieces:
        new = next_events(protocol, piece)
        while new or protocol.has_input:
            for event in flat(new):
                if isinstance(event, CloseFrame):
                    protocol.receive_close(event)
                else:
                    events.append(event)
            new = protocol.next_events()
        if protocol.violation is not None:
            protocol.fail_by_violation()
    return events


def flat(events: list[Event]) -> list[Event]:
    """Put the messages of a batch in its place."""
    return [
        each for event in events for each in (event[0] if isinstance(event, tuple) else [event])
    ]


def sent(protocol: Protocol) -> list[wire.ClientFrame]:
    """Return the Close frame that is to be written, if there is one."""
    reader = wire.ClientFrameReader()
    frames = reader.feed(protocol.take_close())
    assert not reader.pending
    return frames


def text(payload: bytes, *, fin: bool) -> DataFrame:
    return DataFrame(Opcode.TEXT, payload, fin)


def binary(payload: bytes, *, fin: bool) -> DataFrame:
    return DataFrame(Opcode.BINARY, payload, fin)


def continuation(payload: bytes, *, fin: bool) -> DataFrame:
    return DataFrame(Opcode.CONTINUATION, payload, fin)


# What the RFC allows (RFC 6455 §5.4, §5.6)
CONVERSATIONS: dict[str, tuple[bytes, list[Event]]] = {
    "text": (wire.text("Hello"), ["Hello"]),
    "text outside ASCII": (wire.text("ä☃😀\0"), ["ä☃😀\0"]),
    "empty text": (wire.text(""), [""]),
    "binary": (wire.binary(b"\x00\xff"), [b"\x00\xff"]),
    "empty binary": (wire.binary(b""), [b""]),
    "several": (wire.text("a") + wire.binary(b"b") + wire.text("c"), ["a", b"b", "c"]),
    "text in fragments": (
        wire.text("He", fin=False) + wire.continuation(b"l", fin=False) + wire.continuation(b"lo"),
        [text(b"He", fin=False), continuation(b"l", fin=False), continuation(b"lo", fin=True)],
    ),
    "binary in fragments": (
        wire.binary(b"\xff", fin=False) + wire.continuation(b"\xfe"),
        [binary(b"\xff", fin=False), continuation(b"\xfe", fin=True)],
    ),
    "empty fragments": (
        wire.text("", fin=False) + wire.continuation(b"", fin=False) + wire.continuation(b""),
        [text(b"", fin=False), continuation(b"", fin=False), continuation(b"", fin=True)],
    ),
    "a code point cut into fragments": (
        wire.frame(wire.TEXT, b"a\xf0\x9f", fin=False)
        + wire.continuation(b"", fin=False)
        + wire.continuation(b"\x98", fin=False)
        + wire.continuation(b"\x80b"),
        [
            text(b"a\xf0\x9f", fin=False),
            continuation(b"", fin=False),
            continuation(b"\x98", fin=False),
            continuation(b"\x80b", fin=True),
        ],
    ),
    "binary fragments that are not UTF-8, then text": (
        wire.binary(b"\xc3", fin=False) + wire.continuation(b"\xff") + wire.text("ä"),
        [binary(b"\xc3", fin=False), continuation(b"\xff", fin=True), "ä"],
    ),
    "control frames between fragments": (
        wire.text("a", fin=False) + wire.ping(b"p") + wire.pong(b"q") + wire.continuation(b"b"),
        [text(b"a", fin=False), Ping(b"p"), Pong(b"q"), continuation(b"b", fin=True)],
    ),
    "a control frame within a code point": (
        wire.frame(wire.TEXT, b"\xc3", fin=False) + wire.ping() + wire.continuation(b"\xa4"),
        [text(b"\xc3", fin=False), Ping(b""), continuation(b"\xa4", fin=True)],
    ),
    "control frames of 125 bytes": (
        wire.ping(b"p" * 125) + wire.pong(b"q" * 125),
        [Ping(b"p" * 125), Pong(b"q" * 125)],
    ),
    "lengths at the borders of their encodings": (
        b"".join(wire.binary(b"x" * size) for size in (125, 126, 127, 65535, 65536)),
        [b"x" * size for size in (125, 126, 127, 65535, 65536)],
    ),
    "long text": (wire.text("ä☃" * 20_000), ["ä☃" * 20_000]),
}


def bad_text(payload: bytes) -> bytes:
    return wire.frame(wire.TEXT, payload)


# What it forbids, and the code of the Close that answers it (RFC 6455 §5, §7.4, §8.1)
VIOLATIONS: dict[str, tuple[bytes, int]] = {
    **{
        f"reserved bit {rsv} on opcode {opcode}": (wire.frame(opcode, b"a", rsv=rsv), 1002)
        for rsv in (1, 2, 4, 7)
        for opcode in (wire.TEXT, wire.BINARY, wire.CLOSE, wire.PING, wire.PONG)
    },
    "a reserved bit on a continuation": (
        wire.text("a", fin=False) + wire.frame(wire.CONTINUATION, b"b", rsv=4),
        1002,
    ),
    **{
        f"reserved opcode {opcode}": (wire.frame(opcode, payload), 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for payload in (b"", b"a", b"a" * 200)
    },
    "a masked message": (wire.frame(wire.TEXT, b"a", masked=True), 1002),
    "a masked ping": (wire.frame(wire.PING, b"a", masked=True), 1002),
    "a masked empty message": (wire.frame(wire.BINARY, masked=True), 1002),
    "a ping in fragments": (wire.frame(wire.PING, b"a", fin=False), 1002),
    "a pong in fragments": (wire.frame(wire.PONG, b"a", fin=False), 1002),
    "a Close in fragments": (wire.frame(wire.CLOSE, b"\x03\xe8", fin=False), 1002),
    "a ping of 126 bytes": (wire.ping(b"a" * 126), 1002),
    "a pong of 126 bytes": (wire.pong(b"a" * 126), 1002),
    "a Close of 126 bytes": (wire.close(1000, b"a" * 124), 1002),
    "a ping of 65536 bytes": (wire.ping(b"a" * 65536), 1002),
    "a ping with a length of 2 bytes": (wire.frame(wire.PING, b"a", length_size=2), 1002),
    "125 in 2 bytes": (wire.frame(wire.BINARY, b"a" * 125, length_size=2), 1002),
    "0 in 2 bytes": (wire.frame(wire.BINARY, length_size=2), 1002),
    "65535 in 8 bytes": (wire.frame(wire.BINARY, b"a" * 65535, length_size=8), 1002),
    "0 in 8 bytes": (wire.frame(wire.BINARY, length_size=8), 1002),
    "a length of 2^63": (wire.frame(wire.BINARY, length=2**63), 1002),
    "a length of 2^64 - 1": (wire.frame(wire.BINARY, length=2**64 - 1), 1002),
    "a continuation first": (wire.continuation(b"a"), 1002),
    "an empty continuation first": (wire.continuation(), 1002),
    "a continuation that is not the last first": (wire.continuation(b"a", fin=False), 1002),
    "a continuation after a message": (wire.text("a") + wire.continuation(b"b"), 1002),
    "a continuation after a message in fragments": (
        wire.text("a", fin=False) + wire.continuation(b"b") + wire.continuation(b"c"),
        1002,
    ),
    "text inside text": (wire.text("a", fin=False) + wire.text("b"), 1002),
    "binary inside text": (wire.text("a", fin=False) + wire.binary(b"b"), 1002),
    "text inside binary": (wire.binary(b"a", fin=False) + wire.text("b", fin=False), 1002),
    "empty text inside binary": (wire.binary(b"", fin=False) + wire.text(""), 1002),
    "a Close of one byte": (wire.frame(wire.CLOSE, b"\x03"), 1002),
    **{
        f"Close {code}": (wire.close(code), 1002)
        for code in (
            *(0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100),
            *(1999, 2000, 2999, 5000, 9999, 65535),
        )
    },
    "a Close whose reason is not UTF-8": (wire.close(1000, b"a\xff"), 1007),
    "a Close whose reason is cut inside a code point": (wire.close(1000, b"a\xc3"), 1007),
    "a Close 1014 whose reason is not UTF-8": (wire.close(1014, b"\xff"), 1007),
    "a byte that is never in UTF-8": (bad_text(b"a\xffb"), 1007),
    "a continuation byte first": (bad_text(b"\x80"), 1007),
    "an overlong NUL": (bad_text(b"\xc0\x80"), 1007),
    "an overlong slash": (bad_text(b"\xe0\x80\xaf"), 1007),
    "a surrogate": (bad_text(b"\xed\xa0\x80"), 1007),
    "a code point over 10FFFF": (bad_text(b"\xf4\x90\x80\x80"), 1007),
    "text that ends inside a code point": (bad_text(b"a\xe2\x98"), 1007),
    "fragments that end inside a code point": (
        wire.text("a", fin=False) + wire.continuation(b"\xc3"),
        1007,
    ),
    "fragments that end empty inside a code point": (
        wire.frame(wire.TEXT, b"\xc3", fin=False) + wire.continuation(),
        1007,
    ),
    "a bad byte in the first fragment": (wire.frame(wire.TEXT, b"a\xff", fin=False), 1007),
    "a bad byte in a middle fragment": (
        wire.text("a", fin=False) + wire.continuation(b"\xff", fin=False),
        1007,
    ),
    "a code point that goes on wrongly in the next fragment": (
        wire.frame(wire.TEXT, b"\xc3", fin=False) + wire.continuation(b"a"),
        1007,
    ),
}

# The first byte that makes a text wrong, after the longest part of it that is right
WRONG_AT_ONCE = {
    "never in UTF-8": (b"a", b"\xff"),
    "a continuation byte": (b"a", b"\x80"),
    "overlong, in two bytes": (b"", b"\xc0"),
    "overlong, in three bytes": (b"\xe0", b"\x9f"),
    "overlong, in four bytes": (b"\xf0", b"\x8f"),
    "a surrogate": (b"\xed\xa0", b"\x80"),  # CPython's decoder waits for the third byte
    "over 10FFFF": (b"\xf4", b"\x90"),
    "far over 10FFFF": (b"", b"\xf5"),
    "not a continuation": (b"\xf0\x9f\x98", b"a"),
    "after much that is right": (b"\xc3\xa4" * 100 + b"\xe2\x98", b"\xc3"),
}
