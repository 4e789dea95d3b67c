"""Compressed messages received (RFC 7692 §7.2.2): what is inflated, what is refused, and when."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zlib

import pytest
import wire
from deflate_tables import (
    CONVERSATIONS,
    FINAL,
    HELLO,
    HELLO_AGAIN,
    LONG,
    RSV1,
    TAIL,
    VIOLATIONS,
    Compressor,
    deflating,
    messages,
    raw,
    repeat,
    repetitive,
    squeezed,
    stored,
)
from extensions import failed
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import read, sent

from trio_wsclient._protocol.closing import State
from trio_wsclient._protocol.events import Ping, Pong
from trio_wsclient._protocol.protocol import Protocol


def outcome(protocol: Protocol, pieces: list[bytes]) -> tuple[object, ...]:
    """Return all that a protocol says of its input."""
    events = read(protocol, *pieces)
    return events, protocol.closing.state, str(protocol.closing.cause), sent(protocol)


# What is right, and what is not


@pytest.mark.parametrize(("data", "expected"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_every_legal_stream_is_inflated(data: bytes, expected: list[str | bytes | Ping | Pong]):
    protocol = deflating()
    assert messages(read(protocol, data)) == expected
    assert protocol.closing.state is State.OPEN


@pytest.mark.parametrize("first", [b"", HELLO + TAIL], ids=["empty", "more"])
def test_stored_last_block_may_end_with_the_tail(first: bytes):
    """RFC 7692 §7.2.1: they are taken off whatever has made them, here an empty last block."""
    protocol = deflating()
    data = wire.frame(wire.BINARY, first + b"\x01", rsv=RSV1)
    whole = zlib.decompress(first + b"\x01" + TAIL, wbits=-15)
    assert messages(read(protocol, data, squeezed(HELLO))) == [whole, "Hello"]
    assert protocol.closing.state is State.OPEN


@pytest.mark.parametrize(("data", "code", "problem"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_violation_fails_the_connection_and_names_the_fault(data: bytes, code: int, problem: str):
    protocol = deflating()
    events = read(protocol, squeezed(FINAL) + data, wire.text("after"))
    assert events[0] == "Hello"
    assert "after" not in events
    assert failed(protocol) == (code, problem)


INPUTS = {
    **{name: data for name, (data, _) in CONVERSATIONS.items()},
    **{name: data for name, (data, _, _) in VIOLATIONS.items()},
}


@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS)
def test_streams_mean_the_same_byte_by_byte(data: bytes):
    whole = outcome(deflating(), [data])
    for position in range(1, len(data)):
        assert outcome(deflating(), wire.cut(data, [position])) == whole
    assert outcome(deflating(), wire.cut(data, range(len(data)))) == whole


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60), st.booleans())
def test_any_compressed_payload_is_read_without_an_exception(data: bytes, takeover: bool):
    protocol = deflating("" if takeover else "; server_no_context_takeover")
    read(protocol, squeezed(HELLO + data, wire.BINARY), squeezed(data, wire.BINARY))
    code = protocol.closing.sent.code if protocol.closing.sent else None
    assert code in {None, 1007, 1009}


@pytest.mark.parametrize("data", [b"\xff" * 9, HELLO[:4], b""], ids=["wrong", "cut", "none"])
def test_cause_of_wrong_deflate_data_is_zlibs(data: bytes):
    protocol = deflating()
    read(protocol, squeezed(data))
    cause = protocol.closing.cause
    assert (cause is None) == (data == b"")
    assert cause is None or isinstance(cause.__cause__, zlib.error)


def test_saved_counts_the_bytes_that_inflating_adds():
    protocol, added = deflating(), 0
    for plain in (bytes(900), b"", b"Hello", random.Random(1).randbytes(500)):
        payload = raw(plain)
        begin, end = payload[: len(payload) // 2], payload[len(payload) // 2 :]
        read(protocol, squeezed(begin, wire.BINARY, fin=False), wire.continuation(end))
        read(protocol, squeezed(payload, wire.BINARY), wire.binary(plain))
        added += 2 * (len(plain) - len(payload))
        assert protocol.saved == (0, added)


# Windows and contexts (RFC 7692 §7.1.1, §7.1.2)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(8, 16))
def test_server_may_use_its_whole_window_and_context(bits: int, takeover: bool):
    params = "" if bits == 15 else f"; server_max_window_bits={bits}"
    params += "" if takeover else "; server_no_context_takeover"
    protocol = deflating(params, limit=None)
    compressor = Compressor(bits)
    for message in repetitive(1, 10, 400, 1500, 20, 1500):
        if not takeover:
            compressor = Compressor(bits)
        data = squeezed(compressor.compress(message), wire.BINARY)
        assert read(protocol, *wire.cut(data, range(0, len(data), 777))) == [message]


@pytest.mark.parametrize("bits", range(8, 16))
def test_server_may_refer_back_to_the_window_start(bits: int):
    protocol = deflating(f"; server_max_window_bits={bits}", limit=None)
    window = random.Random(2).randbytes(2**bits)
    assert read(protocol, squeezed(stored(window), wire.BINARY)) == [window]
    farthest = repeat(2 * bits - 1, "1" * (bits - 2))
    assert read(protocol, squeezed(farthest, wire.BINARY)) == [window[:3]]


@pytest.mark.parametrize("bits", range(8, 15))
def test_reference_beyond_the_window_is_refused(bits: int):
    first = squeezed(stored(bytes(2**bits + 1)), wire.BINARY)
    too_far = squeezed(repeat(2 * bits, "0" * (bits - 1)), wire.BINARY)
    for position in range(len(too_far)):
        protocol = deflating(f"; server_max_window_bits={bits}", limit=None)
        assert len(read(protocol, first)) == 1
        assert read(protocol, *wire.cut(too_far, [position])) == []
        assert failed(protocol) == (1007, "not deflate data: invalid distance too far back")


@pytest.mark.parametrize(
    "first", [HELLO, HELLO + TAIL + b"\0", FINAL], ids=["a block", "empty blocks", "BFINAL"]
)
def test_reference_to_earlier_message_is_refused_without_takeover(first: bytes):
    protocol = deflating("; server_no_context_takeover")
    assert read(protocol, squeezed(first) + squeezed(first)) == ["Hello", "Hello"]
    read(protocol, squeezed(HELLO_AGAIN))
    assert failed(protocol) == (1007, "not deflate data: invalid distance too far back")


# Any messages, in any frames

parts = st.binary(max_size=40) | st.binary(min_size=1, max_size=9).map(lambda part: part * 30)
PLAIN = None
modes = st.sampled_from([PLAIN, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.lists(parts, max_size=3), modes), max_size=5), st.data())
def test_messages_are_inflated_in_any_fragments(
    drawn: list[tuple[list[bytes], int | None]], data: st.DataObject
):
    compressor = Compressor()
    stream = b""
    for blocks, mode in drawn:
        is_plain = mode is PLAIN
        payload = b"".join(blocks) if is_plain else compressor.compress(*blocks, mode=mode)
        borders = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        opcode, rsv = wire.BINARY, 0 if is_plain else RSV1
        for start, end in itertools.pairwise([0, *borders, None]):
            stream += wire.frame(opcode, payload[start:end], fin=end is None, rsv=rsv)
            stream += data.draw(st.sampled_from([b"", wire.ping(b"p")]))
            opcode, rsv = wire.CONTINUATION, 0
    pieces = wire.cut(stream, data.draw(st.lists(st.integers(1, 500), max_size=4)))
    found = messages(read(deflating(), *pieces))
    assert [event for event in found if event != Ping(b"p")] == [b"".join(b) for b, _ in drawn]


# Memory


def test_bomb_is_stopped_at_the_limit():
    bomb = squeezed(raw(bytes(20_000_000)))
    protocol = deflating()
    tracemalloc.start()
    try:
        read(protocol, bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed(protocol)[0] == 1009
    assert peak < 200_000


TRUNCATED = {
    "fixed codes": HELLO,
    "fixed codes with BFINAL": FINAL,
    "dynamic codes": raw(LONG),
    "a plain block": stored(b"Hello"),
}


@pytest.mark.parametrize("whole", TRUNCATED.values(), ids=TRUNCATED)
def test_message_cut_off_inside_a_block_is_refused(whole: bytes):
    for end in range(2, len(whole)):  # the first byte of a plain block is an empty message
        protocol = deflating()
        assert read(protocol, squeezed(whole[:end], wire.BINARY)) == []
        assert failed(protocol)[0] == 1007


def test_message_that_keeps_the_four_bytes_is_refused():
    protocol = deflating()
    read(protocol, squeezed(HELLO + TAIL))
    assert failed(protocol)[0] == 1007


OUT_OF_TURN = {
    "a fragment after a message": squeezed(HELLO) + wire.continuation(b"\6"),
    "a bomb after a message": squeezed(HELLO) + wire.continuation(raw(bytes(5000))),
    "a message inside": wire.text("a", fin=False) + squeezed(b"\6"),
    "a bomb inside": wire.text("a", fin=False) + squeezed(raw(bytes(5000))),
    "a message inside a compressed one": squeezed(b"", fin=False) + squeezed(b"\6"),
}


@pytest.mark.parametrize("data", OUT_OF_TURN.values(), ids=OUT_OF_TURN)
def test_compressed_frame_out_of_turn_is_a_violation(data: bytes):
    """RFC 6455 §5.4."""
    for pieces in ([data], wire.cut(data, range(len(data)))):
        protocol = deflating()
        read(protocol, *pieces)
        assert failed(protocol)[0] == 1002


@pytest.mark.parametrize("over", [-2, -1, 0, 1, 2, 100, 257, 258, 259])
@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("limit", [None, 10_000_000])
def test_message_may_end_with_a_zlib_call(over: int, level: int, limit: int | None):
    """Zlib may have taken all input, and hold back output for which there was no room."""
    protocol = deflating(limit=limit)
    for calls in (1, 2):
        plain = bytes(262_144 * calls + over)
        compressor = zlib.compressobj(level, wbits=-15)
        payload = compressor.compress(plain) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert read(protocol, squeezed(payload[:-4], wire.BINARY)) == [plain]
        in_two = squeezed(payload[:100], wire.BINARY, fin=False) + wire.continuation(
            payload[100:-4]
        )
        assert b"".join(frame.payload for frame in read(protocol, in_two)) == plain
