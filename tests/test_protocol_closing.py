"""How the protocol ends: the server's Close, our own, failures (RFC 6455 §5.5.1, §7)."""

from __future__ import annotations

import pytest
import wire
from protocol_tables import bad_text, read, sent

from trio_wsclient import CloseFrame
from trio_wsclient._protocol import Ending, Protocol, State

# The server's Close (RFC 6455 §5.5.1, §7.4)


@pytest.mark.parametrize(
    "code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999], ids=str
)
@pytest.mark.parametrize("reason", ["", "bye ☃", "r" * 123])
def test_the_servers_close_is_echoed_with_its_code(code: int, reason: str):
    protocol = Protocol()
    assert read(protocol, wire.text("a") + wire.close(code, reason.encode())) == ["a"]
    assert (protocol.state, protocol.ending) == (State.CLOSING, Ending.REMOTE)
    assert protocol.close_received == CloseFrame(code, reason)
    assert protocol.close_sent == CloseFrame(code)
    assert protocol.failure is None
    (close,) = sent(protocol)
    assert close == wire.ClientFrame(wire.CLOSE, code.to_bytes(2, "big"))


def test_a_close_without_a_code_is_answered_without_one():
    protocol = Protocol()
    read(protocol, wire.close(None))
    assert protocol.close_received == protocol.close_sent == CloseFrame(1005, "")
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, b"")]


def test_a_close_without_a_code_has_none_after_frames_that_had_other_payloads():
    protocol = Protocol()
    read(protocol, wire.ping(b"\x03\xe8") + wire.close(None))
    assert protocol.close_received == CloseFrame(1005, "")


def test_nothing_is_read_behind_the_servers_close():
    protocol = Protocol()
    data = wire.close(1000) + wire.text("a") + wire.ping() + wire.close(1001) + b"\xff" * 100
    assert read(protocol, data, wire.text("b")) == []
    assert protocol.close_received == CloseFrame(1000)
    assert not protocol.input_pending
    assert len(sent(protocol)) == 1


def test_what_comes_later_behind_the_servers_close_is_not_looked_at_either():
    protocol = Protocol()
    assert read(protocol, wire.close(1000)) == []
    protocol.receive_data(wire.ping())
    assert not protocol.input_pending


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
def test_a_message_that_the_close_cuts_off_is_known(before: bytes, is_cut_off: bool):
    protocol = Protocol()
    read(protocol, before + wire.close(1000))
    assert protocol.cut_off is is_cut_off


# Our own Close, failures, and the end


def test_at_first_the_connection_is_open():
    protocol = Protocol()
    assert protocol.state is State.OPEN
    assert protocol.ending is None
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
def test_our_close_is_there_to_be_written_once(code: int, reason: str, payload: bytes):
    protocol = Protocol()
    protocol.close(code, reason)
    assert (protocol.state, protocol.ending) == (State.CLOSING, Ending.LOCAL)
    assert protocol.close_sent == CloseFrame(code, reason)
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, payload)]
    assert protocol.take_close() == b""


def test_only_the_first_close_of_ours_counts():
    protocol = Protocol()
    protocol.close(1000)
    protocol.close(1001, "again")
    assert protocol.close_sent == CloseFrame(1000)
    assert [close.code for close in sent(protocol)] == [1000]


def test_a_close_behind_the_servers_has_no_effect():
    protocol = Protocol()
    read(protocol, wire.close(4000))
    protocol.close(1000)
    assert protocol.ending is Ending.REMOTE
    assert [close.code for close in sent(protocol)] == [4000]


@pytest.mark.parametrize("before", [b"", wire.text("a", fin=False)])
def test_after_our_close_the_servers_is_awaited_and_all_else_dropped(before: bytes):
    protocol = Protocol(max_message_size=10)
    read(protocol, before)
    protocol.close(1000)
    sent(protocol)
    data = (wire.continuation(b"b") if before else b"") + wire.text("c") + wire.ping() + wire.pong()
    assert read(protocol, data, bad_text(b"\xff"), wire.binary(b"d" * 11)) == []
    assert protocol.close_received is None
    assert read(protocol, wire.close(1001, b"bye")) == []
    assert protocol.close_received == CloseFrame(1001, "bye")
    assert protocol.ending is Ending.LOCAL
    assert protocol.close_sent == CloseFrame(1000)
    assert not protocol.cut_off
    assert protocol.take_close() == b""


def test_after_our_close_the_servers_may_stand_inside_a_frame_that_is_dropped():
    protocol = Protocol()
    head = wire.text("abcdef")
    read(protocol, head[:4])
    protocol.close(1000)
    assert read(protocol, head[4:] + wire.close(1000)) == []
    assert protocol.close_received == CloseFrame(1000)


def test_after_our_close_a_breach_ends_the_reading_and_nothing_else():
    protocol = Protocol()
    protocol.close(1000)
    read(protocol, wire.frame(wire.TEXT, b"a", rsv=1), wire.close(1000))
    assert (protocol.ending, protocol.failure, protocol.breach) == (Ending.LOCAL, None, None)
    assert protocol.close_received is None
    assert not protocol.input_pending
    assert len(sent(protocol)) == 1


def test_a_failure_has_its_cause_and_sends_it_as_the_reason():
    protocol = Protocol()
    cause = RuntimeError("nothing received for 20 s")
    protocol.fail(cause, 1011)
    assert (protocol.state, protocol.ending) == (State.CLOSING, Ending.FAILURE)
    assert protocol.failure is cause
    assert protocol.close_sent == CloseFrame(1011, "nothing received for 20 s")
    assert [close.code for close in sent(protocol)] == [1011]
    assert read(protocol, wire.text("a")) == []


def test_a_reason_that_is_too_long_is_cut_between_code_points():
    protocol = Protocol()
    protocol.fail(RuntimeError("ä" * 100), 1011)
    assert protocol.close_sent == CloseFrame(1011, "ä" * 61)
    assert len(sent(protocol)[0].payload) == 2 + 122


def test_a_failure_without_a_code_sends_nothing():
    protocol = Protocol()
    protocol.fail(OSError("reset"))
    assert protocol.ending is Ending.FAILURE
    assert protocol.close_sent is None
    assert protocol.take_close() == b""


def test_only_the_first_failure_counts():
    protocol = Protocol()
    first = OSError("reset")
    protocol.fail(first)
    protocol.fail(RuntimeError("later"), 1011)
    assert protocol.failure is first
    assert protocol.take_close() == b""


@pytest.mark.parametrize("ending", [Ending.LOCAL, Ending.REMOTE])
def test_a_failure_behind_a_close_ends_the_reading_and_nothing_else(ending: Ending):
    protocol = Protocol()
    if ending is Ending.LOCAL:
        protocol.close(1000)
    else:
        read(protocol, wire.close(1000))
    protocol.fail(OSError("reset"), 1011)
    assert (protocol.ending, protocol.failure) == (ending, None)
    assert [close.code for close in sent(protocol)] == [1000]
    assert read(protocol, wire.text("a")) == []


@pytest.mark.parametrize("ending", [None, *Ending])
def test_once_the_stream_is_closed_the_state_is_closed_and_the_ending_stays(ending: Ending | None):
    protocol = Protocol()
    if ending is Ending.LOCAL:
        protocol.close(1000)
    elif ending is Ending.REMOTE:
        read(protocol, wire.close(1000))
    elif ending is Ending.FAILURE:
        protocol.fail(OSError("reset"))
    protocol.closed()
    assert (protocol.state, protocol.ending) == (State.CLOSED, ending)
    assert read(protocol, wire.text("a")) == []
    assert not protocol.input_pending


def test_what_is_queued_is_not_looked_at_once_the_stream_is_closed():
    protocol = Protocol()
    protocol.receive_data(wire.text("a"))
    protocol.closed()
    assert protocol.next_events() == []
