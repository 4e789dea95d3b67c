"""Messages and fragments that were received and not yet taken, without I/O.

A message that came in one frame waits as itself; the fragments of others stay apart, as
``DataFrame``, so that they can be taken as frames or as a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from trio_wsclient._protocol.events import DataFrame, Entry, Opcode

# bytes that each entry counts beside its payload: about what CPython needs for the object and its
# place in the queue, so that a flood of empty frames is bounded too.
_OVERHEAD: Final = 128

_MOMENTS: Final = 64  # into which a full inbox is divided, for telling how much of it is taken

_NOTHING: Final[deque[Entry]] = deque()


class Inbox:
    """The queue between the reader and the consumers.

    Taking a message costs next to nothing: how much room there is is found out when that is asked
    for. A batch takes its room until the last of it is taken.

    Args:
        max_buffered_bytes: From how many bytes on it has no room.
        decode_text: Whether a Text message in fragments is handed over as ``str``.

    Attributes:
        at_once: The queue itself while each entry is a whole message, and taking one concerns
            nobody else; otherwise, and that is seldom, empty.
    """

    def __init__(self, *, max_buffered_bytes: int, decode_text: bool) -> None:
        self.max_buffered_bytes: Final = max_buffered_bytes
        self._decode_text = decode_text
        self._entries: deque[Entry] = deque()
        self._unfinished = 0  # of those, how many are not the last frame of their message
        self._put = 0  # entries so far
        self._parts_put = 0  # of those, how many were not the last frame of their message
        # How many entries there had been at some moments, and what those new by then count.
        self._counts: deque[tuple[int, int]] = deque()
        self._smallest = max_buffered_bytes // _MOMENTS  # bytes from one moment to the next
        self._counted = 0  # bytes, in sum
        self.is_full: bool = False  # whether there was no room when that was last asked
        self.half_taken: bool = False  # whether the first entry is the middle of a message
        self.frame_wanted: bool = False  # whether a task waits for a frame
        self.at_once: deque[Entry] = self._entries
        self.most_bytes: int = 0  # that the entries ever counted, or a few more

    def has_room(self, *, beside: int) -> bool:
        """Tell whether more should be received, ``beside`` so many bytes that are not here yet."""
        self._forget_taken()
        was_full, self.is_full = self.is_full, self._counted + beside >= self.max_buffered_bytes
        if self.is_full != was_full:
            self._look_at_once()
        return not self.is_full

    def want_frame(self, wanted: bool) -> None:
        """Take note that a task waits for a frame, or does no more."""
        self.frame_wanted = wanted
        self._look_at_once()

    def _look_at_once(self) -> None:
        in_the_way = self._unfinished or self.is_full or self.half_taken or self.frame_wanted
        self.at_once = _NOTHING if in_the_way else self._entries

    @property
    def buffered_bytes(self) -> int:
        """What the entries count, each by itself."""
        return sum(map(_size, self._entries))

    @property
    def messages(self) -> int:
        """How many whole messages there are, or their last fragments."""
        return len(self._entries) - self._unfinished

    @property
    def messages_taken(self) -> int:
        """How many messages were taken, to their last fragment."""
        return self._put - self._parts_put - self.messages

    @property
    def has_frame(self) -> bool:
        return bool(self._entries)

    def put(self, entry: Entry) -> None:
        """Add what has come; the sender of a fragment is trusted to keep to RFC 6455 §5.4."""
        self._count(1, _size(entry))
        self._entries.append(entry)
        if isinstance(entry, DataFrame) and not entry.fin:
            self._unfinished += 1
            self._parts_put += 1
            self._look_at_once()

    def put_batch(self, messages: Sequence[Entry], size: int) -> None:
        """Add whole messages, which take so many bytes."""
        count = len(messages)
        self._count(count, size + count * _OVERHEAD)
        self._entries.extend(messages)

    def _count(self, entries: int, size: int) -> None:
        if not self._entries:
            self._counts.clear()
            self._counted = 0
        else:
            self._forget_taken()
        self._put += entries
        self._counted += size
        self.most_bytes = max(self.most_bytes, self._counted)
        counts = self._counts
        if counts and counts[-1][1] < self._smallest:
            counts[-1] = (self._put, counts[-1][1] + size)
        else:
            counts.append((self._put, size))

    def _forget_taken(self) -> None:
        taken = self._put - len(self._entries)
        while self._counts and self._counts[0][0] <= taken:
            self._counted -= self._counts.popleft()[1]

    def take_message(self) -> str | bytes:
        """Take the first message; there has to be a whole one, and nothing taken of it."""
        entry = self._entries.popleft()
        return self._join(entry) if isinstance(entry, DataFrame) else entry

    def take_messages(self, count: int) -> list[str | bytes]:
        """Take as many messages; they have to be here, and nothing taken of the first."""
        if count == len(self._entries):
            entries = list(self._entries)
            if DataFrame not in set(map(type, entries)):
                self._entries.clear()
                return cast("list[str | bytes]", entries)
        return [self.take_message() for _ in range(count)]

    def _join(self, entry: DataFrame) -> str | bytes:
        opcode = entry.opcode
        payload = entry.payload if entry.fin else self._join_fragments(entry)
        return payload.decode() if opcode is Opcode.TEXT and self._decode_text else payload

    def _join_fragments(self, entry: DataFrame) -> bytes:
        payloads = [entry.payload]
        take, append = self._entries.popleft, payloads.append  # There may be very many.
        while not entry.fin:
            entry = cast("DataFrame", take())
            append(entry.payload)
        self._unfinished -= len(payloads) - 1
        self._forget_taken()  # Nothing more may come.
        self._look_at_once()
        return b"".join(payloads)

    def take_frame(self) -> DataFrame:
        """Take the first frame; there has to be one."""
        entry = self._entries.popleft()
        if isinstance(entry, str):
            entry = DataFrame(Opcode.TEXT, entry.encode(), fin=True)
        elif isinstance(entry, bytes):
            entry = DataFrame(Opcode.BINARY, entry, fin=True)
        self._forget_taken()
        self.half_taken = not entry.fin
        if not entry.fin:
            self._unfinished -= 1
        self._look_at_once()
        return entry


def _size(entry: Entry) -> int:
    payload = entry.payload if isinstance(entry, DataFrame) else entry
    # CPython keeps up to four bytes a character of a str that is not ASCII.
    factor = 4 if isinstance(payload, str) and not payload.isascii() else 1
    return _OVERHEAD + factor * len(payload)
