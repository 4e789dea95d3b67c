"""What extensions give back (RFC 6455 §9.1): refusals, wrong results, and too much."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import wire
from extensions import (
    NO_BITS,
    Backwards,
    Faulty,
    Suffix,
    Unoffered,
    Watching,
    failed,
    payload_of,
    protocol_with,
)
from protocol_tables import read
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason

from trio_wsclient import DataFrame, Opcode, PerMessageDeflate
from trio_wsclient._deflate import Deflate

# Results of other types


def test_bits_may_be_given_as_numbers():
    protocol = protocol_with(Faulty("header", None, (0, 5, 0)))
    assert read(protocol, wire.frame(wire.BINARY, b"a", rsv=2)) == [b"a"]
    protocol = protocol_with(Faulty("outbound", None, ((0, 5, 0), b"a")))
    assert protocol.send_data(Opcode.BINARY, b"x")[0] == 0x80 | 0x20 | wire.BINARY


def test_payloads_may_be_any_that_are_like_bytes():
    protocol = protocol_with(Faulty("payload", None, memoryview(b"ab")))
    assert read(protocol, wire.binary(b"x")) == [b"ab"]
    protocol = protocol_with(Faulty("complete", None, bytearray(b"ab")))
    assert read(protocol, wire.binary(b"x")) == [b"xab"]
    protocol = protocol_with(Faulty("outbound", None, (NO_BITS, bytearray(b"ab"))))
    assert payload_of(protocol.send_data(Opcode.BINARY, b"x")) == b"ab"


# Refusals and wrong results

IN = ["header", "payload", "complete"]


@pytest.mark.parametrize("hook", IN)
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        *((reason, int(reason)) for reason in CloseReason if reason not in {1005, 1006, 1015}),
        # RFC 6455 §7.4.1: these can't be sent.
        *((CloseReason(code), 1011) for code in (1005, 1006, 1015)),
    ],
)
def test_a_close_reason_out_of_a_hook_is_the_code_of_the_failure(
    hook: str, reason: CloseReason, code: int
):
    protocol = protocol_with(Faulty(hook, None, reason))
    assert read(protocol, wire.binary(b"a"), wire.binary(b"b")) == []
    assert protocol.close_sent is not None
    assert type(protocol.close_sent.code) is int
    assert failed(protocol) == (code, "the extension x-faulty refused a frame")


@pytest.mark.parametrize("opcode", [wire.TEXT, wire.PING, wire.CLOSE])
@pytest.mark.parametrize(
    ("hook", "wrong"),
    [
        ("header", None),
        ("header", 1002),
        ("header", (True, True)),
        ("header", "rsv1"),
        ("payload", None),
        ("payload", "text"),
        ("payload", 1002),
        ("payload", [1]),
        ("complete", "text"),
        ("complete", 0),
        ("complete", ""),
        ("complete", 1002),
    ],
)
def test_a_wrong_result_receiving_is_their_bug_and_fails_with_1011(
    hook: str, wrong: object, opcode: int
):
    protocol = protocol_with(Faulty(hook, None, wrong))
    assert read(protocol, wire.frame(opcode, b"\x03\xe8")) == []
    assert isinstance(protocol.failure, TypeError)
    assert failed(protocol)[0] == 1011


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        CloseReason.PROTOCOL_ERROR,
        b"ab",
        (NO_BITS, "text"),
        (NO_BITS, None),
        (None, b"a"),
        ((True, True), b"a"),
        (NO_BITS, b"a", b"b"),
    ],
)
def test_a_wrong_result_sending_is_their_bug_and_fails_with_1011(wrong: object):
    for make in (
        lambda protocol: protocol.send_data(Opcode.TEXT, b"a"),
        lambda protocol: protocol.send_ping(b"a"),
    ):
        protocol = protocol_with(Faulty("outbound", None, wrong))
        assert make(protocol) == b""
        assert isinstance(protocol.failure, TypeError | ValueError)
        assert failed(protocol)[0] == 1011


@pytest.mark.parametrize("size", [126, 65_536])
def test_a_control_frame_that_they_make_too_long_is_not_sent(size: int):
    protocol = protocol_with(Faulty("outbound", None, (NO_BITS, bytes(size))))
    assert protocol.send_ping(b"a") == b""
    assert failed(protocol) == (1011, f"{size} bytes of a control frame (RFC 6455 §5.5)")


def test_of_several_the_first_that_refuses_says_why():
    watching = Watching()
    refusing = Faulty("header", None, CloseReason.POLICY_VIOLATION)
    protocol = protocol_with(watching, refusing)
    read(protocol, wire.binary(b"a"))
    assert [call for call in watching.calls if call[0] != "outbound"] == []
    assert failed(protocol)[0] == 1008


# Limits


class Times(Unoffered):
    """Makes each byte received a number of bytes, and eats those that are zero."""

    def __init__(self, number: int) -> None:
        super().__init__("x-times")
        self._number = number

    def frame_inbound_payload_data(self, proto, data):
        return data.replace(b"\0", b"") * self._number


def test_max_message_size_is_judged_on_what_comes_out():
    protocol = protocol_with(Times(3), max_message_size=9)
    assert read(protocol, wire.binary(b"abc")) == [b"abcabcabc"]
    assert read(protocol, wire.binary(bytes(1000) + b"abc")) == [b"abcabcabc"]
    read(protocol, wire.binary(b"abcd"))
    problem = "a message of at least 12 bytes, over max_message_size (9)"
    assert failed(protocol) == (1009, problem)


def test_max_message_size_is_judged_on_what_comes_out_of_all_fragments():
    protocol = protocol_with(Times(3), max_message_size=9)
    for _ in range(2):
        events = read(protocol, wire.binary(b"ab", fin=False), wire.continuation(b"a"))
        assert len(events) == 2
    assert len(read(protocol, wire.binary(b"ab", fin=False))) == 1
    read(protocol, wire.continuation(b"ab", fin=False))
    assert failed(protocol)[0] == 1009


def test_a_message_that_grows_is_failed_before_its_frame_ends():
    protocol = protocol_with(Times(1000), max_message_size=100_000)
    read(protocol, wire.frame(wire.BINARY, b"x" * 101, length=10_000))
    assert failed(protocol)[0] == 1009


def test_max_frame_size_is_judged_on_the_wire_from_the_header_alone():
    protocol = protocol_with(Times(3), max_frame_size=4)
    assert read(protocol, wire.binary(b"abcd")) == [b"abcd" * 3]
    read(protocol, wire.frame(wire.BINARY, length=5))
    assert failed(protocol) == (1009, "a frame of 5 bytes, over max_frame_size (4)")


def test_behind_an_extension_messages_may_be_compressed_too():
    deflate = Deflate(PerMessageDeflate(min_size=0), max_message_size=1000)
    deflate.finalize("permessage-deflate")
    protocol = protocol_with(deflate, Backwards())
    plain = b"abc" * 100
    frame = protocol.send_data(Opcode.BINARY, plain)
    assert frame[0] == 0x82 | 0x40
    mask = frame[2:6]
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame[6:]))
    assert len(payload) < 30
    assert read(protocol, wire.frame(wire.BINARY, payload, rsv=4)) == [plain]


@pytest.mark.parametrize("extensions", [[Watching()], [Suffix(b"")]], ids=["x", "held back"])
def test_long_messages_pass_whole(extensions: Sequence[Extension]):
    protocol = protocol_with(*extensions)
    payload = bytes(range(256)) * 1000
    data = wire.binary(payload) + wire.binary(payload, fin=False) + wire.continuation(b"end")
    assert read(protocol, *wire.cut(data, range(0, len(data), 9999))) == [
        payload,
        DataFrame(Opcode.BINARY, payload, fin=False),
        DataFrame(Opcode.CONTINUATION, b"end", fin=True),
    ]


def test_what_they_make_is_handed_over_in_slices():
    protocol = protocol_with(Times(200))
    protocol.receive_data(wire.binary(b"x" * 20_000) * 3)
    sizes = []
    while protocol.input_pending:
        before = protocol.partial_size
        events = protocol.next_events()
        sizes.append(sum(map(len, events)) + protocol.partial_size - before)
    assert sum(sizes) == 3 * 4_000_000
    assert max(sizes) <= 1_048_576 + 200 * 4096
