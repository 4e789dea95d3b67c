"""How the protocol ends: the server's Close, our own, failures (RFC 6455 §5.5.1, §7)."""

from __future__ import annotations

import pytest
import wire
from protocol_tables import bad_text, make_protocol, read, sent

from trio_wsclient import CloseFrame
from trio_wsclient._protocol.closing import ClosedBy, State
from trio_wsclient._protocol.protocol import Protocol

# The server's Close (RFC 6455 §5.5.1, §7.4)


@pytest.mark.parametrize(
    "code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999], ids=str
)
@pytest.mark.parametrize("reason", ["", "bye ☃", "r" * 123])
def test_servers_close_is_echoed_with_its_code(code: int, reason: str):
    protocol = Protocol()
    assert read(protocol, wire.text("a") + wire.close(code, reason.encode())) == ["a"]
    assert (protocol.closing.state, protocol.closing.closed_by) == (State.CLOSING, ClosedBy.SERVER)
    assert protocol.closing.received == CloseFrame(code, reason)
    assert protocol.closing.sent == CloseFrame(code)
    assert protocol.closing.cause is None
    (close,) = sent(protocol)
    assert close == wire.ClientFrame(wire.CLOSE, code.to_bytes(2, "big"))


def test_close_without_a_code_is_echoed_without_one():
    protocol = Protocol()
    read(protocol, wire.close(None))
    assert protocol.closing.received == protocol.closing.sent == CloseFrame(1005, "")
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, b"")]


def test_close_without_a_code_ignores_earlier_payloads():
    protocol = Protocol()
    read(protocol, wire.ping(b"\x03\xe8") + wire.close(None))
    assert protocol.closing.received == CloseFrame(1005, "")


@pytest.mark.parametrize(
    ("payload", "code", "problem"),
    [
        (b"\x03", 1002, "a Close frame with a payload of 1 byte, which is half a code"),
        (b"\x03\xec", 1002, "a Close frame with code 1004, which must not be sent"),
        (b"\x03\xe8\xff", 1007, "a Close frame with code 1000 whose reason is not UTF-8"),
    ],
)
def test_wrong_close_is_refused_with_its_fault(payload: bytes, code: int, problem: str):
    protocol = Protocol()
    read(protocol, wire.frame(wire.CLOSE, payload))
    assert protocol.closing.sent == CloseFrame(code, problem)
    cause = protocol.closing.cause
    assert cause is not None
    assert isinstance(cause.__cause__, UnicodeDecodeError) == (code == 1007)


def test_nothing_is_read_after_the_servers_close():
    protocol = Protocol()
    data = wire.close(1000) + wire.text("a") + wire.ping() + wire.close(1001) + b"\xff" * 100
    assert read(protocol, data, wire.text("b")) == []
    assert protocol.closing.received == CloseFrame(1000)
    assert not protocol.has_input
    assert len(sent(protocol)) == 1


def test_later_input_after_the_servers_close_is_ignored():
    protocol = Protocol()
    assert read(protocol, wire.close(1000)) == []
    protocol.receive_data(wire.ping())
    assert not protocol.has_input


@pytest.mark.parametrize(
    ("before", "is_cut_off"),
    [
        (b"", False),
        (wire.text("a"), False),
        (wire.text("a", fin=False), True),
        (wire.text("", fin=False), True),
        (wire.binary(b"a", fin=False) + wire.continuation(b"b", fin=False) + wire.ping(), True),
        (wire.binary(b"a", fin=False) + wire.continuation(b"b"), False),
    ],
)
def test_close_within_a_message_is_recorded(before: bytes, is_cut_off: bool):
    protocol = Protocol()
    read(protocol, before + wire.close(1000))
    assert protocol.closing.closed_mid_message is is_cut_off


# Our own Close, failures, and the end


def test_connection_is_open_at_first():
    protocol = Protocol()
    assert protocol.closing.state is State.OPEN
    assert protocol.closing.closed_by is None
    assert protocol.take_close() == b""


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (1000, "", b"\x03\xe8"),
        (1011, "bye ☃", b"\x03\xf3bye \xe2\x98\x83"),
        (1014, "", b"\x03\xf6"),
        (4999, "r" * 123, b"\x13\x87" + b"r" * 123),
    ],
)
def test_our_close_is_taken_once(code: int, reason: str, payload: bytes):
    protocol = Protocol()
    protocol.close(code, reason)
    assert (protocol.closing.state, protocol.closing.closed_by) == (State.CLOSING, ClosedBy.CLIENT)
    assert protocol.closing.sent == CloseFrame(code, reason)
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, payload)]
    assert protocol.take_close() == b""


def test_only_our_first_close_counts():
    protocol = Protocol()
    protocol.close(1000)
    protocol.close(1001, "again")
    assert protocol.closing.sent == CloseFrame(1000)
    assert [close.code for close in sent(protocol)] == [1000]


def test_close_after_the_servers_has_no_effect():
    protocol = Protocol()
    read(protocol, wire.close(4000))
    protocol.close(1000)
    assert protocol.closing.closed_by is ClosedBy.SERVER
    assert [close.code for close in sent(protocol)] == [4000]


@pytest.mark.parametrize("before", [b"", wire.text("a", fin=False)])
def test_only_the_servers_close_is_read_after_ours(before: bytes):
    protocol = make_protocol(max_message_size=10)
    read(protocol, before)
    protocol.close(1000)
    sent(protocol)
    data = (wire.continuation(b"b") if before else b"") + wire.text("c") + wire.ping() + wire.pong()
    assert read(protocol, data, bad_text(b"\xff"), wire.binary(b"d" * 11)) == []
    assert protocol.closing.received is None
    assert read(protocol, wire.close(1001, b"bye")) == []
    assert protocol.closing.received == CloseFrame(1001, "bye")
    assert protocol.closing.closed_by is ClosedBy.CLIENT
    assert protocol.closing.sent == CloseFrame(1000)
    assert not protocol.closing.closed_mid_message
    assert protocol.take_close() == b""


def test_servers_close_is_read_after_a_dropped_frame():
    protocol = Protocol()
    head = wire.text("abcdef")
    read(protocol, head[:4])
    protocol.close(1000)
    assert read(protocol, head[4:] + wire.close(1000)) == []
    assert protocol.closing.received == CloseFrame(1000)


def test_violation_after_our_close_ends_only_the_reading():
    protocol = Protocol()
    protocol.close(1000)
    read(protocol, wire.frame(wire.TEXT, b"a", rsv=1), wire.close(1000))
    assert (protocol.closing.closed_by, protocol.closing.cause, protocol.violation) == (
        ClosedBy.CLIENT,
        None,
        None,
    )
    assert protocol.closing.received is None
    assert not protocol.has_input
    assert len(sent(protocol)) == 1


def test_failure_sends_its_cause_as_the_reason():
    protocol = Protocol()
    cause = RuntimeError("nothing received for 20 s")
    protocol.fail(cause, 1011)
    assert (protocol.closing.state, protocol.closing.closed_by) == (State.CLOSING, ClosedBy.ERROR)
    assert protocol.closing.cause is cause
    assert protocol.closing.sent == CloseFrame(1011, "nothing received for 20 s")
    assert [close.code for close in sent(protocol)] == [1011]
    assert read(protocol, wire.text("a")) == []


def test_long_failure_reason_is_cut_between_code_points():
    protocol = Protocol()
    protocol.fail(RuntimeError("ä" * 100), 1011)
    assert protocol.closing.sent == CloseFrame(1011, "ä" * 61)
    assert len(sent(protocol)[0].payload) == 2 + 122


def test_failure_without_a_code_sends_nothing():
    protocol = Protocol()
    protocol.fail(OSError("reset"))
    assert protocol.closing.closed_by is ClosedBy.ERROR
    assert protocol.closing.sent is None
    assert protocol.take_close() == b""


def test_only_the_first_failure_counts():
    protocol = Protocol()
    first = OSError("reset")
    protocol.fail(first)
    protocol.fail(RuntimeError("later"), 1011)
    assert protocol.closing.cause is first
    assert protocol.take_close() == b""


@pytest.mark.parametrize("closed_by", [ClosedBy.CLIENT, ClosedBy.SERVER])
def test_failure_after_a_close_ends_only_the_reading(closed_by: ClosedBy):
    protocol = Protocol()
    if closed_by is ClosedBy.CLIENT:
        protocol.close(1000)
    else:
        read(protocol, wire.close(1000))
    protocol.fail(OSError("reset"), 1011)
    assert (protocol.closing.closed_by, protocol.closing.cause) == (closed_by, None)
    assert [close.code for close in sent(protocol)] == [1000]
    assert read(protocol, wire.text("a")) == []


@pytest.mark.parametrize("closed_by", [None, *ClosedBy])
def test_closed_stream_keeps_closed_by(closed_by: ClosedBy | None):
    protocol = Protocol()
    if closed_by is ClosedBy.CLIENT:
        protocol.close(1000)
    elif closed_by is ClosedBy.SERVER:
        read(protocol, wire.close(1000))
    elif closed_by is ClosedBy.ERROR:
        protocol.fail(OSError("reset"))
    protocol.close_stream()
    assert (protocol.closing.state, protocol.closing.closed_by) == (State.CLOSED, closed_by)
    assert read(protocol, wire.text("a")) == []
    assert not protocol.has_input


def test_input_is_dropped_once_the_stream_is_closed():
    protocol = Protocol()
    protocol.receive_data(wire.text("a"))
    protocol.close_stream()
    assert protocol.next_events() == []
