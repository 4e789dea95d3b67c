"""The open connection without I/O: frames, breaches, and what is sent (RFC 6455 §5 and §8)."""

from __future__ import annotations

import pytest
import wire
from extensions import Named
from protocol_tables import (
    BREACHES,
    CONVERSATIONS,
    WRONG_AT_ONCE,
    bad_text,
    continuation,
    flat,
    read,
    sent,
    text,
)
from wsproto.utilities import LocalProtocolError

from trio_wsclient import CloseFrame, Opcode
from trio_wsclient._events import Event, Ping
from trio_wsclient._protocol import Ending, Protocol, State

# Messages (RFC 6455 §5.4, §5.6)


@pytest.mark.parametrize(("data", "events"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_what_the_rfc_allows_is_understood(data: bytes, events: list[Event]):
    protocol = Protocol()
    assert read(protocol, data) == events
    assert protocol.state is State.OPEN
    assert sent(protocol) == []


def test_payloads_are_bytes_that_nothing_can_change():
    data = wire.ping(b"a") + wire.pong(b"b") + wire.binary(b"c") + wire.binary(b"d", fin=False)
    ping, pong, message, frame = read(Protocol(), data)
    for payload in (ping.payload, pong.payload, message, frame.payload):
        assert type(payload) is bytes


def test_input_is_pending_until_no_frame_is_whole():
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.text("b")[:1])
    assert protocol.input_pending
    assert flat(protocol.next_events()) == ["a"]
    assert not protocol.input_pending
    assert read(protocol, wire.text("b")[1:]) == ["b"]


def test_without_input_nothing_is_pending():
    protocol = Protocol()
    assert not protocol.input_pending
    assert protocol.next_events() == []


def test_a_long_burst_is_handed_over_in_slices():
    protocol = Protocol()
    # In the fast lane a slice holds more: it is a matter of time.
    for frame, most in ((wire.text(""), 2048), (wire.ping(), 256)):
        protocol.receive_data(frame * 10_000)
        sizes = []
        while protocol.input_pending:
            sizes.append(len(flat(protocol.next_events())))
        assert sum(sizes) == 10_000
        assert max(sizes) <= most


@pytest.mark.parametrize("take", [Protocol.receive_data, Protocol.receive_plain])
def test_frames_that_are_read_are_told_of_and_from_then_on(take):
    told = []
    protocol = Protocol()
    read(protocol, wire.text("untold"))
    take(protocol, wire.text("a"), lambda *facts: told.append(facts))
    assert flat(protocol.next_events()) == ["a"]
    take(protocol, wire.ping(b"p"), lambda *facts: told.append(facts))
    assert protocol.next_events() == [Ping(b"p")]
    take(protocol, wire.text("untold"))
    assert len(told) == 2


def test_of_a_frame_that_is_refused_it_is_told_as_well():
    told = []
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.frame(3, b"b"), lambda *facts: told.append(facts))
    while protocol.input_pending:
        protocol.next_events()
    assert protocol.breach is not None
    assert len(told) == 2


def test_messages_that_are_plain_are_taken_at_once_and_what_is_behind_them_is_left():
    protocol = Protocol()
    assert protocol.receive_plain(wire.text("a") + wire.binary(b"bc") + wire.ping(b"p")) == (
        ["a", b"bc"],
        3,
    )
    assert protocol.receive_plain(wire.text("d")) == ([], 0)
    assert flat(protocol.next_events()) == [Ping(b"p"), "d"]


# Breaches (RFC 6455 §5 and §7.4)


@pytest.mark.parametrize(("data", "code"), BREACHES.values(), ids=BREACHES)
def test_a_breach_fails_the_connection_with_its_code(data: bytes, code: int):
    protocol = Protocol()
    events = read(protocol, wire.text("before") + data, wire.text("behind"), wire.ping())
    assert events[0] == "before"
    assert "behind" not in events
    assert Ping(b"") not in events
    assert (protocol.state, protocol.ending) == (State.CLOSING, Ending.FAILURE)
    assert protocol.failure is not None
    assert protocol.close_received is None
    (close,) = sent(protocol)
    assert close.code == code
    assert protocol.close_sent == CloseFrame(code, close.payload[2:].decode())
    assert protocol.close_sent.reason


@pytest.mark.parametrize(("data", "code"), BREACHES.values(), ids=BREACHES)
def test_a_breach_says_in_one_printable_line_what_it_was(data: bytes, code: int):
    protocol = Protocol()
    read(protocol, data)
    assert protocol.failure is not None
    assert str(protocol.failure).isprintable()
    assert 5 < len(str(protocol.failure)) < 200


@pytest.mark.parametrize(
    "data", [wire.continuation(), bad_text(b"\xff"), wire.binary(b"ab"), wire.close(1001)]
)
def test_a_close_that_was_not_asked_for_is_the_same_plain_data(data: bytes):
    protocol = Protocol(max_message_size=1)
    read(protocol, data)
    assert protocol.close_sent is not None
    assert type(protocol.close_sent.code) is int
    assert type(protocol.close_sent.reason) is str


def test_a_breach_takes_effect_when_the_caller_says_so():
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.continuation(b"b"))
    assert flat(protocol.next_events()) == ["a"]
    assert protocol.breach is not None
    assert protocol.state is State.OPEN
    assert not protocol.input_pending
    protocol.fail_by_breach()
    assert protocol.breach is None
    assert protocol.ending is Ending.FAILURE


def test_a_breach_that_takes_effect_behind_our_close_changes_nothing():
    protocol = Protocol()
    protocol.receive_data(wire.continuation(b"b"))
    protocol.next_events()
    protocol.close(1000)
    protocol.fail_by_breach()
    assert (protocol.ending, protocol.failure) == (Ending.LOCAL, None)
    assert [close.code for close in sent(protocol)] == [1000]


@pytest.mark.parametrize(
    "frames",
    [[wire.text("a" * 8)], [wire.text("a" * 4, fin=False), wire.continuation(b"a" * 4)]],
    ids=["frame", "fragments"],
)
def test_a_continuation_after_a_message_is_a_breach_however_long_the_message_was(
    frames: list[bytes],
):
    protocol = Protocol(max_message_size=10)
    read(protocol, *frames, wire.continuation(b"b" * 5))
    assert [close.code for close in sent(protocol)] == [1002]


# UTF-8 (RFC 6455 §8.1)


@pytest.mark.parametrize(("right", "wrong"), WRONG_AT_ONCE.values(), ids=WRONG_AT_ONCE)
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_text_fails_at_its_first_wrong_byte_not_at_the_end_of_its_frame(
    right: bytes, wrong: bytes, fin: bool, apart: bool
):
    protocol = Protocol()
    head = wire.frame(wire.TEXT, length=100_000, fin=fin)
    if apart:
        assert read(protocol, head + right) == []
        assert protocol.state is State.OPEN
        assert read(protocol, wrong) == []
    else:
        assert read(protocol, head + right + wrong) == []
    assert [close.code for close in sent(protocol)] == [1007]


@pytest.mark.parametrize(("right", "wrong"), WRONG_AT_ONCE.values(), ids=WRONG_AT_ONCE)
def test_text_in_fragments_fails_at_its_first_wrong_byte(right: bytes, wrong: bytes):
    protocol = Protocol()
    frames = [wire.text("a", fin=False), wire.continuation(right, fin=False), wire.ping()]
    read(protocol, *frames)
    assert protocol.state is State.OPEN
    read(protocol, wire.frame(wire.CONTINUATION, length=1000) + wrong)
    assert [close.code for close in sent(protocol)] == [1007]


# decode_text


@pytest.mark.parametrize(
    "data",
    [bad_text(b"\xff"), wire.text("", fin=False) + wire.continuation(b"\xff", fin=False)],
    ids=["a message", "a fragment"],
)
def test_the_decoders_own_words_are_the_cause(data: bytes):
    protocol = Protocol()
    read(protocol, data)
    assert protocol.failure is not None
    assert isinstance(protocol.failure.__cause__, UnicodeDecodeError)


def test_text_that_is_not_to_be_decoded_comes_as_bytes_unchecked():
    protocol = Protocol(decode_text=False)
    data = bad_text(b"\xff") + wire.text("ä") + wire.binary(b"b")
    assert read(protocol, data) == [text(b"\xff", fin=True), text(b"\xc3\xa4", fin=True), b"b"]


def test_fragments_that_are_not_to_be_decoded_are_not_checked_either():
    protocol = Protocol(decode_text=False)
    data = wire.frame(wire.TEXT, b"\xff", fin=False) + wire.continuation(b"\xc3")
    assert read(protocol, data) == [text(b"\xff", fin=False), continuation(b"\xc3", fin=True)]
    assert protocol.state is State.OPEN


def test_the_reason_of_a_close_is_checked_though_text_is_not():
    protocol = Protocol(decode_text=False)
    read(protocol, wire.close(1000, b"\xff"))
    assert [close.code for close in sent(protocol)] == [1007]


# What is not whole yet


def test_what_has_come_of_a_data_frame_is_counted_until_it_is_whole():
    protocol = Protocol()
    sizes = []
    for piece in (wire.text("abcdef")[:5], b"d", wire.text("abcdef")[-2:], wire.ping(b"p" * 9)[:8]):
        read(protocol, piece)
        sizes.append(protocol.partial_size)
    assert sizes == [3, 4, 0, 0]


def test_fragments_are_no_part_of_what_is_not_whole():
    protocol = Protocol()
    read(protocol, wire.binary(b"abc", fin=False) + wire.continuation(b"defg")[:4])
    assert protocol.partial_size == 2


# Output (RFC 6455 §5.2, §5.3)


def parsed(data: bytes) -> wire.ClientFrame:
    reader = wire.ClientFrameReader()
    (frame,) = reader.feed(data)
    assert not reader.pending
    return frame


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_leaves_with_its_opcode_and_the_shortest_length(opcode: Opcode, size: int):
    payload = bytes(index % 251 for index in range(size))
    data = Protocol().send_data(opcode, payload)
    assert type(data) is bytes
    assert parsed(data) == wire.ClientFrame(opcode, payload)
    header_size = 2 if size < 126 else 4 if size < 65536 else 10
    assert len(data) == header_size + 4 + size


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("extensions", [[], [Named("x-foreign")]], ids=["none", "foreign"])
def test_a_long_message_leaves_as_one_frame_too(opcode: Opcode, extensions: list[Named]):
    payload = bytes(index % 251 for index in range(200_001))
    pieces = list(Protocol(extensions=extensions).send_long(opcode, payload))
    assert len(pieces) == (1 if extensions else 4)
    assert parsed(b"".join(pieces)) == wire.ClientFrame(opcode, payload)


def test_a_long_message_is_not_begun_behind_a_close():
    protocol = Protocol()
    protocol.close(1000)
    with pytest.raises(LocalProtocolError):
        protocol.send_long(Opcode.BINARY, bytes(200_001))


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_fragments_leave_as_such_and_control_frames_between_them(opcode: Opcode):
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


def test_each_frame_has_a_mask_of_its_own():
    protocol = Protocol()
    frames = [protocol.send_data(Opcode.TEXT, b"a") for _ in range(50)]
    frames += [protocol.send_ping(b"a") for _ in range(50)]
    masks = {frame[2:6] for frame in frames}
    assert len(masks) == 100
    # Of 100 random masks each of the 32 bits is in some and not in others, but once in 2^95 tries.
    for bit in range(32):
        assert {int.from_bytes(mask, "big") >> bit & 1 for mask in masks} == {0, 1}


def test_a_pong_carries_the_payload_of_its_ping():  # S29
    protocol = Protocol()
    (ping,) = read(protocol, wire.ping(b"p" * 125))
    assert parsed(protocol.send_pong(ping.payload)) == wire.ClientFrame(wire.PONG, b"p" * 125)


@pytest.mark.parametrize("ending", list(Ending))
def test_nothing_can_be_serialised_behind_a_close(ending: Ending):
    protocol = Protocol()
    if ending is Ending.LOCAL:
        protocol.close(1000)
    elif ending is Ending.REMOTE:
        read(protocol, wire.close(1000))
    else:
        read(protocol, wire.continuation())
    with pytest.raises(LocalProtocolError):
        protocol.send_data(Opcode.TEXT, b"a")
    with pytest.raises(LocalProtocolError):
        protocol.send_ping(b"")
    with pytest.raises(LocalProtocolError):
        protocol.send_pong(b"")
