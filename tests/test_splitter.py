"""Cutting the server's bytes at the borders of frames (RFC 6455 §5.2), and telling of frames."""

from __future__ import annotations

import tracemalloc
from itertools import accumulate

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._splitter import TRACE_SIZE, Splitter

MIB = 1024 * 1024


def fed(data: bytes) -> Splitter:
    splitter = Splitter()
    splitter.feed(data)
    return splitter


class Traced:
    """A splitter that is traced, and what it has told and handed over."""

    def __init__(self, *, max_size: int | None = None, tracing: bool = True) -> None:
        self.splitter = Splitter()
        self.told: list[tuple[int, int, bytes]] = []
        self.frames: list[tuple[bytes, bytes]] = []  # header and payload
        self.pieces: list[bytes] = []  # all that was taken
        self._max_size = max_size
        if tracing:
            self.splitter.trace = lambda *facts: self.told.append(facts)

    def feed(self, *pieces: bytes) -> Traced:
        for piece in pieces:
            self.splitter.feed(piece)
            while self._take():
                pass
        return self

    def _take(self) -> bool:
        if self.splitter.at_border:
            taken = self.splitter.take_header()
            if taken:
                self.frames.append((taken, b""))
        else:
            taken = self.splitter.take_payload(self._max_size)
            header, payload = self.frames[-1]
            self.frames[-1] = (header, payload + taken)
        if taken:
            self.pieces.append(taken)
        return bool(taken)


data_frames = st.builds(
    wire.frame,
    st.integers(0, 7),
    st.binary(max_size=40) | st.sampled_from([b"a" * 125, b"b" * 126, b"c" * 65_536]),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    length_size=st.sampled_from([None, None, 8]),
)
control_frames = st.builds(
    wire.frame,
    st.integers(8, 15),
    st.binary(max_size=125),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
)


def header_of(frame: bytes) -> bytes:
    is_control = frame[0] & 8
    return frame[: 2 if is_control else {126: 4, 127: 10}.get(frame[1], 2)]


@settings(deadline=None)
@given(
    st.lists(data_frames | control_frames, max_size=6),
    st.lists(st.integers(1, 300), max_size=8),
    st.sampled_from([None, 1, 7, 4096]),
)
def test_cut_anywhere_headers_payloads_and_what_is_told_are_the_same(
    frames: list[bytes], positions: list[int], max_size: int | None
):
    headers = [header_of(frame) for frame in frames]
    payloads = [frame[len(header) :] for header, frame in zip(headers, frames, strict=True)]
    for cuts in (positions, [*accumulate(map(len, frames))]):
        traced = Traced(max_size=max_size).feed(*wire.cut(b"".join(frames), cuts))
        assert traced.frames == list(zip(headers, payloads, strict=True))
        assert traced.told == [
            (header[0], len(payload), payload[:24])
            for header, payload in zip(headers, payloads, strict=True)
        ]
        assert traced.splitter.starved
        assert traced.splitter.at_border


SHORT = wire.text("He", fin=False) + wire.ping(b"p" * 30) + wire.continuation(b"l" * 130)
SHORT += wire.binary(b"") + wire.pong() + wire.close(1000, b"bye")


def test_byte_by_byte_headers_payloads_and_what_is_told_are_the_same():
    whole = Traced().feed(SHORT)
    cut = Traced().feed(*wire.cut(SHORT, range(len(SHORT))))
    assert cut.frames == whole.frames
    assert cut.told == whole.told
    assert len(whole.told) == 6


# Headers


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_a_header_is_held_back_until_it_is_whole(size: int):
    frame = wire.binary(b"x" * size)
    header = header_of(frame)
    splitter = Splitter()
    for byte in wire.cut(header, range(len(header)))[:-1]:
        splitter.feed(byte)
        assert splitter.take_header() == b""
        assert splitter.starved
    splitter.feed(frame[len(header) - 1 :])
    assert not splitter.starved
    assert splitter.take_header() == header
    assert (splitter.opcode, splitter.size, splitter.remaining) == (wire.BINARY, size, size)
    assert splitter.at_border == (size == 0)


@pytest.mark.parametrize("length_size", [2, 8])
def test_a_control_frame_has_a_header_of_two_bytes_whatever_it_says(length_size: int):
    splitter = fed(wire.frame(wire.PING, b"a" * 200, length_size=length_size))
    assert splitter.take_header() == bytes([0x89, 126 if length_size == 2 else 127])


def test_the_first_byte_tells_what_a_frame_is():
    splitter = fed(wire.frame(3, rsv=5) + wire.frame(15, fin=False))
    splitter.take_header()
    assert (splitter.first_byte, splitter.opcode, splitter.is_control) == (0xD3, 3, False)
    splitter.take_header()
    assert (splitter.first_byte, splitter.opcode, splitter.is_control) == (0x0F, 15, True)


def test_a_length_that_is_longer_than_needed_is_taken_as_it_is():
    splitter = fed(wire.frame(wire.BINARY, b"ab", length_size=8))
    assert len(splitter.take_header()) == 10
    assert (splitter.size, splitter.take_payload()) == (2, b"ab")


# Payloads


def test_a_payload_of_data_is_passed_on_as_it_arrives():
    header, payload = wire.binary(b"abc")[:2], b"abc"
    traced = Traced().feed(header, *wire.cut(payload, [1, 2]))
    assert traced.pieces == [header, b"a", b"b", b"c"]


@pytest.mark.parametrize("opcode", range(8, 16))
def test_a_payload_of_control_is_all_or_nothing(opcode: int):
    frame = wire.frame(opcode, b"abcd")
    splitter = fed(frame[:2])
    splitter.take_header()
    for byte in (b"a", b"b", b"c"):
        splitter.feed(byte)
        assert splitter.take_payload(1) == b""
        assert splitter.starved
        assert splitter.remaining == 4
    splitter.feed(b"d" + frame)
    assert splitter.take_payload(1) == b"abcd"  # The limit is one for data.
    assert splitter.at_border
    assert splitter.take_header() == frame[:2]


def test_a_payload_of_data_is_taken_in_pieces_of_a_size():
    splitter = fed(wire.binary(b"abcde") + wire.text("next"))
    splitter.take_header()
    pieces = [splitter.take_payload(2) for _ in range(3)]
    assert pieces == [b"ab", b"cd", b"e"]
    assert splitter.at_border
    assert not splitter.starved


def test_nothing_is_allocated_by_the_length_that_a_frame_claims():
    tracemalloc.start()
    try:
        splitter = fed(wire.frame(wire.BINARY, b"abc", length=2**64 - 1))
        splitter.trace = lambda *_: None
        splitter.take_header()
        assert splitter.take_payload() == b"abc"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert splitter.remaining == 2**64 - 4


# What is pending


def test_without_input_there_is_nothing_to_take():
    assert Splitter().starved
    assert not fed(b"\x81").starved
    splitter = Splitter()
    assert splitter.take_header() == b""


def test_input_that_was_taken_as_a_whole_is_not_copied_by_the_next():
    splitter = fed(wire.binary(bytes(MIB)))
    splitter.take_header()
    splitter.take_payload()
    data = bytes(MIB)
    tracemalloc.start()
    try:
        splitter.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


# Tracing


def test_a_frame_is_told_of_once_its_beginning_has_come_not_at_its_end():
    traced = Traced().feed(wire.frame(wire.BINARY, b"x" * (TRACE_SIZE - 1), length=1000))
    assert traced.told == []
    traced.feed(b"y")
    assert traced.told == [(0x82, 1000, b"x" * 23 + b"y")]
    traced.feed(b"z" * 976)
    assert len(traced.told) == 1
    assert traced.splitter.at_border


def test_a_frame_without_a_payload_is_told_of_with_its_header():
    assert Traced().feed(wire.pong()).told == [(0x8A, 0, b"")]


def test_without_a_trace_nothing_is_told_nor_kept():
    traced = Traced(tracing=False).feed(wire.binary(b"x" * 10)[:5])
    assert traced.splitter._untraced is None
    traced.splitter.trace_refused()
    traced.feed(b"x" * 7)
    assert traced.told == []
    assert traced.frames == [(b"\x82\x0a", b"x" * 10)]


def test_a_trace_that_comes_within_a_frame_begins_with_the_next_one():
    traced = Traced(tracing=False).feed(wire.binary(b"abc")[:3])
    traced.splitter.trace = lambda *facts: traced.told.append(facts)
    traced.feed(b"bc" + wire.text("next"))
    assert traced.told == [(0x81, 4, b"next")]


def test_a_trace_that_goes_within_a_frame_is_not_told_of_it():
    traced = Traced().feed(wire.binary(b"abc")[:3])
    traced.splitter.trace = None
    traced.feed(b"bc" + wire.text("next"))
    assert traced.told == []


@pytest.mark.parametrize("come", [0, 1, 23, 24, 30])
def test_a_refused_frame_is_told_of_with_what_has_come_of_it(come: int):
    traced = Traced()
    traced.splitter.feed(wire.frame(wire.BINARY, b"x" * 30, rsv=7)[: 2 + come])
    traced.splitter.take_header()
    traced.splitter.trace_refused()
    assert traced.told == [(0xF2, 30, b"x" * min(come, TRACE_SIZE))]


def test_a_refused_frame_is_not_told_of_with_what_is_behind_it():
    traced = Traced()
    traced.splitter.feed(wire.frame(wire.BINARY, b"ab", rsv=7) + wire.text("behind"))
    traced.splitter.take_header()
    traced.splitter.trace_refused()
    assert traced.told == [(0xF2, 2, b"ab")]


def test_a_frame_that_is_refused_within_its_payload_is_told_of_once():
    for taken in (b"x" * 10, b"x" * 30):
        traced = Traced().feed(wire.frame(wire.BINARY, taken, length=1000))
        traced.splitter.trace_refused()
        traced.splitter.trace_refused()
        assert traced.told == [(0x82, 1000, taken[:24])]
