"""The inbox: messages and fragments in order, as frames or joined, and how much they count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import DataFrame, Opcode
from trio_wsclient._connection.queue import Inbox

OVERHEAD = 128  # bytes that ``ClientOptions`` promises to count beside the payload


def inbox(*entries: str | bytes | DataFrame, decode_text: bool = True, limit: int = 1000) -> Inbox:
    box = Inbox(max_buffered_bytes=limit, decode_text=decode_text)
    for entry in entries:
        box.put(entry)
    return box


def fragments(opcode: Opcode, *payloads: bytes) -> list[DataFrame]:
    last = len(payloads) - 1
    return [
        DataFrame(opcode if i == 0 else Opcode.CONTINUATION, payload, fin=i == last)
        for i, payload in enumerate(payloads)
    ]


def test_messages_are_taken_in_the_order_in_which_they_came():
    box = inbox("a", b"b", "", b"")
    assert box.messages == 4
    assert [box.take_message() for _ in range(4)] == ["a", b"b", "", b""]
    assert box.messages == 0
    assert not box.has_frame


def test_fragments_of_text_are_joined_though_a_code_point_is_cut():
    box = inbox(*fragments(Opcode.TEXT, b"a\xc3", b"", b"\xa4b"))
    assert box.take_message() == "aäb"


def test_fragments_of_binary_are_joined():
    box = inbox(*fragments(Opcode.BINARY, b"a\xc3", b"\xff"))
    assert box.take_message() == b"a\xc3\xff"


def test_text_that_is_not_to_be_decoded_is_taken_as_bytes():
    box = inbox(
        DataFrame(Opcode.TEXT, b"\xff", fin=True),
        *fragments(Opcode.TEXT, b"\xff", b"\xfe"),
        decode_text=False,
    )
    assert box.take_message() == b"\xff"
    assert box.take_message() == b"\xff\xfe"


def test_a_message_counts_once_its_last_fragment_is_there():
    first, middle, last = fragments(Opcode.TEXT, b"a", b"b", b"c")
    box = inbox("whole", first, middle)
    assert box.messages == 1
    box.put(last)
    assert box.messages == 2


def test_whole_messages_are_taken_as_frames_of_their_type():
    box = inbox("ä", b"b")
    assert box.take_frame() == DataFrame(Opcode.TEXT, "ä".encode(), fin=True)
    assert box.take_frame() == DataFrame(Opcode.BINARY, b"b", fin=True)
    assert box.messages == 0


def test_fragments_are_taken_as_the_frames_that_they_are():
    frames = fragments(Opcode.TEXT, b"a\xc3", b"\xa4")
    box = inbox(*frames)
    assert [box.take_frame(), box.take_frame()] == frames
    assert box.messages == 0


def test_between_the_fragments_of_a_message_it_is_half_taken():
    box = inbox(*fragments(Opcode.TEXT, b"a", b"b", b"c"), "next")
    assert not box.half_taken
    box.take_frame()
    assert box.half_taken
    box.take_frame()
    assert box.half_taken
    box.take_frame()
    assert not box.half_taken
    assert box.take_message() == "next"


def test_a_message_in_one_frame_is_never_half_taken():
    box = inbox("a", DataFrame(Opcode.TEXT, b"b", fin=True))
    box.take_frame()
    assert not box.half_taken
    box.take_frame()
    assert not box.half_taken


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        (b"", 0),
        (b"abc", 3),
        ("abc", 3),
        ("ä", 4),  # what CPython keeps for a character, at most
        ("😀", 4),
        (DataFrame(Opcode.TEXT, b"abc", fin=False), 3),
        (DataFrame(Opcode.CONTINUATION, b"", fin=False), 0),
    ],
)
def test_an_entry_counts_its_size_and_an_overhead(entry: str | bytes | DataFrame, size: int):
    assert inbox(entry).buffered_bytes == OVERHEAD + size


def test_it_has_room_up_to_its_limit():
    box = inbox(limit=OVERHEAD + 3)
    assert box.has_room(beside=0)
    box.put(b"ab")
    assert box.has_room(beside=0)
    box.take_message()
    box.put(b"abc")
    assert not box.has_room(beside=0)
    box.take_message()
    assert box.has_room(beside=0)


def test_what_has_come_of_a_frame_takes_room_too():
    box = inbox(b"abc", limit=OVERHEAD + 10)
    assert box.has_room(beside=6)
    assert not box.has_room(beside=7)


def test_a_flood_of_empty_messages_is_bounded_too():
    box = inbox(limit=1000)
    for _ in range(1000):
        if box.has_room(beside=0):
            box.put(b"")
    assert box.messages == 8


def test_fragments_without_their_end_take_room_too():
    box = inbox(*fragments(Opcode.TEXT, b"a", b"b", b"c")[:2], limit=2 * (OVERHEAD + 1))
    assert not box.has_room(beside=0)
    assert box.messages == 0


def test_what_is_noted_of_small_entries_is_less_than_they_are_and_room_comes_back_bit_by_bit():
    limit = 10_000 * OVERHEAD
    box = inbox(limit=limit)
    for _ in range(10_000):
        box.put(DataFrame(Opcode.CONTINUATION, b"", fin=False))
    assert len(box._counts) < 100
    rooms = []
    for _ in range(10_000):
        box.take_frame()
        rooms.append(box.has_room(beside=limit // 2) and len(rooms))
    first = next(filter(None, rooms))
    assert 5000 <= first <= 5200
    assert all(rooms[first:])


messages = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.binary(max_size=5),
    st.lists(st.binary(max_size=3), min_size=2, max_size=4),
)


@settings(deadline=None)
@given(st.lists(messages, max_size=6))
def test_whatever_is_put_in_comes_out_and_nothing_is_left(sent: list[str | bytes | list[bytes]]):
    box = inbox()
    expected: list[str | bytes] = []
    for message in sent:
        if isinstance(message, list):
            for frame in fragments(Opcode.BINARY, *message):
                box.put(frame)
            expected.append(b"".join(message))
        else:
            box.put(message)
            expected.append(message)
    assert [box.take_message() for _ in range(box.messages)] == expected
    assert (box.messages, box.buffered_bytes, box.has_frame) == (0, 0, False)


# At once


def test_messages_are_taken_at_once_unless_that_concerns_somebody_else():
    box = inbox("a", "b", limit=5 * OVERHEAD)
    assert list(box.at_once) == ["a", "b"]
    box.want_frame(True)
    assert not box.at_once
    box.want_frame(False)
    assert not box.has_room(beside=5 * OVERHEAD)
    assert not box.at_once, "whoever takes one makes room"
    assert box.has_room(beside=0)
    first, second = fragments(Opcode.TEXT, b"c", b"d")
    box.put(first)
    assert not box.at_once
    box.put(second)
    assert [box.take_message(), box.take_message()] == ["a", "b"]
    box.take_frame()
    assert not box.at_once, "it is the middle of a message"
    box.take_frame()
    box.put("e")
    assert list(box.at_once) == ["e"]


def test_behind_joined_fragments_messages_are_taken_at_once_again():
    box = inbox(*fragments(Opcode.TEXT, b"a", b"b"), "c")
    assert box.take_message() == "ab"
    assert list(box.at_once) == ["c"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "third", ["c", DataFrame(Opcode.TEXT, b"c", fin=True)], ids=["message", "frame"]
)
def test_several_messages_are_taken_as_one_by_one(count: int, third: str | DataFrame):
    box = inbox("a", b"b", third, "d")
    assert box.take_messages(count) == ["a", b"b", "c", "d"][:count]
    assert box.messages == 4 - count
    assert box.messages_taken == count
