"""Messages that were received and not yet taken, without I/O.

Theory of operation
-------------------

The reader puts messages in batches, usually one for each read, and the consumers take them one by
one. So the queue counts in batches, too: ``front`` is the batch that is being taken, and a batch
gives its bytes back when its last message is taken. Taking a message is then hardly more than a
``popleft``.

A message in fragments arrives frame by frame, and is always the last one. Its frames stay apart
until the message is taken, because `take_frame` hands over the frames as they came. If `take_frame`
takes the first frame of a message, the rest of this message is ``_begun``: its frames are taken one
by one, whether they are here already or still arrive.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias, cast

from trio_wsclient._protocol.events import DataFrame, Entry, Opcode

# Bytes that each message or frame counts in addition to its payload: about what CPython needs for
# the object and its place in the queue. So a flood of empty messages is bounded, too.
_OVERHEAD: Final = 128

# Bytes: a single message joins the last batch if that batch is smaller than this. Separate batches
# would cost memory, and in a large batch one message keeps the size of all that were taken.
_SMALL_BATCH: Final = 4096

_WHOLE: Final = (str, bytes)

# A message in one frame, or all frames of a message.
_Message: TypeAlias = Entry | list[DataFrame]


class ReceiveQueue:
    """The queue between the reader and the consumers.

    Args:
        max_buffered_bytes: The reader pauses when this many bytes are waiting.
        decode_text: Whether Text is handed over as ``str``.

    Attributes:
        decode_text: The same.
        front: The messages of the batch that is being taken. If ``is_simple`` is true and this is
            not empty, `take_message` may be called without any other check.
        is_claimed: Whether only the active receiver may take.
        is_simple: Whether the consumers take messages, and taking one concerns nobody else.
        messages_put: Messages so far.
        most_bytes: The most bytes that were waiting at any time.
    """

    def __init__(self, *, max_buffered_bytes: int, decode_text: bool) -> None:
        self.max_buffered_bytes: Final = max_buffered_bytes
        self.decode_text = decode_text
        self.front: Final[deque[_Message]] = deque()
        self._front_size = 0  # bytes of the batch in `front`, also of what is taken already
        # Batches after it. An empty deque would cost an idle connection 760 bytes.
        self._later: deque[tuple[list[_Message], int]] | None = None
        self._later_messages = 0
        self._to_join = 0  # messages here that `take_message` has to convert
        # Frames of a message that has not ended; the same object as `_begun` if that is this one.
        self._arriving: list[DataFrame] | deque[DataFrame] = []
        self._arriving_size = 0  # bytes of all its frames, also of those that are taken
        self._begun: deque[DataFrame] | None = None  # what is left of the message under way
        self._size = 0  # bytes of all batches and frames
        self._is_frame_wanted = False
        self._is_paused = False
        self.is_claimed: bool = False
        self.is_simple: bool = True
        self.messages_put: int = 0
        self.most_bytes: int = 0

    # Facts

    @property
    def size(self) -> int:
        """The bytes that count: also those taken of the batch in ``front``, until it is used up."""
        return self._size if self.front else self._size - self._front_size

    def has_room(self, *, beside: int) -> bool:
        """Return whether the reader may read more, with ``beside`` bytes of a frame under way."""
        return self.size + beside < self.max_buffered_bytes

    @property
    def messages(self) -> int:
        """How many complete messages wait; also one of which frames are taken already."""
        count = len(self.front) + self._later_messages
        return count + 1 if self._is_begun_complete else count

    @property
    def messages_taken(self) -> int:
        """How many messages were taken, with their last frame."""
        return self.messages_put - self.messages

    @property
    def is_ready(self) -> bool:
        """Whether there is what the consumers wait for: a frame in `frames`, else a message."""
        if not self._is_frame_wanted:
            return bool(self.front or self._later)
        if self._begun is not None:
            return bool(self._begun)
        return bool(self.front or self._later or self._arriving)

    @property
    def _is_begun_complete(self) -> bool:
        return self._begun is not None and self._begun is not self._arriving

    @property
    def is_mid_message(self) -> bool:
        """Whether `take_frame` has taken some frames of a message, and not all."""
        return self._begun is not None

    @property
    def buffered_bytes(self) -> int:
        """The bytes that are waiting, without those of a batch that were taken already."""
        messages = [*self.front]
        for batch, _ in self._later or ():
            messages += batch
        frames = [*self._arriving, *(self._begun or () if self._is_begun_complete else ())]
        return sum(map(_size_of, messages)) + sum(map(_size_of, frames))

    # Modes

    @property
    def is_frame_wanted(self) -> bool:
        """Whether a task waits for a frame, so that no message may be taken."""
        return self._is_frame_wanted

    def want_frame(self, wanted: bool) -> None:
        """Begin or end to take frames."""
        self._is_frame_wanted = wanted
        self._update()

    def pause(self, paused: bool) -> None:
        """Take note that the reader waits for room, or waits no more."""
        self._is_paused = paused
        self._update()

    def claim(self, claimed: bool) -> None:
        """Reserve what is here for the active receiver, which came first, or end that."""
        self.is_claimed = claimed
        self._update()

    def _update(self) -> None:
        self.is_simple = not (
            self._is_frame_wanted or self._is_paused or self.is_claimed or self._begun is not None
        )

    # Putting

    def put_batch(self, messages: list[Entry], size: int) -> None:
        """Put messages in one frame each, whose payloads take ``size`` bytes."""
        if not self.decode_text:
            self._to_join += sum(isinstance(message, DataFrame) for message in messages)
        self._put(cast("list[_Message]", messages), size + len(messages) * _OVERHEAD)

    def pass_message(self) -> None:
        """Count a message that goes from the reader to a consumer without a place in the queue."""
        self.messages_put += 1

    def put(self, entry: Entry) -> None:
        """Put a message in one frame, or the next fragment of a message (RFC 6455 §5.4)."""
        size = _size_of(entry)
        if not isinstance(entry, DataFrame):
            self._put([entry], size)
        elif entry.fin and entry.opcode is not Opcode.CONTINUATION:
            self._to_join += 1
            self._put([entry], size)
        else:
            self._put_fragment(entry, size)

    def _put_fragment(self, frame: DataFrame, size: int) -> None:
        self._arriving.append(frame)
        self._arriving_size += size
        self._add_size(size)
        if frame.fin:
            frames, size = self._arriving, self._arriving_size
            self._arriving, self._arriving_size = [], 0
            if isinstance(frames, deque):
                self.messages_put += 1  # It is `_begun`.
            else:
                self._size -= size  # `_put` counts it again, in a batch.
                self._to_join += 1
                self._put([frames], size)

    def _put(self, messages: list[_Message], size: int) -> None:
        self.messages_put += len(messages)
        if not (self.front or self._later):
            self._size -= self._front_size
            self.front.extend(messages)
            self._front_size = size
        else:
            self._later_messages += len(messages)
            if self._later is None:
                self._later = deque()
            if len(messages) == 1 and self._later and self._later[-1][1] < _SMALL_BATCH:
                batch, batch_size = self._later[-1]
                batch += messages
                self._later[-1] = batch, batch_size + size
            else:
                self._later.append((messages, size))
        self._add_size(size)

    def _add_size(self, size: int) -> None:
        self._size += size
        if self._size > self.most_bytes:
            self.most_bytes = max(self.most_bytes, self.size)

    # Taking

    def _advance(self) -> None:
        """Make the next batch the one that is being taken; nothing is left of the last one."""
        self._size -= self._front_size
        assert self._later
        batch, self._front_size = self._later.popleft()
        self._later_messages -= len(batch)
        self.front.extend(batch)

    def take_message(self) -> str | bytes:
        """Take the first message; there has to be one, and no frame of it was taken."""
        if not self.front:
            self._advance()
        message = self.front.popleft()
        if self._to_join and not isinstance(message, _WHOLE):
            return self._join(message)
        return message  # type: ignore[return-value]  # It is no frame, and no list of frames.

    def take_messages(self, max_messages: int | None) -> list[str | bytes]:
        """Take all messages, or up to ``max_messages`` of them, as `take_message` does."""
        messages: list[_Message] = []
        left = len(self.front) + self._later_messages
        if max_messages is not None:
            left = min(left, max_messages)
        while left:
            if not self.front:
                self._advance()
            if len(self.front) <= left:
                left -= len(self.front)
                messages += self.front
                self.front.clear()
            else:
                messages += [self.front.popleft() for _ in range(left)]
                left = 0
        if self._to_join:
            return [m if isinstance(m, _WHOLE) else self._join(m) for m in messages]
        return messages  # type: ignore[return-value]  # none of them is a frame or frames

    def _join(self, message: DataFrame | list[DataFrame]) -> str | bytes:
        self._to_join -= 1
        if isinstance(message, DataFrame):
            opcode, payload = message.opcode, message.payload
        else:
            opcode = message[0].opcode
            payload = b"".join([frame.payload for frame in message])
            message.clear()  # so that decoding does not need it in memory three times
        return payload.decode() if opcode is Opcode.TEXT and self.decode_text else payload

    def take_frame(self) -> DataFrame:
        """Take the first frame; there has to be one."""
        if self._begun is None:
            message = self._take_for_frames()
            if not isinstance(message, deque):
                return _as_frame(message)
            self._begun = message
            self._update()
        frame = self._begun.popleft()
        self._size -= _size_of(frame)
        if frame.fin:
            self._begun = None
            self._update()
        return frame

    def _take_for_frames(self) -> Entry | deque[DataFrame]:
        """Take the first message, or its frames; perhaps only some of its frames are here."""
        if not (self.front or self._later):
            # From now on `_arriving` and `_begun` are one deque: new fragments are in both.
            self._arriving = frames = deque(self._arriving)
            return frames
        if not self.front:
            self._advance()
        message = self.front.popleft()
        if isinstance(message, list):
            self._to_join -= 1
            self._front_size -= _size_of(message)  # Now each frame gives its own bytes back.
            return deque(message)
        if isinstance(message, DataFrame):
            self._to_join -= 1
        return message


def _as_frame(message: Entry) -> DataFrame:
    if isinstance(message, str):
        return DataFrame(Opcode.TEXT, message.encode(), fin=True)
    if isinstance(message, bytes):
        return DataFrame(Opcode.BINARY, message, fin=True)
    return message


def _size_of(message: _Message) -> int:
    if isinstance(message, list):
        return sum(map(_size_of, message))
    payload = message.payload if isinstance(message, DataFrame) else message
    # CPython keeps up to four bytes for each character of a str that is not ASCII.
    factor = 4 if isinstance(payload, str) and not payload.isascii() else 1
    return _OVERHEAD + factor * len(payload)
