"""What the protocol tells of the server's frames (RFC 6455 §5.5 and §5.6), as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


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
        fin: Whether it is the last frame of its message.
    """

    opcode: Opcode
    payload: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping that wants a pong with the same payload (RFC 6455 §5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, asked for or not (RFC 6455 §5.5.3)."""

    payload: bytes


# A message in a single frame is a plain ``str`` or ``bytes``; every other frame is a DataFrame.
Entry: TypeAlias = str | bytes | DataFrame


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in a single frame each, in a row: as fast as one.

    Attributes:
        messages: The messages.
        size: The bytes that they take.
    """

    messages: list[Entry]
    size: int


Event: TypeAlias = Entry | Batch | Ping | Pong
