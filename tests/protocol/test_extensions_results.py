"""Results of extensions (RFC 6455 §9.1): rejections, wrong results, and too much data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
import wire
from extensions import (
    NO_BITS,
    Backwards,
    Faulty,
    Reserved,
    Suffix,
    Unoffered,
    Watching,
    failed,
    payload_of,
    protocol_with,
)
from protocol_tables import flat, read, sent
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason

from trio_wsclient import CloseFrame, DataFrame, Opcode, PerMessageDeflate
from trio_wsclient._protocol.closing import ClosedBy
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol

# Results of other types


def test_hook_may_return_bits_as_numbers():
    protocol = protocol_with(Faulty("header", None, (0, 5, 0)))
    assert read(protocol, wire.frame(wire.BINARY, b"a", rsv=2)) == [b"a"]
    protocol = protocol_with(Faulty("outbound", None, ((0, 5, 0), b"a")))
    assert protocol.send_data(Opcode.BINARY, b"x")[0] == 0x80 | 0x20 | wire.BINARY


def test_hook_may_return_any_bytes_like_payload():
    protocol = protocol_with(Faulty("payload", None, memoryview(b"ab")))
    assert read(protocol, wire.binary(b"x")) == [b"ab"]
    protocol = protocol_with(Faulty("complete", None, bytearray(b"ab")))
    assert read(protocol, wire.binary(b"x")) == [b"xab"]
    protocol = protocol_with(Faulty("outbound", None, (NO_BITS, bytearray(b"ab"))))
    assert payload_of(protocol.send_data(Opcode.BINARY, b"x")) == b"ab"


# Rejections and wrong results

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
def test_close_reason_from_a_hook_is_the_code(hook: str, reason: CloseReason, code: int):
    protocol = protocol_with(Faulty(hook, None, reason))
    assert read(protocol, wire.binary(b"a"), wire.binary(b"b")) == []
    assert protocol.closing.sent is not None
    assert type(protocol.closing.sent.code) is int
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
def test_wrong_result_of_incoming_hook_fails_with_1011(hook: str, wrong: object, opcode: int):
    protocol = protocol_with(Faulty(hook, None, wrong))
    assert read(protocol, wire.frame(opcode, b"\x03\xe8")) == []
    assert isinstance(protocol.closing.cause, TypeError)
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
def test_wrong_result_of_outgoing_hook_fails_with_1011(wrong: object):
    for make in (
        lambda protocol: protocol.send_data(Opcode.TEXT, b"a"),
        lambda protocol: protocol.send_ping(b"a"),
    ):
        protocol = protocol_with(Faulty("outbound", None, wrong))
        assert make(protocol) == b""
        assert isinstance(protocol.closing.cause, TypeError | ValueError)
        assert failed(protocol)[0] == 1011


@pytest.mark.parametrize(
    "make",
    [
        lambda protocol: protocol.send_data(Opcode.TEXT, b"a"),
        lambda protocol: protocol.send_batch([(Opcode.TEXT, b"a", True)] * 2),
        lambda protocol: protocol.send_ping(b"a"),
        lambda protocol: b"".join(prepared(protocol, b"a")),
    ],
    ids=["data", "batch", "ping", "prepared"],
)
def test_nothing_is_made_after_an_extension_failed(make: Callable[[Protocol], bytes]):
    """The caller may be making several frames, and only looks for the failure after them."""
    protocol = protocol_with(Faulty("outbound", None, None))
    assert [make(protocol) for _ in range(3)] == [b""] * 3
    assert failed(protocol)[0] == 1011


def prepared(protocol: Protocol, payload: bytes) -> Iterable[bytes]:
    """Take all steps of preparing a message, and return the pieces of its frame."""
    steps = protocol.prepare_data(Opcode.BINARY, payload, fin=True)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value()


def test_close_that_an_extension_fails_says_why():
    error = RuntimeError("no key")
    protocol = protocol_with(Faulty("outbound", None, error))
    protocol.receive_data(wire.text("unread"))
    protocol.close(1000, "bye")
    assert protocol.closing.cause is error
    assert protocol.closing.sent == CloseFrame(1011, "no key")
    assert not protocol.has_input
    assert failed(protocol) == (1011, "no key")


def test_echo_that_an_extension_fails_bypasses_it():
    protocol = protocol_with(Faulty("outbound", None, RuntimeError("no key")))
    read(protocol, wire.close(4000, b"bye"))
    assert protocol.closing.closed_by is ClosedBy.SERVER
    assert protocol.closing.cause is None
    assert protocol.closing.sent == CloseFrame(4000)
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, b"\x0f\xa0")]


def test_failure_stays_when_an_extension_fails_its_close():
    protocol = protocol_with(Faulty("outbound", None, RuntimeError("no key")))
    protocol.fail(OSError("reset"), 1011)
    assert isinstance(protocol.closing.cause, OSError)
    assert failed(protocol) == (1011, "reset")


@pytest.mark.parametrize("bit", [0, 1, 2])
def test_close_has_the_bits_of_extensions(bit: int):
    protocol = protocol_with(Reserved(bit))
    protocol.close(1000)
    assert protocol.take_close()[0] == 0x80 | 0x40 >> bit | wire.CLOSE


@pytest.mark.parametrize("size", [0, 125])
def test_control_frame_may_be_made_125_bytes_long(size: int):
    protocol = protocol_with(Faulty("outbound", None, (NO_BITS, bytes(size))))
    assert payload_of(protocol.send_ping(b"a")) == bytes(size)


@pytest.mark.parametrize("size", [126, 65_536])
def test_control_frame_made_too_long_is_not_sent(size: int):
    protocol = protocol_with(Faulty("outbound", None, (NO_BITS, bytes(size))))
    assert protocol.send_ping(b"a") == b""
    assert failed(protocol) == (1011, f"{size} bytes of a control frame (RFC 6455 §5.5)")


def test_first_refusing_extension_sets_the_reason():
    watching = Watching()
    refusing = Faulty("header", None, CloseReason.POLICY_VIOLATION)
    protocol = protocol_with(watching, refusing)
    read(protocol, wire.binary(b"a"))
    assert [call for call in watching.calls if call[0] != "outbound"] == []
    assert failed(protocol)[0] == 1008


# Limits


class Times(Unoffered):
    """Repeats each byte received `number` times, and drops zero bytes."""

    def __init__(self, number: int) -> None:
        super().__init__("x-times")
        self._number = number

    def frame_inbound_payload_data(self, proto, data):
        return data.replace(b"\0", b"") * self._number


def test_max_message_size_limits_what_extensions_make():
    protocol = protocol_with(Times(3), max_message_size=9)
    assert read(protocol, wire.binary(b"abc")) == [b"abcabcabc"]
    assert read(protocol, wire.binary(bytes(1000) + b"abc")) == [b"abcabcabc"]
    read(protocol, wire.binary(b"abcd"))
    problem = "a message of at least 12 bytes, over max_message_size (9)"
    assert failed(protocol) == (1009, problem)


def test_max_message_size_limits_all_fragments_together():
    protocol = protocol_with(Times(3), max_message_size=9)
    for _ in range(2):
        events = read(protocol, wire.binary(b"ab", fin=False), wire.continuation(b"a"))
        assert len(events) == 2
    assert len(read(protocol, wire.binary(b"ab", fin=False))) == 1
    read(protocol, wire.continuation(b"ab", fin=False))
    assert failed(protocol)[0] == 1009


def test_growing_message_fails_before_its_frame_ends():
    protocol = protocol_with(Times(1000), max_message_size=100_000)
    read(protocol, wire.frame(wire.BINARY, b"x" * 101, length=10_000))
    assert failed(protocol)[0] == 1009


def test_max_frame_size_is_checked_by_the_header():
    protocol = protocol_with(Times(3), max_frame_size=4)
    assert read(protocol, wire.binary(b"abcd")) == [b"abcd" * 3]
    read(protocol, wire.frame(wire.BINARY, length=5))
    assert failed(protocol) == (1009, "a frame of 5 bytes, over max_frame_size (4)")


def test_messages_may_be_compressed_beside_an_extension():
    deflate = Deflate(PerMessageDeflate(min_size=0), Limits(1000))
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
def test_long_messages_pass_an_extension_completely(extensions: Sequence[Extension]):
    protocol = protocol_with(*extensions)
    payload = bytes(range(256)) * 1000
    data = wire.binary(payload) + wire.binary(payload, fin=False) + wire.continuation(b"end")
    assert read(protocol, *wire.cut(data, range(0, len(data), 9999))) == [
        payload,
        DataFrame(Opcode.BINARY, payload, fin=False),
        DataFrame(Opcode.CONTINUATION, b"end", fin=True),
    ]


def test_output_of_extensions_is_handed_over_in_slices():
    protocol = protocol_with(Times(200))
    protocol.receive_data(wire.binary(b"x" * 20_000) * 3)
    sizes = []
    while protocol.has_input:
        before = protocol.partial_size
        events = protocol.next_events()
        sizes.append(sum(map(len, flat(events))) + protocol.partial_size - before)
    assert sum(sizes) == 3 * 4_000_000
    assert max(sizes) <= 1_048_576 + 200 * 4096
