"""The receive queue: messages in order, as frames or joined, and how many bytes they take."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import DataFrame, Opcode
from trio_wsclient._connection.queue import ReceiveQueue

OVERHEAD = 128  # bytes that ``ClientOptions`` promises to count beside the payload


def queue_of(
    *entries: str | bytes | DataFrame, decode_text: bool = True, limit: int = 1000
) -> ReceiveQueue:
    queue = ReceiveQueue(max_buffered_bytes=limit, decode_text=decode_text)
    for entry in entries:
        queue.put(entry)
    return queue


def fragments(opcode: Opcode, *payloads: bytes) -> list[DataFrame]:
    last = len(payloads) - 1
    return [
        DataFrame(opcode if i == 0 else Opcode.CONTINUATION, payload, fin=i == last)
        for i, payload in enumerate(payloads)
    ]


# Messages and frames


def test_fragments_are_joined_inside_code_points():
    queue = queue_of(
        *fragments(Opcode.TEXT, b"a\xc3", b"", b"\xa4b"),
        *fragments(Opcode.BINARY, b"\xc3", b"\xff"),
    )
    assert [queue.take_message(), queue.take_message()] == ["aäb", b"\xc3\xff"]


def test_text_is_taken_as_bytes_when_not_decoded():
    text = DataFrame(Opcode.TEXT, b"\xff", fin=True)
    queue = queue_of(text, *fragments(Opcode.TEXT, b"\xff", b"\xfe"), decode_text=False)
    queue.put_batch([text, b"b"], 2)
    assert [queue.take_message(), queue.take_message()] == [b"\xff", b"\xff\xfe"]
    assert queue.take_messages(None) == [b"\xff", b"b"]


def test_whole_messages_are_taken_as_frames():
    queue = queue_of("ä", b"b", DataFrame(Opcode.TEXT, b"\xff", fin=True), decode_text=False)
    assert [queue.take_frame() for _ in range(3)] == [
        DataFrame(Opcode.TEXT, "ä".encode(), fin=True),
        DataFrame(Opcode.BINARY, b"b", fin=True),
        DataFrame(Opcode.TEXT, b"\xff", fin=True),
    ]
    assert queue.messages == 0


def test_frames_are_taken_while_their_message_arrives():
    first, middle, last = fragments(Opcode.BINARY, b"a", b"b", b"c")
    queue = queue_of("whole", first)
    queue.want_frame(True)
    queue.take_frame()
    assert queue.is_ready
    assert queue.take_frame() == first
    assert (queue.is_ready, queue.is_mid_message, queue.messages_taken) == (False, True, 1)
    queue.put(middle)
    queue.put(last)
    queue.put("next")
    assert (queue.is_ready, queue.messages, queue.messages_taken) == (True, 2, 1)
    assert [queue.take_frame(), queue.take_frame()] == [middle, last]
    assert (queue.is_mid_message, queue.messages, queue.messages_taken) == (False, 1, 2)
    assert queue.take_message() == "next"


def test_fast_path_is_open_unless_taking_concerns_others():
    queue = queue_of("a", "b", *fragments(Opcode.TEXT, b"c", b"d"))
    assert queue.front
    assert queue.is_simple
    for block in queue.want_frame, queue.pause:
        block(True)
        assert not queue.is_simple
        block(False)
        assert queue.is_simple
    queue.take_messages(2)
    queue.take_frame()
    assert not queue.is_simple, "it is the middle of a message"
    queue.take_frame()
    assert queue.is_simple


# Bytes


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        *((b"", 0), (b"abc", 3), ("abc", 3)),
        *(("ä", 4), ("😀", 4)),  # what CPython keeps for a character, at most
        (DataFrame(Opcode.TEXT, b"abc", fin=False), 3),
        (DataFrame(Opcode.CONTINUATION, b"", fin=False), 0),
    ],
)
def test_entry_counts_its_payload_and_an_overhead(entry: str | bytes | DataFrame, size: int):
    queue = queue_of(entry)
    assert queue.size == queue.buffered_bytes == queue.most_bytes == OVERHEAD + size


def test_queue_has_room_up_to_its_limit():
    queue = queue_of(b"abc", limit=OVERHEAD + 10)
    assert queue.has_room(beside=6)
    assert not queue.has_room(beside=7), "the frame under way takes room, too"
    queue.take_message()
    assert queue.has_room(beside=7)


def test_flood_of_empty_messages_is_bounded():
    queue = queue_of(limit=1000)
    while queue.has_room(beside=0):
        queue.put(b"")
    assert queue.messages == 8


def test_fragments_take_room_before_their_message_ends():
    queue = queue_of(*fragments(Opcode.TEXT, b"a", b"b", b"c")[:2], limit=2 * (OVERHEAD + 1))
    assert not queue.has_room(beside=0)
    queue.take_frame()
    assert queue.size == OVERHEAD + 1


def test_batch_gives_bytes_back_when_used_up():
    queue = queue_of(limit=10_000)
    for _ in range(2):
        queue.put_batch(["a"] * 40, 40)
    sizes = []
    while queue.messages:
        queue.take_message()
        sizes.append(queue.size // (OVERHEAD + 1))
    assert sizes == [80] * 39 + [40] * 40 + [0]


# Anything in any order


class Model:
    """A naive queue: the frames of each message in a list, all messages in another."""

    def __init__(self, *, decode_text: bool) -> None:
        self.queue = queue_of(decode_text=decode_text)
        self.decode_text = decode_text
        self.messages: list[list[DataFrame]] = []
        self.messages_taken = 0
        self.is_mid_message = False

    def whole(self) -> list[list[DataFrame]]:
        return [message for message in self.messages if message and message[-1].fin]

    def put(self, *messages: bytes) -> None:
        """Put messages in one frame, which can't come while another message is arriving."""
        if len(self.whole()) == len(self.messages):
            frames = [DataFrame(Opcode(1 + len(one) % 2), one, fin=True) for one in messages]
            self.messages += [[frame] for frame in frames]
            entries = [self.entry(frame) for frame in frames]
            if len(entries) == 1:
                self.queue.put(entries[0])
            else:
                self.queue.put_batch(entries, sum(map(len, messages)))

    def entry(self, frame: DataFrame) -> str | bytes | DataFrame:
        if frame.opcode is Opcode.BINARY:
            return frame.payload
        return frame.payload.decode() if self.decode_text else frame

    def put_fragment(self, payload: bytes, fin: bool) -> None:
        if len(self.whole()) < len(self.messages):
            frame = DataFrame(Opcode.CONTINUATION, payload, fin=fin)
        else:
            frame = DataFrame(Opcode(1 + len(payload) % 2), payload, fin=False)
            self.messages.append([])
        self.messages[-1].append(frame)
        self.queue.put(frame)

    def take(self, count: int | None) -> None:
        if not self.is_mid_message and self.whole():
            expected = self.whole()[:count]
            del self.messages[: len(expected)]
            self.messages_taken += len(expected)
            single = count == 1
            taken = [self.queue.take_message()] if single else self.queue.take_messages(count)
            assert taken == [self.joined(frames) for frames in expected]

    def joined(self, frames: list[DataFrame]) -> str | bytes:
        payload = b"".join(frame.payload for frame in frames)
        is_text = frames[0].opcode is Opcode.TEXT and self.decode_text
        return payload.decode() if is_text else payload

    def take_frame(self) -> None:
        if self.messages and self.messages[0]:
            frame = self.messages[0].pop(0)
            self.is_mid_message = not frame.fin
            if frame.fin:
                del self.messages[0]
                self.messages_taken += 1
            assert self.queue.take_frame() == frame

    def check(self) -> None:
        queue, whole = self.queue, len(self.whole())
        assert (queue.messages, queue.messages_taken) == (whole, self.messages_taken)
        assert queue.is_simple == (not self.is_mid_message) == (not queue.is_mid_message)
        frames = [frame for message in self.messages for frame in message]
        size = sum(OVERHEAD + len(frame.payload) for frame in frames)
        assert queue.buffered_bytes == size <= queue.size <= queue.most_bytes
        assert size or not queue.size
        assert self.is_mid_message or queue.is_ready == (whole > 0)
        queue.want_frame(True)
        assert queue.is_ready == bool(self.messages and self.messages[0])
        queue.want_frame(False)


payloads = st.sampled_from([b"", b"a", b"ab"])
actions = st.one_of(
    st.tuples(st.just(Model.put), payloads),
    st.tuples(st.just(Model.put), payloads, payloads, payloads),
    st.tuples(st.just(Model.put_fragment), payloads, st.booleans()),
    st.tuples(st.just(Model.take), st.sampled_from([1, 2, None])),
    st.tuples(st.just(Model.take_frame)),
)


@settings(deadline=None)
@given(st.booleans(), st.lists(actions, max_size=40))
def test_queue_behaves_like_a_naive_list(decode_text, actions):
    model = Model(decode_text=decode_text)
    for action, *arguments in actions:
        action(model, *arguments)
        model.check()


# Linear time


def seconds_for(count: int, way: str) -> float:
    """Return the CPU seconds that it takes to put and take `count` frames or messages."""
    queue = queue_of()
    frames = fragments(Opcode.BINARY, *[b""] * count)
    start = time.thread_time()
    if way == "one batch":
        queue.put_batch([b""] * count, 0)
        frames = []
    for frame in frames:
        if way == "batches":
            queue.put_batch([b"", b""], 0)
        else:
            queue.put(frame)
        if way == "frames as they come":
            queue.take_frame()
    if way == "frames":
        while queue.messages:
            queue.take_frame()
    else:
        queue.take_messages(1)
        while queue.messages:
            queue.take_message()
    return time.thread_time() - start


@pytest.mark.slow
@pytest.mark.usefixtures("_collector_off")
@pytest.mark.parametrize(
    "way", ["message", "frames", "frames as they come", "batches", "one batch"]
)
def test_n1_queue_takes_linear_time(way: str):
    """Three times as much costs 3 times as much; a quadratic cost would be 9 times."""
    ratios = []
    while not ratios or (min(ratios) > 4.5 and len(ratios) < 5):
        ratios.append(seconds_for(69_000, way) / seconds_for(23_000, way))
    assert min(ratios) <= 4.5, ratios
