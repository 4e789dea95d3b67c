"""What the reader finds in the server's bytes, as data (RFC 6455 §5.5 and §5.6)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from trio_wsclient._protocol.closing import CloseFrame


class Opcode(enum.IntEnum):
    """The opcode of a data frame (RFC 6455 §5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2


@dataclass(frozen=True, slots=True)
class DataFrame:
    """A data frame as it came, after extensions (RFC 6455 §5.6).

    Attributes:
        opcode: Text or Binary on the first frame of a message, Continuation on the others.
        payload: The bytes; those of a Text message may begin or end inside a code point.
        fin: Whether this is the last frame of its message.
    """

    opcode: Opcode
    payload: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, which asks for a pong with the same payload (RFC 6455 §5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, requested or not (RFC 6455 §5.5.3)."""

    payload: bytes


# A message in one frame is a ``str`` or ``bytes``; a fragment is a DataFrame. If text is not
# decoded, each Text message is a DataFrame, so that it can be told from Binary.
Entry: TypeAlias = str | bytes | DataFrame


# Messages in a single frame each, one after the other, and the bytes that they take in memory. It
# is a bare tuple, because nearly every read makes one: an object with names takes ten times longer.
Batch: TypeAlias = tuple[list[Entry], int]

Event: TypeAlias = Entry | Batch | Ping | Pong | CloseFrame
