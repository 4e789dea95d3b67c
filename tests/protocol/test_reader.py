"""The reader: what it waits for, what it takes at once, what it keeps, and what a listener gets."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
import wire
from extensions import NO_BITS, Unoffered
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import flat, make_protocol, read, sent, text
from wsproto.frame_protocol import RsvBits

from trio_wsclient import CloseFrame, Opcode, PerMessageDeflate
from trio_wsclient._protocol.closing import ClosedBy
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Ping, Pong
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.listener import FrameListener
from trio_wsclient._protocol.protocol import Protocol

RSV1 = 4
MIB = 1024 * 1024


def deflating(**options: object) -> Protocol:
    limit = options.get("max_message_size")
    extension = Deflate(PerMessageDeflate(min_size=10), Limits(limit))
    extension.finalize("permessage-deflate")
    return make_protocol(extensions=[extension], **options)


def deflated(data: bytes) -> bytes:
    """Return a compressed payload that depends on no other one."""
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return payload.removesuffix(b"\0\0\xff\xff") or b"\0"


def header_size(frame: bytes) -> int:
    return {126: 4, 127: 10}.get(frame[1], 2)


# What the reader waits for


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_header_is_read_once_it_is_complete(size: int):
    frame = wire.binary(b"x" * size)
    protocol = make_protocol(max_frame_size=max(size - 1, 0))
    for position in range(header_size(frame) - 1):
        assert read(protocol, frame[position : position + 1]) == []
        assert not protocol.has_input
    read(protocol, frame[header_size(frame) - 1 : header_size(frame)])
    assert (protocol.closing.cause is None) == (size == 0)


@pytest.mark.parametrize("opcode", [wire.PING, wire.PONG])
def test_control_frame_is_read_once_it_is_complete(opcode: int):
    protocol = Protocol()
    frame = wire.frame(opcode, b"abcd")
    for byte in wire.cut(frame, range(len(frame)))[:-1]:
        assert read(protocol, byte) == []
        assert not protocol.has_input
    assert read(protocol, b"d" + frame) == [Ping(b"abcd") if opcode == 9 else Pong(b"abcd")] * 2


def test_data_is_taken_as_it_arrives():
    protocol = Protocol()
    data = wire.binary(b"x" * 200_000)
    for start in range(0, len(data) - 1, 50_000):
        assert read(protocol, data[start : start + 50_000][: len(data) - 1 - start]) == []
    assert protocol.partial_size == 199_999
    assert read(protocol, b"x") == [b"x" * 200_000]
    assert protocol.partial_size == 0


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 100_000, 262_145])
@pytest.mark.parametrize("first", [0, 1, 20, 16_384, 16_385, 32_768, 65_534])
def test_long_message_is_complete_when_cut_in_two(size: int, first: int):
    payload = b"x" * size
    data = wire.binary(payload)
    first += len(data) - size
    assert read(Protocol(), data[:first], data[first:]) == [payload]


def test_text_fails_as_soon_as_it_is_not_utf8():
    protocol = Protocol()
    assert read(protocol, wire.text("x" * 1000)[:50] + b"\xff") == []
    assert [close.code for close in sent(protocol)] == [1007]


# What it takes at once


@pytest.mark.parametrize("decode_text", [True, False])
def test_plain_messages_come_in_a_batch(decode_text: bool):
    protocol = Protocol(decode_text=decode_text)
    protocol.receive_data((wire.text("a") + wire.binary(b"b")) * 100)
    ((messages, size),) = protocol.next_events()
    assert (len(messages), size) == (200, 200)
    assert not protocol.has_input


@pytest.mark.parametrize("decode_text", [True, False])
def test_compressed_messages_come_in_a_batch(decode_text: bool):
    protocol = deflating(decode_text=decode_text)
    frame = wire.frame(wire.TEXT, deflated("ää".encode()), rsv=RSV1)
    protocol.receive_data((frame + wire.binary(b"b")) * 20)
    ((messages, size),) = protocol.next_events()
    assert (len(messages), size) == (40, 20 * (8 + 1 if decode_text else 4 + 1))


def test_messages_before_and_after_another_frame_are_read():
    data = wire.text("a") + wire.binary(b"bc") + wire.ping(b"p") + wire.text("d")
    assert read(Protocol(), data) == ["a", b"bc", Ping(b"p"), "d"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (wire.frame(wire.TEXT, deflated(b"\xff"), rsv=RSV1), 1007),
        (wire.frame(wire.TEXT, b"\xff", rsv=RSV1), 1007),
        (wire.frame(wire.TEXT, deflated(bytes(200)), rsv=RSV1), 1009),
        (wire.frame(wire.TEXT, deflated(bytes(range(256)) * 8), rsv=RSV1), 1009),
    ],
)
def test_messages_before_a_compressed_one_that_fails_are_handed_over(wrong: bytes, code: int):
    protocol = deflating(max_message_size=100)
    protocol.receive_data(wire.text("a") + wrong + wire.text("b"))
    assert flat(protocol.next_events()) == ["a"]
    assert not protocol.has_input
    assert protocol.violation is not None
    assert protocol.violation.code == code


# What it keeps


@pytest.mark.parametrize(
    "data",
    [
        wire.binary(bytes(1000)) * 10_000,
        wire.binary(bytes(10 * MIB)),
        wire.binary(bytes(5 * MIB), fin=False) + wire.continuation(bytes(5 * MIB)),
        wire.binary(bytes(10 * MIB)) + wire.ping(b"p"),
        wire.binary(bytes(1000)) * 260 + wire.text("next")[:1],
    ],
    ids=["many", "long", "fragments", "ping", "half a header"],
)
def test_burst_leaves_nothing_in_the_reader(data: bytes):  # E46
    protocol = Protocol()
    tracemalloc.start()
    try:
        read(protocol, *(data[start : start + 65_536] for start in range(0, len(data), 65_536)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000


def test_listener_of_payloads_leaves_nothing_in_the_reader():  # E46
    class Sizes(FrameListener):
        wants_payloads = True

        def wants_frames(self) -> bool:
            return True

        def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
            seen.append(len(payload))

    seen: list[int] = []
    data = wire.binary(bytes(10 * MIB))
    protocol = Protocol(listener=Sizes())
    tracemalloc.start()
    try:
        read(protocol, *(data[start : start + 65_536] for start in range(0, len(data), 65_536)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == [10 * MIB]
    assert kept < 10_000


def test_declared_length_allocates_nothing():
    protocol = Protocol()
    tracemalloc.start()
    try:
        read(protocol, wire.frame(wire.BINARY, b"abc", length=2**63 - 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert protocol.partial_size == 3


def test_data_after_our_close_is_dropped_not_kept():
    protocol = Protocol()
    read(protocol, wire.binary(bytes(1000))[:500])
    protocol.close(1000)
    read(protocol, bytes(100))
    assert protocol.partial_size == 0
    assert read(protocol, bytes(404) + wire.close(1000)) == []
    assert protocol.closing.received == CloseFrame(1000)
    assert protocol.closing.closed_by is ClosedBy.CLIENT


# What a violation says


@pytest.mark.parametrize(
    ("data", "quoted"),
    [
        (wire.frame(3, b"a"), "opcode 3"),
        (wire.frame(11), "opcode 11"),
        (wire.frame(wire.PING, fin=False), "PING"),
        (wire.frame(wire.PONG, b"a", rsv=4), "PONG frame with RSV1,"),
        (wire.frame(wire.TEXT, b"a", rsv=3), "TEXT frame with RSV2 and RSV3,"),
        (wire.ping(b"a" * 126), "PING frame of 126 bytes"),
        (wire.close(1000, b"a" * 70_000), "CLOSE frame of 70002 bytes"),
        (wire.frame(wire.BINARY, b"a" * 100, length_size=2), "length of 100 in 2 bytes"),
        (wire.frame(wire.BINARY, b"a" * 70, length_size=8), "length of 70 in 8 bytes"),
        (wire.frame(wire.BINARY, length=2**63 + 5), f"length of {2**63 + 5}"),
        (wire.frame(wire.TEXT, b"a", masked=True), "masked TEXT"),
        (wire.continuation(), "CONTINUATION"),
        (wire.text("a", fin=False) + wire.text("b"), "TEXT frame inside of a message"),
        (wire.text("a", fin=False) + wire.binary(b"b"), "BINARY frame inside of a message"),
        (wire.binary(b"a", fin=False) + wire.text("b"), "TEXT frame inside of a message"),
        (wire.close(1005), "code 1005"),
        (wire.close(5000), "code 5000"),
        (wire.frame(wire.CLOSE, b"a"), "1 byte"),
        (wire.close(1000, b"\xff"), "code 1000"),
        (wire.frame(wire.TEXT, b"abc\xff"), "byte 0xff at position 3"),
    ],
)
@pytest.mark.parametrize("make", [Protocol, deflating])
def test_violation_quotes_the_value(data: bytes, quoted: str, make):

    protocol = make()
    read(protocol, data)
    assert quoted in str(protocol.closing.cause)
    assert protocol.closing.sent is not None
    assert quoted in protocol.closing.sent.reason


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3a", b"\xed\xa0\x80", b"\xe2\x98"])
@settings(deadline=None, max_examples=50)
@given(st.text(max_size=9), st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_violation_of_utf8_says_the_same_when_cut(
    wrong: bytes, before: str, cuts: list[int], in_fragments: bool
):
    payload = before.encode() + wrong
    parts = wire.cut(payload, sorted(cuts)) if in_fragments else [payload]
    data = b"".join(
        wire.frame(wire.CONTINUATION if index else wire.TEXT, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    )
    protocol = Protocol()
    read(protocol, *wire.cut(data, sorted(cuts)))
    expected = f"byte 0x{wrong[0]:02x} at position {len(before.encode())}"
    assert str(protocol.closing.cause) == f"a TEXT message that is not UTF-8: {expected}"


# What a listener gets


class Listener:
    """Notes the frames that it is told of."""

    def __init__(self, *, wants_payloads: bool = False) -> None:
        self.is_on = True
        self.wants_payloads = wants_payloads
        self.received: list[tuple[int, int, bytes]] = []
        self.sent: list[tuple[int, int, bytes]] = []

    def wants_frames(self) -> bool:
        return self.is_on

    def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
        self.received.append((first_byte, size, payload))

    def frame_sent(self, first_byte: int, size: int, payload: bytes) -> None:
        self.sent.append((first_byte, size, payload))


SHORT = wire.text("He", fin=False) + wire.ping(b"p" * 30) + wire.continuation(b"l" * 130)
SHORT += wire.binary(b"") + wire.pong() + wire.text("whole") + wire.close(1000, b"bye")
PAYLOADS = [
    (0x01, b"He"),
    (0x89, b"p" * 30),
    (0x80, b"l" * 130),
    (0x82, b""),
    (0x8A, b""),
    (0x81, b"whole"),
    (0x88, b"\x03\xe8bye"),
]


@pytest.mark.parametrize("wants_payloads", [False, True])
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_listener_gets_each_frame_however_it_is_cut(step: int, wants_payloads: bool):
    listener = Listener(wants_payloads=wants_payloads)
    read(Protocol(listener=listener), *wire.cut(SHORT, range(0, len(SHORT), step)))
    assert listener.received == [
        (first_byte, len(payload), payload if wants_payloads else payload[:24])
        for first_byte, payload in PAYLOADS
    ]
    assert [first_byte for first_byte, _, _ in listener.sent] == [0x88]


def test_listener_gets_a_frame_once_its_beginning_has_come():
    listener = Listener()
    protocol = Protocol(listener=listener)
    read(protocol, wire.frame(wire.BINARY, b"x" * 23, length=1000))
    assert listener.received == []
    read(protocol, b"y")
    assert listener.received == [(0x82, 1000, b"x" * 23 + b"y")]
    read(protocol, b"z" * 976)
    assert len(listener.received) == 1


def test_listener_that_wants_payloads_gets_a_frame_once_it_is_complete():
    listener = Listener(wants_payloads=True)
    protocol = Protocol(listener=listener)
    read(protocol, wire.binary(b"x" * 1000)[:-1])
    assert listener.received == []
    read(protocol, b"x")
    assert listener.received == [(0x82, 1000, b"x" * 1000)]


def test_listener_gets_payloads_as_on_the_wire():
    listener = Listener(wants_payloads=True)
    protocol = deflating(listener=listener)
    payload = deflated(b"a" * 100)
    assert read(protocol, wire.frame(wire.BINARY, payload, rsv=RSV1)) == [b"a" * 100]
    assert listener.received == [(0xC2, len(payload), payload)]
    protocol.send_data(Opcode.BINARY, b"a" * 100)
    ((first_byte, size, on_the_wire),) = listener.sent
    assert (first_byte, size) == (0xC2, len(on_the_wire))
    assert zlib.decompressobj(-15).decompress(on_the_wire) == b"a" * 100


def test_listener_gets_at_most_the_message_limit_of_a_payload():
    """Else a frame of empty deflate blocks without end would be kept for the listener."""
    listener = Listener(wants_payloads=True)
    protocol = deflating(listener=listener, max_message_size=1000)
    read(protocol, wire.frame(wire.BINARY, b"\0\0\0\xff\xff" * 1000, rsv=RSV1))
    ((_, size, payload),) = listener.received
    assert (size, len(payload)) == (5000, 1000)


@pytest.mark.parametrize("limit", [1, 125, 126])
def test_listener_gets_control_frames_completely(limit: int):
    listener = Listener(wants_payloads=True)
    protocol = make_protocol(listener=listener, max_message_size=limit)
    read(protocol, wire.ping(b"p" * 125) + wire.binary(b"b") + wire.pong(b"q" * 125))
    assert [len(payload) for _, _, payload in listener.received] == [125, 1, 125]


@pytest.mark.parametrize("come", [0, 1, 23, 24, 30])
def test_listener_gets_what_has_come_of_a_refused_frame(come: int):
    listener = Listener()
    frame = wire.frame(wire.BINARY, b"x" * 30, rsv=7) + wire.text("after")
    read(Protocol(listener=listener), frame[: 2 + come])
    assert listener.received == [(0xF2, 30, b"x" * min(come, 24))]


def test_listener_gets_nothing_after_a_refused_frame():
    listener = Listener()
    read(Protocol(listener=listener), wire.frame(wire.BINARY, b"ab", rsv=7) + wire.text("after"))
    assert listener.received == [(0xF2, 2, b"ab")]


def test_frame_that_is_refused_in_its_payload_is_told_once():
    for size in (10, 30):
        listener = Listener()
        data = wire.frame(wire.TEXT, b"x" * size + b"\xff", length=1000)
        read(Protocol(listener=listener), data[: size + 4], data[size + 4 :])
        assert listener.received == [(0x81, 1000, data[4:][:24])]


def test_listener_that_stops_and_starts_gets_the_frames_that_begin_then():
    listener = Listener()
    listener.is_on = False
    protocol = Protocol(listener=listener)
    read(protocol, wire.text("untold") + wire.binary(b"abc")[:3])
    listener.is_on = True
    assert read(protocol, b"bc" + wire.text("told")) == [b"abc", "told"]
    assert listener.received == [(0x81, 4, b"told")]
    listener.is_on = False
    protocol.send_ping(b"untold")
    assert read(protocol, wire.text("untold")) == ["untold"]
    assert (len(listener.received), listener.sent) == (1, [])


def test_listener_gets_what_is_sent_unmasked():
    listener = Listener()
    protocol = Protocol(listener=listener)
    protocol.send_data(Opcode.TEXT, b"x" * 100, fin=False)
    protocol.send_data(Opcode.CONTINUATION, b"")
    protocol.send_ping(b"ping")
    protocol.close(1000, "bye")
    assert listener.sent == [
        (0x01, 100, b"x" * 24),
        (0x80, 0, b""),
        (0x89, 4, b"ping"),
        (0x88, 5, b"\x03\xe8bye"),
    ]


@pytest.mark.parametrize("wants_payloads", [False, True])
@pytest.mark.parametrize("extensions", [[], [Unoffered()]], ids=["plain", "extension"])
def test_listener_gets_frames_however_they_are_made(
    extensions: list[Unoffered], wants_payloads: bool
):
    listener = Listener(wants_payloads=wants_payloads)
    protocol = Protocol(extensions=extensions, listener=listener)
    payload = bytes(range(100))
    protocol.send_data(Opcode.BINARY, payload)
    protocol.send_batch([(Opcode.TEXT, b"a", False), (Opcode.CONTINUATION, payload, True)])
    with pytest.raises(StopIteration) as done:
        next(protocol.prepare_data(Opcode.BINARY, payload, fin=True))
    assert listener.sent[3:] == []  # The frame is not made yet.
    done.value.value()
    protocol.send_ping(b"ping")
    protocol.send_pong(b"pong")
    protocol.close(1000)
    shown = payload if wants_payloads else payload[:24]
    assert listener.sent == [
        (0x82, 100, shown),
        (0x01, 1, b"a"),
        (0x80, 100, shown),
        (0x82, 100, shown),
        (0x89, 4, b"ping"),
        (0x8A, 4, b"pong"),
        (0x88, 2, b"\x03\xe8"),
    ]


def test_text_that_is_not_decoded_is_handed_over_as_frames():
    assert read(Protocol(decode_text=False), wire.text("a")) == [text(b"a", fin=True)]


# The buffer of the input is used again


class Overwrites(Unoffered, FrameListener):
    """User's code that reads another connection, which overwrites the buffer."""

    wants_payloads = False

    def __init__(self, buffer: bytearray) -> None:
        super().__init__()
        self.buffer = buffer

    def overwrite(self) -> None:
        self.buffer[:] = b"\xee" * len(self.buffer)

    def wants_frames(self) -> bool:
        return True

    def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
        self.overwrite()

    def frame_inbound_header(self, *args: object) -> RsvBits:
        self.overwrite()
        return NO_BITS


@pytest.mark.parametrize("role", ["extension", "listener"])
def test_users_code_may_overwrite_the_input(role: str):
    buffer = bytearray(wire.text("a") + wire.binary(b"b") + wire.ping(b"c"))
    users = Overwrites(buffer)
    options = {"extensions": [users]} if role == "extension" else {"listener": users}
    protocol = Protocol(**options)
    protocol.receive_data(memoryview(buffer))
    assert flat(protocol.next_events()) == ["a", b"b", Ping(b"c")]


# A message that comes alone


class Listening(FrameListener):
    def wants_frames(self) -> bool:
        return True


@pytest.mark.parametrize("decode_text", [True, False])
def test_whole_input_as_one_message_is_read_at_once(decode_text: bool):
    protocol = Protocol(decode_text=decode_text)
    assert protocol.read_single(wire.text("ä")) == ("ä" if decode_text else "ä".encode())
    assert protocol.read_single(memoryview(wire.binary(b"b"))) == b"b"
    assert not protocol.has_input


def test_single_message_of_a_compressed_connection_may_be_plain():
    protocol = deflating()
    assert protocol.read_single(wire.text("a")) == "a"
    assert protocol.read_single(wire.frame(wire.TEXT, deflated(b"a"), rsv=RSV1)) is None


@pytest.mark.parametrize(
    "before", [wire.text("abc")[:1], wire.text("abc")[:4], wire.text("a", fin=False)]
)
def test_single_message_is_not_read_in_the_middle_of_another(before: bytes):
    protocol = Protocol()
    read(protocol, before)
    assert protocol.read_single(wire.text("x")) is None


def test_single_message_is_not_read_while_other_input_is_left():
    protocol = Protocol()
    protocol.receive_data(wire.binary(b"a"))
    assert protocol.read_single(wire.text("x")) is None
    assert read(protocol, b"") == [b"a"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Protocol(extensions=[Unoffered()]),
        lambda: Protocol(listener=Listening()),
    ],
)
def test_single_message_is_not_read_past_extensions_and_listeners(make):
    assert make().read_single(wire.text("x")) is None


@pytest.mark.parametrize("end", ["close", "drop_data", "fail"])
def test_single_message_is_not_read_after_the_end(end: str):
    protocol = Protocol()
    if end == "close":
        read(protocol, wire.close(1000))
    elif end == "drop_data":
        protocol.drop_data()
    else:
        protocol.fail(EOFError())
    assert protocol.read_single(wire.text("x")) is None


def test_single_message_over_the_limit_is_not_read():
    assert make_protocol(max_message_size=3).read_single(wire.text("abcd")) is None


def test_violation_is_left_to_the_caller_after_it_was_read():
    protocol = Protocol()
    protocol.receive_data(wire.text("a") + wire.continuation(b"b"))
    assert flat(protocol.next_events()) == ["a"]
    assert protocol.violation is not None
    assert not protocol.is_starved
    assert protocol.next_events() == []
    protocol.fail_by_violation()
    assert protocol.is_starved
