"""The open connection without I/O: frames, violations, and output (RFC 6455 §5 and §8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import wire
from extensions import Named
from protocol_tables import (
    CONVERSATIONS,
    VIOLATIONS,
    WRONG_AT_ONCE,
    bad_text,
    continuation,
    flat,
    make_protocol,
    read,
    sent,
    text,
)

from trio_wsclient import CloseFrame, Opcode
from trio_wsclient._protocol.closing import ClosedBy, State
from trio_wsclient._protocol.events import Event, Ping
from trio_wsclient._protocol.protocol import Protocol

# Messages (RFC 6455 §5.4, §5.6)


@pytest.mark.parametrize(("data", "events"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_every_legal_input_is_understood(data: bytes, events: list[Event]):
    protocol = Protocol()
    assert read(protocol, data) == events
    assert protocol.closing.state is State.OPEN
    assert sent(protocol) == []


def test_payloads_are_immutable_bytes():
    data = wire.ping(b"a") + wire.pong(b"b") + wire.binary(b"c") + wire.binary(b"d", fin=False)
    ping, pong, message, frame = read(Protocol(), data)
    for payload in (ping.payload, pong.payload, message, frame.payload):
        assert type(payload) is bytes


def test_has_input_until_no_frame_is_complete():
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.text("b")[:1])
    assert protocol.has_input
    assert flat(protocol.next_events()) == ["a"]
    assert not protocol.has_input
    assert read(protocol, wire.text("b")[1:]) == ["b"]


def test_has_no_input_before_any_bytes():
    protocol = Protocol()
    assert not protocol.has_input
    assert protocol.next_events() == []


def test_long_burst_is_handed_over_in_slices():
    protocol = Protocol()
    # The fast path takes more messages in a slice, as each of them costs less.
    for frame, most in ((wire.text(""), 2048), (wire.ping(), 256)):
        protocol.receive_data(frame * 10_000)
        sizes = []
        while protocol.has_input:
            sizes.append(len(flat(protocol.next_events())))
        assert sum(sizes) == 10_000
        assert max(sizes) <= most


# Violations (RFC 6455 §5 and §7.4)


@pytest.mark.parametrize(("data", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_violation_fails_the_connection_with_its_code(data: bytes, code: int):
    protocol = Protocol()
    events = read(protocol, wire.text("before") + data, wire.text("after"), wire.ping())
    assert events[0] == "before"
    assert "after" not in events
    assert Ping(b"") not in events
    assert (protocol.closing.state, protocol.closing.closed_by) == (State.CLOSING, ClosedBy.ERROR)
    assert protocol.closing.cause is not None
    assert protocol.closing.received is None
    (close,) = sent(protocol)
    assert close.code == code
    assert protocol.closing.sent == CloseFrame(code, close.payload[2:].decode())
    assert protocol.closing.sent.reason


@pytest.mark.parametrize(("data", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_violation_is_described_in_one_printable_line(data: bytes, code: int):
    protocol = Protocol()
    read(protocol, data)
    assert protocol.closing.cause is not None
    assert str(protocol.closing.cause).isprintable()
    assert 5 < len(str(protocol.closing.cause)) < 200


@pytest.mark.parametrize(
    "data", [wire.continuation(), bad_text(b"\xff"), wire.binary(b"ab"), wire.close(1001)]
)
def test_close_for_a_violation_has_plain_types(data: bytes):
    protocol = make_protocol(max_message_size=1)
    read(protocol, data)
    assert protocol.closing.sent is not None
    assert type(protocol.closing.sent.code) is int
    assert type(protocol.closing.sent.reason) is str


def test_violation_takes_effect_when_the_caller_says_so():
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.continuation(b"b"))
    assert flat(protocol.next_events()) == ["a"]
    assert protocol.violation is not None
    assert protocol.closing.state is State.OPEN
    assert not protocol.has_input
    protocol.fail_by_violation()
    assert protocol.violation is None
    assert protocol.closing.closed_by is ClosedBy.ERROR


def test_violation_after_our_close_changes_nothing():
    protocol = Protocol()
    protocol.receive_data(wire.continuation(b"b"))
    protocol.next_events()
    protocol.close(1000)
    protocol.fail_by_violation()
    assert (protocol.closing.closed_by, protocol.closing.cause) == (ClosedBy.CLIENT, None)
    assert [close.code for close in sent(protocol)] == [1000]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (wire.continuation(), "a CONTINUATION frame outside of a message"),
        (wire.text("a") + wire.continuation(), "a CONTINUATION frame outside of a message"),
        (
            wire.text("a", fin=False) + wire.binary(b"b"),
            "a BINARY frame inside of a message that is not finished",
        ),
    ],
)
def test_frame_out_of_turn_is_named(data: bytes, problem: str):
    protocol = Protocol()
    read(protocol, data)
    assert str(protocol.closing.cause) == problem


@pytest.mark.parametrize(
    "frames",
    [[wire.text("a" * 8)], [wire.text("a" * 4, fin=False), wire.continuation(b"a" * 4)]],
    ids=["frame", "fragments"],
)
def test_continuation_after_a_message_is_a_violation(frames: list[bytes]):
    protocol = make_protocol(max_message_size=10)
    read(protocol, *frames, wire.continuation(b"b" * 5))
    assert [close.code for close in sent(protocol)] == [1002]


# UTF-8 (RFC 6455 §8.1)


@pytest.mark.parametrize(("right", "wrong"), WRONG_AT_ONCE.values(), ids=WRONG_AT_ONCE)
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_text_fails_at_its_first_wrong_byte(right: bytes, wrong: bytes, fin: bool, apart: bool):
    protocol = Protocol()
    head = wire.frame(wire.TEXT, length=100_000, fin=fin)
    if apart:
        assert read(protocol, head + right) == []
        assert protocol.closing.state is State.OPEN
        assert read(protocol, wrong) == []
    else:
        assert read(protocol, head + right + wrong) == []
    assert [close.code for close in sent(protocol)] == [1007]


@pytest.mark.parametrize(("right", "wrong"), WRONG_AT_ONCE.values(), ids=WRONG_AT_ONCE)
def test_fragmented_text_fails_at_its_first_wrong_byte(right: bytes, wrong: bytes):
    protocol = Protocol()
    frames = [wire.text("a", fin=False), wire.continuation(right, fin=False), wire.ping()]
    read(protocol, *frames)
    assert protocol.closing.state is State.OPEN
    read(protocol, wire.frame(wire.CONTINUATION, length=1000) + wrong)
    assert [close.code for close in sent(protocol)] == [1007]


# decode_text


@pytest.mark.parametrize(
    "data",
    [bad_text(b"\xff"), wire.text("", fin=False) + wire.continuation(b"\xff", fin=False)],
    ids=["a message", "a fragment"],
)
def test_utf8_violation_is_caused_by_the_decoder_error(data: bytes):
    protocol = Protocol()
    read(protocol, data)
    assert protocol.closing.cause is not None
    assert isinstance(protocol.closing.cause.__cause__, UnicodeDecodeError)


def test_undecoded_text_is_bytes_and_not_checked():
    protocol = Protocol(decode_text=False)
    data = bad_text(b"\xff") + wire.text("ä") + wire.binary(b"b")
    assert read(protocol, data) == [text(b"\xff", fin=True), text(b"\xc3\xa4", fin=True), b"b"]


def test_undecoded_fragments_are_not_checked():
    protocol = Protocol(decode_text=False)
    data = wire.frame(wire.TEXT, b"\xff", fin=False) + wire.continuation(b"\xc3")
    assert read(protocol, data) == [text(b"\xff", fin=False), continuation(b"\xc3", fin=True)]
    assert protocol.closing.state is State.OPEN


def test_close_reason_is_checked_when_text_is_not():
    protocol = Protocol(decode_text=False)
    read(protocol, wire.close(1000, b"\xff"))
    assert [close.code for close in sent(protocol)] == [1007]


# Incomplete frames


def test_partial_size_counts_an_incomplete_data_frame():
    protocol = Protocol()
    sizes = []
    for piece in (wire.text("abcdef")[:5], b"d", wire.text("abcdef")[-2:], wire.ping(b"p" * 9)[:8]):
        read(protocol, piece)
        sizes.append(protocol.partial_size)
    assert sizes == [3, 4, 0, 0]


def test_partial_size_leaves_out_complete_fragments():
    protocol = Protocol()
    read(protocol, wire.binary(b"abc", fin=False) + wire.continuation(b"defg")[:4])
    assert protocol.partial_size == 2


@pytest.mark.parametrize(
    "end",
    [
        lambda protocol: protocol.close(1000),
        lambda protocol: protocol.fail(OSError("reset")),
        lambda protocol: protocol.close_stream(),
    ],
    ids=["close", "fail", "close_stream"],
)
def test_partial_frame_is_dropped_when_the_connection_ends(end: Callable[[Protocol], None]):
    protocol = Protocol()
    read(protocol, wire.binary(b"abc")[:4])
    assert protocol.partial_size == 2
    end(protocol)
    assert protocol.partial_size == 0


# Output (RFC 6455 §5.2, §5.3)


def parsed(data: bytes) -> wire.ClientFrame:
    reader = wire.ClientFrameReader()
    (frame,) = reader.feed(data)
    assert not reader.pending
    return frame


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_message_is_sent_with_the_shortest_length(opcode: Opcode, size: int):
    payload = bytes(index % 251 for index in range(size))
    data = Protocol().send_data(opcode, payload)
    assert type(data) is bytes
    assert parsed(data) == wire.ClientFrame(opcode, payload)
    header_size = 2 if size < 126 else 4 if size < 65536 else 10
    assert len(data) == header_size + 4 + size


def prepared(protocol: Protocol, opcode: Opcode, payload: bytes) -> Callable[[], Iterable[bytes]]:
    """Take all steps of preparing a message; return what makes its frame."""
    steps = protocol.prepare_data(opcode, payload, fin=True)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("extensions", [[], [Named("x-foreign")]], ids=["none", "foreign"])
def test_long_message_is_sent_as_one_frame(opcode: Opcode, extensions: list[Named]):
    payload = bytes(index % 251 for index in range(800_001))
    pieces = list(prepared(Protocol(extensions=extensions), opcode, payload)())
    assert len(pieces) == 4  # They are masked one by one.
    assert parsed(b"".join(pieces)) == wire.ClientFrame(opcode, payload)


def test_long_message_is_refused_after_a_close():
    protocol = Protocol()
    protocol.close(1000)
    with pytest.raises(RuntimeError, match="after a Close"):
        prepared(protocol, Opcode.BINARY, bytes(800_001))()


@pytest.mark.parametrize("extensions", [[], [Named("x-foreign")]], ids=["none", "foreign"])
def test_batch_has_each_frame_with_its_fin(extensions: list[Named]):
    batch = [
        (Opcode.TEXT, b"a", True),
        (Opcode.BINARY, b"b", False),
        (Opcode.CONTINUATION, b"", False),
        (Opcode.CONTINUATION, b"c", True),
    ]
    frames = wire.ClientFrameReader().feed(Protocol(extensions=extensions).send_batch(batch))
    assert frames == [wire.ClientFrame(opcode, data, fin=fin) for opcode, data, fin in batch]


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_control_frames_are_sent_between_fragments(opcode: Opcode):
    protocol = Protocol()
    frames = [
        protocol.send_data(opcode, b"a\xc3", fin=False),
        protocol.send_ping(b"p"),
        protocol.send_data(Opcode.CONTINUATION, b"", fin=False),
        protocol.send_pong(b"q"),
        protocol.send_data(Opcode.CONTINUATION, b"\xa4"),
        protocol.send_data(opcode, b"b"),
    ]
    assert [parsed(frame) for frame in frames] == [
        wire.ClientFrame(opcode, b"a\xc3", fin=False),
        wire.ClientFrame(wire.PING, b"p"),
        wire.ClientFrame(wire.CONTINUATION, b"", fin=False),
        wire.ClientFrame(wire.PONG, b"q"),
        wire.ClientFrame(wire.CONTINUATION, b"\xa4"),
        wire.ClientFrame(opcode, b"b"),
    ]


def test_each_frame_has_its_own_mask():
    protocol = Protocol()
    frames = [protocol.send_data(Opcode.TEXT, b"a") for _ in range(50)]
    frames += [protocol.send_ping(b"a") for _ in range(50)]
    masks = {frame[2:6] for frame in frames}
    assert len(masks) == 100
    # Of 100 random masks each of the 32 bits is in some and not in others, but once in 2^95 tries.
    for bit in range(32):
        assert {int.from_bytes(mask, "big") >> bit & 1 for mask in masks} == {0, 1}


def test_pong_carries_the_payload_of_its_ping():  # S29
    protocol = Protocol()
    (ping,) = read(protocol, wire.ping(b"p" * 125))
    assert parsed(protocol.send_pong(ping.payload)) == wire.ClientFrame(wire.PONG, b"p" * 125)


@pytest.mark.parametrize("closed_by", list(ClosedBy))
def test_nothing_can_be_sent_after_a_close(closed_by: ClosedBy):
    protocol = Protocol()
    if closed_by is ClosedBy.CLIENT:
        protocol.close(1000)
    elif closed_by is ClosedBy.SERVER:
        read(protocol, wire.close(1000))
    else:
        read(protocol, wire.continuation())
    with pytest.raises(RuntimeError, match=r"^nothing can be sent after a Close$"):
        protocol.send_data(Opcode.TEXT, b"a")
    with pytest.raises(RuntimeError, match="after a Close"):
        protocol.send_ping(b"")
    with pytest.raises(RuntimeError, match="after a Close"):
        protocol.send_pong(b"")
