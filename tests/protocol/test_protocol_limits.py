"""The limits of the protocol: headers alone decide, and their lengths allocate nothing."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
import wire
from protocol_tables import binary, continuation, make_protocol, read, sent

from trio_wsclient import CloseFrame
from trio_wsclient._protocol import limits
from trio_wsclient._protocol.closing import State
from trio_wsclient._protocol.events import Ping, Pong
from trio_wsclient._protocol.protocol import Protocol

MIB = 1024 * 1024


def assert_too_big(protocol: Protocol, header: bytes, problem: str) -> None:
    """Check that a header is refused, and only when its last byte has come."""
    assert read(protocol, header[:-1]) == []
    assert protocol.closing.state is State.OPEN
    assert read(protocol, header[-1:]) == []
    assert problem in str(protocol.closing.cause)
    (close,) = sent(protocol)
    assert close.code == 1009
    assert problem in close.payload.decode(errors="replace")


@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@pytest.mark.parametrize("limit", [1, 10, 125, 126, 65535, 65536, MIB])
@pytest.mark.parametrize("name", ["max_message_size", "max_frame_size"])
def test_frame_over_a_limit_fails_before_its_payload(opcode: int, limit: int, name: str):
    exact = wire.frame(opcode, b"a" * limit)
    protocol = make_protocol(**{name: limit})
    assert len(read(protocol, exact, exact)) == 2
    for fin in (True, False):
        protocol = make_protocol(**{name: limit})
        read(protocol, exact)
        header = wire.frame(opcode, length=limit + 1, fin=fin)
        assert_too_big(protocol, header, f"{name} ({limit})")


def test_fragment_over_the_limit_fails_before_its_payload():
    protocol = make_protocol(max_message_size=10)
    data = (
        wire.text("a" * 6, fin=False) + wire.ping(b"p" * 125) + wire.continuation(b"b", fin=False)
    )
    assert len(read(protocol, data)) == 3
    assert_too_big(protocol, wire.frame(wire.CONTINUATION, length=4), "max_message_size (10)")


def test_fragmented_message_may_reach_the_limit():
    protocol = make_protocol(max_message_size=10)
    message = wire.binary(b"a" * 6, fin=False) + wire.continuation(b"b" * 4)
    assert len(read(protocol, message * 3)) == 6
    assert protocol.closing.state is State.OPEN


def test_message_may_be_larger_than_max_frame_size():
    protocol = make_protocol(max_frame_size=4)
    data = wire.binary(b"aaaa", fin=False) + wire.continuation(b"bbbb", fin=False) * 10
    assert len(read(protocol, data)) == 11
    header = wire.frame(wire.CONTINUATION, length=5)
    assert_too_big(protocol, header, "a frame of 5 bytes, over max_frame_size (4)")


def test_limit_that_no_object_reaches_is_none():
    no_limits = limits.Limits(None, None)
    assert limits.Limits(sys.maxsize, sys.maxsize + 1).normalized() == no_limits
    assert limits.Limits(None, None).normalized() == no_limits
    below = limits.Limits(sys.maxsize - 1, 0)
    assert below.normalized() == below


def test_limits_are_in_bytes_not_in_characters():
    assert read(make_protocol(max_message_size=10), wire.text("ä" * 5)) == ["ä" * 5]
    protocol = make_protocol(max_message_size=10)
    assert read(protocol, wire.text("ä" * 6)) == []
    assert (
        str(protocol.closing.cause) == "a message of at least 12 bytes, over max_message_size (10)"
    )


def test_limits_do_not_apply_to_control_frames():
    protocol = make_protocol(max_message_size=1, max_frame_size=1)
    data = wire.ping(b"p" * 125) + wire.pong(b"q" * 125) + wire.close(1000, b"r" * 123)
    assert read(protocol, data) == [Ping(b"p" * 125), Pong(b"q" * 125)]
    assert protocol.closing.received == CloseFrame(1000, "r" * 123)


def test_frame_over_both_limits_is_one_failure():
    protocol = make_protocol(max_message_size=1, max_frame_size=1)
    read(protocol, wire.binary(b"ab"))
    assert "max_frame_size" in str(protocol.closing.cause)
    assert len(sent(protocol)) == 1


def test_violation_in_a_header_comes_before_its_length():
    protocol = make_protocol(max_message_size=1, max_frame_size=1)
    read(protocol, wire.frame(wire.BINARY, b"ab", rsv=4))
    assert [close.code for close in sent(protocol)] == [1002]


def test_frame_may_have_any_length_without_limits():
    protocol = Protocol()
    assert read(protocol, wire.frame(wire.BINARY, length=2**63 - 1)) == []
    assert protocol.closing.state is State.OPEN


@pytest.mark.parametrize("code", [None, 1000], ids=["open", "closing"])
def test_declared_length_allocates_nothing(code: int | None):
    protocol = Protocol()
    if code is not None:
        protocol.close(code)
    pieces = [wire.frame(wire.TEXT, length=2**62), b"a" * 1000]
    tracemalloc.start()
    try:
        read(protocol, *pieces)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_data_after_our_close_is_not_kept():
    protocol = Protocol()
    protocol.close(1000)
    piece = bytes(65536)
    read(protocol, wire.frame(wire.BINARY, length=2**62), piece)
    tracemalloc.start()
    try:
        for _ in range(100):
            assert read(protocol, piece) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_message_of_65536_fragments_is_accepted():  # Autobahn 9.3.1 and 9.4.1
    protocol = make_protocol(max_message_size=MIB)
    frames = [wire.text("a", fin=False), *[wire.continuation(b"a", fin=False)] * 65534]
    events = read(protocol, b"".join(frames), wire.continuation(b"a"))
    assert len(events) == 65536
    assert events[-1] == continuation(b"a", fin=True)
    assert protocol.closing.state is State.OPEN


def test_endless_empty_fragments_fail():
    protocol = make_protocol(max_message_size=MIB)
    piece = wire.continuation(b"", fin=False) * 1000
    assert read(protocol, wire.binary(b"", fin=False)) == [binary(b"", fin=False)]
    count = 1
    while protocol.closing.state is State.OPEN:
        count += len(read(protocol, piece))
        assert count < 200_000
    assert count >= 65536
    assert "frames" in str(protocol.closing.cause)
    assert [close.code for close in sent(protocol)] == [1009]


def test_limit_on_fragments_is_for_one_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_MAX_FRAGMENTS", 3)
    protocol = make_protocol(max_message_size=MIB)
    two = wire.continuation(b"b", fin=False) + wire.continuation(b"c")
    message = wire.binary(b"a", fin=False) + two
    assert len(read(protocol, message * 3, wire.text("d") * 3)) == 12
    assert protocol.closing.state is State.OPEN
    data = wire.binary(b"a", fin=False) + wire.continuation(b"b", fin=False) * 2
    read(protocol, data)
    assert_too_big(protocol, wire.frame(wire.CONTINUATION, length=1), "more than 3 frames")


def test_fragments_are_unlimited_without_max_message_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_MAX_FRAGMENTS", 3)
    protocol = make_protocol(max_frame_size=10)
    data = wire.binary(b"", fin=False) + wire.continuation(b"", fin=False) * 9
    assert len(read(protocol, data)) == 10
    assert protocol.closing.state is State.OPEN
