"""Messages and fragments that were received and not yet taken, without I/O.

A message that came in one frame waits as itself; the fragments of others stay apart, as
``DataFrame``, so that they can be taken as frames or as a message.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trio_wsclient._events import DataFrame, Opcode

# bytes that each entry counts beside its payload: about what CPython needs for the object and its
# place in the queue, so that a flood of empty frames is bounded too.
_OVERHEAD: Final = 128


class Inbox:
    """The queue between the reader and the consumers.

    Args:
        max_buffered_bytes: From how many bytes on it has no room.
        decode_text: Whether a Text message in fragments is handed over as ``str``.
    """

    def __init__(self, *, max_buffered_bytes: int, decode_text: bool) -> None:
        self._max_buffered_bytes = max_buffered_bytes
        self._decode_text = decode_text
        self._entries: deque[str | bytes | DataFrame] = deque()
        self.messages: int = 0  # whole ones, or their last fragments
        self.buffered_bytes: int = 0
        self.half_taken: bool = False  # whether the first entry is the middle of a message

    def has_room(self, *, beside: int) -> bool:
        """Tell whether more should be received, ``beside`` so many bytes that are not here yet."""
        return self.buffered_bytes + beside < self._max_buffered_bytes

    @property
    def has_frame(self) -> bool:
        return bool(self._entries)

    def put(self, entry: str | bytes | DataFrame) -> None:
        """Add what has come; the sender of a fragment is trusted to keep to RFC 6455 §5.4."""
        self._entries.append(entry)
        self.buffered_bytes += _size(entry)
        if not isinstance(entry, DataFrame) or entry.fin:
            self.messages += 1

    def take_message(self) -> str | bytes:
        """Take the first message; there has to be a whole one, and nothing taken of it."""
        entry = self._pop()
        self.messages -= 1
        if not isinstance(entry, DataFrame):
            return entry
        opcode = entry.opcode
        payloads = [entry.payload]
        while not entry.fin:
            following = self._pop()
            assert isinstance(following, DataFrame)
            entry = following
            payloads.append(entry.payload)
        payload = b"".join(payloads)
        return payload.decode() if opcode is Opcode.TEXT and self._decode_text else payload

    def take_frame(self) -> DataFrame:
        """Take the first frame; there has to be one."""
        entry = self._pop()
        if isinstance(entry, str):
            entry = DataFrame(Opcode.TEXT, entry.encode(), fin=True)
        elif isinstance(entry, bytes):
            entry = DataFrame(Opcode.BINARY, entry, fin=True)
        self.half_taken = not entry.fin
        if entry.fin:
            self.messages -= 1
        return entry

    def _pop(self) -> str | bytes | DataFrame:
        entry = self._entries.popleft()
        self.buffered_bytes -= _size(entry)
        return entry


def _size(entry: str | bytes | DataFrame) -> int:
    payload = entry.payload if isinstance(entry, DataFrame) else entry
    # CPython keeps up to four bytes a character of a str that is not ASCII.
    factor = 4 if isinstance(payload, str) and not payload.isascii() else 1
    return _OVERHEAD + factor * len(payload)
