"""Plain frames, decoded and built (RFC 6455 §5.2 and §5.3), in Python and by the accelerator."""

from __future__ import annotations

import os

import pytest
import wire
from accelerator import IMPLEMENTATIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import DataFrame, Opcode
from trio_wsclient._protocol.frames import BINARY, COMPRESSED, TEXT

pytestmark = pytest.mark.parametrize("frames", IMPLEMENTATIONS)

NO_LIMIT = 2**63 - 1
SIZES = [0, 1, 3, 4, 5, 125, 126, 127, 511, 512, 513, 65_535, 65_536, 70_001]


def text_frame(payload: bytes) -> DataFrame:
    return DataFrame(Opcode.TEXT, payload, fin=True)


# Decoding


@pytest.mark.parametrize("size", SIZES)
def test_decode_takes_frames_of_any_size(frames, size: int):
    data = wire.binary(b"\xff" * size) + wire.text("x" * size)
    messages = [b"\xff" * size, "x" * size]
    assert frames.decode(data, 0, NO_LIMIT, None, None) == (messages, len(data), 2 * size)


def test_decode_begins_at_start(frames):
    data = b"\x00" + wire.text("ab")
    assert frames.decode(data, 1, NO_LIMIT, None, None) == (["ab"], len(data), 2)


def test_decode_leaves_text_unchecked_with_make_text(frames):
    data = wire.frame(wire.TEXT, b"\xff") + wire.binary(b"b")
    messages, *_ = frames.decode(data, 0, NO_LIMIT, text_frame, None)
    assert messages == [text_frame(b"\xff"), b"b"]


def test_decode_counts_the_memory_of_text(frames):
    assert frames.decode(wire.text("ä☃😀"), 0, NO_LIMIT, None, None) == (["ä☃😀"], 11, 12)


# Inputs that do not begin with a plain frame.
ODD = [
    b"",
    wire.text("abc")[:1],
    wire.text("abc")[:4],
    wire.binary(bytes(126))[:3],
    wire.binary(bytes(126))[:-1],
    wire.binary(bytes(65_536))[:9],
    wire.binary(bytes(65_536))[:-1],
    wire.text("a", fin=False),
    wire.continuation(b"a"),
    wire.frame(wire.BINARY, b"a", rsv=4),
    wire.frame(wire.BINARY, b"a", rsv=1),
    wire.frame(wire.BINARY, b"a", masked=True),
    wire.frame(wire.BINARY, bytes(126), masked=True),
    # As the size of a frame its key would be one of 65,536 bytes.
    b"\x82\x80" + (65_536).to_bytes(8, "big") + bytes(65_536),
    wire.frame(wire.BINARY, bytes(125), length_size=2),
    wire.frame(wire.BINARY, bytes(65_535), length_size=8),
    wire.frame(wire.BINARY, b"", length=2**63),
    wire.frame(wire.BINARY, b"", length=2**64 - 1),
    wire.frame(3, b"a"),
    wire.ping(b"a"),
    wire.pong(b"a"),
    wire.close(1000),
]


@pytest.mark.parametrize("make_text", [None, text_frame])
@pytest.mark.parametrize("odd", ODD)
def test_decode_stops_before_frames_of_other_kinds(frames, odd: bytes, make_text):
    before = wire.binary(b"before")
    messages, stop, _ = frames.decode(before + odd, 0, NO_LIMIT, make_text, None)
    assert (messages, stop) == ([b"before"], len(before))


def keep(first_byte: int, payload: bytes) -> bytes:
    return bytes([first_byte]) + payload


def test_decode_passes_compressed_messages_to_inflate(frames):
    compressed = [wire.frame(wire.TEXT, b"a", rsv=4), wire.frame(wire.BINARY, b"b" * 200, rsv=4)]
    data = wire.text("before") + b"".join(compressed) + wire.text("behind")
    messages = ["before", b"\x81a", b"\x82" + b"b" * 200, "behind"]
    assert frames.decode(data, 0, NO_LIMIT, None, keep) == (messages, len(data), 12)


def test_decode_stops_when_inflate_returns_none(frames):
    data = wire.text("a") + wire.frame(wire.TEXT, b"b", rsv=4) + wire.text("c")
    assert frames.decode(data, 0, NO_LIMIT, None, lambda *_: None) == (["a"], 3, 1)


@pytest.mark.parametrize(
    "odd",
    [
        wire.frame(wire.TEXT, b"a", rsv=5),
        wire.frame(wire.BINARY, b"a", rsv=4, fin=False),
        wire.frame(wire.CONTINUATION, b"a", rsv=4),
        wire.frame(wire.PING, b"a", rsv=4),
        wire.frame(wire.TEXT, b"a", rsv=4, masked=True),
        wire.frame(wire.TEXT, b"abcde", rsv=4),
        wire.frame(wire.TEXT, b"abc", rsv=4)[:-1],
    ],
)
def test_decode_stops_before_an_odd_compressed_frame(frames, odd: bytes):
    assert frames.decode(odd, 0, 4, None, keep) == ([], 0, 0)


def test_decode_stops_before_text_that_is_not_utf8(frames):
    data = wire.text("a") + wire.frame(wire.TEXT, b"\xed\xa0\x80") + wire.text("b")
    assert frames.decode(data, 0, NO_LIMIT, None, None) == (["a"], 3, 1)


def test_decode_stops_before_a_frame_over_the_limit(frames):
    data = wire.binary(b"abc") + wire.binary(b"abcd")
    assert frames.decode(data, 0, 3, None, None) == ([b"abc"], 5, 3)
    data = wire.binary(bytes(126)) + wire.binary(bytes(127))
    assert frames.decode(data, 0, 126, None, None) == ([bytes(126)], 130, 126)


def test_decode_takes_a_limited_number_of_messages(frames):
    data = wire.binary(b"") * 5000
    messages, stop, _ = frames.decode(data, 0, NO_LIMIT, None, None)
    assert 0 < len(messages) <= 512
    assert stop == 2 * len(messages)


@pytest.mark.parametrize("size", SIZES)
def test_decode_single_takes_a_frame_of_any_size(frames, size: int):
    assert frames.decode_single(wire.binary(b"\xff" * size), NO_LIMIT, True) == b"\xff" * size
    assert frames.decode_single(memoryview(wire.text("x" * size)), size, True) == "x" * size
    assert frames.decode_single(wire.text("x" * size), size, False) == b"x" * size


@pytest.mark.parametrize("decode_text", [True, False])
@pytest.mark.parametrize("odd", ODD)
def test_decode_single_takes_nothing_else(frames, odd: bytes, decode_text: bool):
    assert frames.decode_single(odd, NO_LIMIT, decode_text) is None
    assert frames.decode_single(wire.text("a") + odd, NO_LIMIT, decode_text) == (
        None if odd else "a" if decode_text else b"a"
    )


def test_decode_single_takes_no_frame_over_the_limit(frames):
    assert frames.decode_single(wire.binary(b"abcd"), 3, True) is None


def test_decode_single_takes_no_text_that_is_not_utf8(frames):
    data = wire.frame(wire.TEXT, b"\xed\xa0\x80")
    assert frames.decode_single(data, NO_LIMIT, True) is None
    assert frames.decode_single(data, NO_LIMIT, False) == b"\xed\xa0\x80"


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(max_size=200) | st.binary(max_size=200)), st.integers(0, 50))
def test_decode_takes_all_complete_messages(frames, messages: list[str | bytes], missing: int):
    parts = [wire.text(m) if isinstance(m, str) else wire.binary(m) for m in messages]
    data = b"".join(parts)
    data = data[: len(data) - missing]
    decoded, stop, _ = frames.decode(data, 0, NO_LIMIT, None, None)
    assert decoded == messages[: len(decoded)]
    assert stop == sum(map(len, parts[: len(decoded)]))
    if len(decoded) < len(messages):
        assert len(data) - stop < len(parts[len(decoded)])


# Building


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first_byte", [TEXT, BINARY, TEXT | COMPRESSED, BINARY | COMPRESSED])
def test_build_makes_a_frame_of_a_client(frames, first_byte: int, size: int):
    payload = bytes(i % 251 for i in range(size))
    reader = wire.ClientFrameReader()
    reader.has_extensions = True
    data = frames.build(first_byte, payload, b"\x00\xff\x55\x81")
    (frame,) = reader.feed(data)
    assert not reader.pending
    assert data[-size - 4 :][:4] == b"\x00\xff\x55\x81"
    assert frame.opcode == first_byte & 0x0F
    assert (frame.fin, frame.rsv, frame.payload) == (True, first_byte >> 4 & 7, payload)


@pytest.mark.parametrize("size", SIZES)
def test_mask_is_a_repeated_xor_with_the_key(frames, size: int):
    payload, key = os.urandom(size), b"\x00\xff\x55\x81"
    expected = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    assert frames.mask(payload, key, 0, size) == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("start", [0, 4, 512])
@pytest.mark.parametrize("stop", [0, 3, 5, 511, 1025, 100_000])
def test_mask_of_a_piece_equals_the_whole(frames, size: int, start: int, stop: int):
    payload, key = os.urandom(size), b"abcd"
    if start <= min(stop, size):
        assert (
            frames.mask(payload, key, start, stop) == frames.mask(payload, key, 0, size)[start:stop]
        )
