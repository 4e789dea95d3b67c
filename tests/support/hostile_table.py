"""What a server can do to a client after the handshake: every violation, and what is only odd.

The cases are bytes after the answer to the handshake. They gather the cases of the tables that the
tests of the modules have, and add what only a complete connection shows: limits, endings, replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import deflate_tables
import protocol_tables
import wire
from deflate_tables import HELLO, LIMIT, RSV1, raw, squeezed

from trio_wsclient import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from trio_wsclient._protocol.events import Event, Ping, Pong

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@dataclass(frozen=True)
class Case:
    """One behaviour of a server.

    Attributes:
        data: What it sends after its answer.
        code: The code of the Close that has to be on the wire; 1005 if it has none.
        error: What ``receive`` raises after the messages.
        problem: A part of what that, or its cause, says.
        messages: What ``receive`` returns before.
        pongs: What pings are answered with before the Close, unless the server's has come with them
            (RFC 6455 §5.5.2).
        options: How the client was opened.
    """

    data: bytes
    code: int = 1002
    error: type[ConnectionClosed] = ConnectionClosedError
    problem: str = ""
    messages: tuple[str | bytes, ...] = ()
    pongs: tuple[bytes, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_closing(self) -> bool:
        """Whether it ends with a Close of its own."""
        return self.error is not ConnectionClosedError or "closed by" in self.problem

    @property
    def headers(self) -> list[str]:
        return [DEFLATE] if "compression" in self.options else []


def limited(name: str, size: int) -> dict[str, object]:
    return {name: size}


def odd_close(code: int, reason: bytes = b"") -> Case:
    """Make a Close that is right, but says that something is wrong."""
    return Case(wire.close(code, reason), code, problem=f"closed by the server: {code}")


COMPRESSED: dict[str, object] = {"compression": "deflate", "max_message_size": LIMIT}
FRAGMENTS = 1000  # what a message may have at most, here
BOMB = raw(bytes(10**6))  # a kilobyte that becomes a megabyte

_WHOLE_BEFORE: dict[str, tuple[str, ...]] = {
    "a continuation after a message": ("a",),
    "a continuation after a message in fragments": ("ab",),
    "over the limit in the plain": ("Hello",),
}
_PINGED_BEFORE: dict[str, tuple[bytes, ...]] = {
    "not deflate in the last frame": (b"",),
    "over the limit by the last frame": (b"",),
}

VIOLATIONS: dict[str, Case] = {
    **{
        name: Case(data, code, messages=_WHOLE_BEFORE.get(name, ()))
        for name, (data, code) in protocol_tables.VIOLATIONS.items()
    },
    **{
        f"compressed: {name}": Case(
            data,
            code,
            problem=problem,
            messages=_WHOLE_BEFORE.get(name, ()),
            pongs=_PINGED_BEFORE.get(name, ()),
            options=COMPRESSED,
        )
        for name, (data, code, problem) in deflate_tables.VIOLATIONS.items()
    },
    **{
        f"text: {name}": Case(wire.frame(wire.TEXT, good + bad + b"x", length=1000), 1007)
        for name, (good, bad) in protocol_tables.WRONG_AT_ONCE.items()
    },
    "RSV1 without compression": Case(squeezed(HELLO), problem="RSV1, which is not in use"),
    "masked in the middle of a message": Case(
        wire.text("a", fin=False) + wire.frame(wire.CONTINUATION, b"b", masked=True)
    ),
    "a masked Close": Case(wire.frame(wire.CLOSE, b"\x03\xe8", masked=True)),
    "a masked pong": Case(wire.frame(wire.PONG, b"a", masked=True)),
    "HTTP instead of frames": Case(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a second answer": Case(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "lines of text": Case(b"hello\r\nworld\r\n"),
    "zeros": Case(bytes(100)),
    "ones": Case(b"\xff" * 100),
    "TLS": Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
    "a frame of a byte over max_frame_size": Case(
        wire.frame(wire.BINARY, length=101),
        1009,
        problem="max_frame_size (100)",
        options=limited("max_frame_size", 100),
    ),
    "a fragment of a byte over max_frame_size": Case(
        wire.binary(b"a", fin=False) + wire.frame(wire.CONTINUATION, length=101),
        1009,
        problem="max_frame_size (100)",
        options=limited("max_frame_size", 100),
    ),
    "a message of a byte over max_message_size": Case(
        wire.frame(wire.BINARY, length=101),
        1009,
        problem="max_message_size (100)",
        options=limited("max_message_size", 100),
    ),
    "fragments of a byte over max_message_size": Case(
        wire.binary(bytes(60), fin=False) + wire.frame(wire.CONTINUATION, length=41),
        1009,
        problem="max_message_size (100)",
        options=limited("max_message_size", 100),
    ),
    "a message over the limit of 1 MiB": Case(
        wire.frame(wire.TEXT, length=2**20 + 1), 1009, problem="max_message_size (1048576)"
    ),
    "a message of 2^62 bytes": Case(wire.frame(wire.TEXT, length=2**62), 1009),
    "a message of 2^63 - 1 bytes": Case(wire.frame(wire.TEXT, length=2**63 - 1), 1009),
    "a fragment of 2^62 bytes": Case(
        wire.text("a", fin=False) + wire.frame(wire.CONTINUATION, length=2**62), 1009
    ),
    "a compressed frame of 2^62 bytes, of a bomb": Case(
        wire.frame(wire.TEXT, BOMB, rsv=RSV1, length=2**62),
        1009,
        problem="once inflated",
        options=COMPRESSED,
    ),
    "a bomb in a thousand fragments": Case(
        squeezed(b"", fin=False)
        + b"".join(wire.continuation(BOMB[at : at + 1], fin=False) for at in range(980)),
        1009,
        problem="once inflated",
        options=COMPRESSED,
    ),
    "empty fragments without end": Case(
        wire.text("", fin=False) + wire.continuation(fin=False) * FRAGMENTS,
        1009,
        problem=f"more than {FRAGMENTS} frames",
    ),
    "fragments of a byte without end": Case(
        wire.text("", fin=False) + wire.continuation(b"a", fin=False) * FRAGMENTS,
        1009,
        problem=f"more than {FRAGMENTS} frames",
    ),
    "empty compressed fragments without end": Case(
        squeezed(b"", fin=False) + wire.continuation(fin=False) * FRAGMENTS,
        1009,
        problem=f"more than {FRAGMENTS} frames",
        options=COMPRESSED,
    ),
    "messages, then a violation": Case(
        wire.text("a") + wire.binary(b"b") + wire.continuation(b"c"), messages=("a", b"b")
    ),
    "many messages, then a violation": Case(
        wire.text("a") * 500 + wire.frame(3), messages=("a",) * 500
    ),
    "messages, then bad text": Case(
        wire.text("a") + wire.frame(wire.TEXT, b"\xff"), 1007, messages=("a",)
    ),
    "compressed messages, then one that is not": Case(
        squeezed(HELLO) * 3 + squeezed(b"\x06") + squeezed(HELLO),
        1007,
        messages=("Hello",) * 3,
        options=COMPRESSED,
    ),
    "a ping, then a violation": Case(wire.ping(b"p") + wire.frame(3), pongs=(b"p",)),
    "a violation, then messages": Case(wire.frame(3) + wire.text("a") * 10),
    "a violation, then a Close": Case(wire.frame(3) + wire.close(1000)),
    "a violation, then another": Case(wire.frame(wire.TEXT, b"\xff") + wire.frame(3), 1007),
    "a violation inside a message": Case(
        wire.text("a", fin=False) + wire.frame(wire.PING, fin=False)
    ),
    "bytes instead of text, also where text is not decoded": Case(
        wire.frame(3), options={"decode_text": False}
    ),
    "a reason that is not UTF-8, also where text is not decoded": Case(
        wire.close(1000, b"\xff"), 1007, options={"decode_text": False}
    ),
    "RSV2 beside RSV1 on a compressed message": Case(
        wire.frame(wire.TEXT, HELLO, rsv=6), options=COMPRESSED
    ),
    "a Close that is compressed": Case(
        wire.frame(wire.CLOSE, raw(b"\x03\xe8"), rsv=RSV1), options=COMPRESSED
    ),
}

# Endings that are the server's good right, but not what the user has asked for
ENDINGS: dict[str, Case] = {
    **{f"Close {code}": odd_close(code) for code in (1002, 1003, *range(1007, 1015))},
    **{f"Close {code}": odd_close(code) for code in (3000, 3999, 4000, 4999)},
    "Close 1000": Case(wire.close(1000), 1000, ConnectionClosedOK),
    "Close 1001": Case(wire.close(1001), 1001, ConnectionClosedOK),
    "a Close without a code": Case(wire.close(None), 1005, ConnectionClosedOK),
    "a reason of 123 bytes": Case(
        wire.close(1000, "ä".encode() * 61 + b"a"), 1000, ConnectionClosedOK, problem="äa"
    ),
    "a reason with control characters": Case(
        wire.close(1000, b"a\r\n\x1b[31mb\0"), 1000, ConnectionClosedOK, problem="a\\r\\n\\x1b[31mb"
    ),
    "a Close twice": Case(wire.close(1000) + wire.close(1001), 1000, ConnectionClosedOK),
    "a message after the Close": Case(
        wire.close(1000) + wire.text("late"), 1000, ConnectionClosedOK
    ),
    "a violation after the Close": Case(wire.close(1000) + wire.frame(3), 1000, ConnectionClosedOK),
    "a ping after the Close": Case(wire.close(1000) + wire.ping(b"p"), 1000, ConnectionClosedOK),
    "a ping before the Close": Case(
        wire.ping(b"p") + wire.close(1000), 1000, ConnectionClosedOK, pongs=(b"p",)
    ),
    "a message before the Close": Case(
        wire.text("last") + wire.close(1000), 1000, ConnectionClosedOK, messages=("last",)
    ),
    "a Close inside a message": Case(
        wire.text("a", fin=False) + wire.close(1000), 1000, problem="in the middle of a message"
    ),
    "a Close 1011 inside a message": Case(
        wire.text("a", fin=False) + wire.close(1011, b"shard gone"),
        1011,
        problem='1011 (internal error) "shard gone", in the middle of a message',
    ),
    "a Close inside a compressed message": Case(
        squeezed(HELLO[:3], fin=False) + wire.close(1000),
        1000,
        problem="in the middle of a message",
        options=COMPRESSED,
    ),
}


def odd(data: bytes, *messages: str | bytes, pongs: tuple[bytes, ...] = ()) -> Case:
    """Make a case of legal data, after which the server closes normally."""
    return Case(data + wire.close(1000), 1000, ConnectionClosedOK, "", messages, pongs)


def odd_compressed(data: bytes, *messages: str | bytes, pongs: tuple[bytes, ...] = ()) -> Case:
    whole = data + wire.close(1000)
    return Case(whole, 1000, ConnectionClosedOK, "", messages, pongs, COMPRESSED)


def messages(events: list[Event]) -> list[str | bytes]:
    joined = deflate_tables.messages(events)
    return [event for event in joined if not isinstance(event, Ping | Pong)]


def pinged(events: list[Event]) -> tuple[bytes, ...]:
    return tuple(event.payload for event in events if isinstance(event, Ping))


LEGAL: dict[str, Case] = {
    **{
        name: odd(data, *messages(events), pongs=pinged(events))
        for name, (data, events) in protocol_tables.CONVERSATIONS.items()
    },
    **{
        f"compressed: {name}": odd_compressed(data, *messages(events), pongs=pinged(events))
        for name, (data, events) in deflate_tables.CONVERSATIONS.items()
    },
    "a pong that nobody asked for": odd(wire.pong(b"x") + wire.text("a"), "a"),
    "a thousand pongs": odd(wire.pong(b"x" * 125) * 1000 + wire.text("a"), "a"),
    "an empty ping": odd(wire.ping() + wire.text("a"), "a", pongs=(b"",)),
    "a ping inside an empty message": odd(
        wire.text("", fin=False) + wire.ping(b"p") + wire.continuation(), "", pongs=(b"p",)
    ),
    "nothing": odd(b""),
    "a thousand empty messages": odd(wire.text("") * 1000, *[""] * 1000),
    "text of NUL": odd(wire.text("\0" * 100), "\0" * 100),
    "a byte order mark": odd(wire.text("\ufeffa"), "\ufeffa"),
    "code points that are no characters": odd(wire.text("\ufffe\uffff"), "\ufffe\uffff"),
    "the last code point": odd(wire.text("\U0010ffff"), "\U0010ffff"),
    "text in fragments that each cut a code point": odd(
        b"".join(
            wire.frame(opcode, bytes([byte]), fin=False)
            for opcode, byte in zip(
                [wire.TEXT] + [wire.CONTINUATION] * 8, "€😀ä".encode(), strict=True
            )
        )
        + wire.continuation(),
        "€😀ä",
    ),
    "a message of just the limit": odd(wire.binary(bytes(2**20)), bytes(2**20)),
    "a message of just the limit in fragments": odd(
        wire.binary(bytes(2**19), fin=False) + wire.continuation(bytes(2**19)), bytes(2**20)
    ),
    "as many fragments as there may be": odd(
        wire.text("", fin=False)
        + wire.continuation(fin=False) * (FRAGMENTS - 2)
        + wire.continuation(b"x"),
        "x",
    ),
}

TABLE: dict[str, Case] = {**VIOLATIONS, **ENDINGS, **LEGAL}
