"""Frames out of bytes and back (RFC 6455 §5): Text as Binary, pieces, Close frames, failures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import wire
import wsproto.events
from wsproto.extensions import Extension
from wsproto.utilities import LocalProtocolError

from trio_wsclient import CloseFrame, Opcode, PerMessageDeflate
from trio_wsclient._deflate import Deflate
from trio_wsclient._framing import Framing, bare_close


class Silent(Extension):
    """An extension of somebody else's, that changes nothing."""

    name = "x-silent"

    def offer(self) -> bool:
        return True


class Broken(Silent):
    """An extension that can't make a frame."""

    error = RuntimeError("broken")

    def frame_outbound(self, *_: object) -> tuple[object, bytes]:
        raise self.error


def deflate() -> Deflate:
    extension = Deflate(PerMessageDeflate(min_size=0), max_message_size=None)
    extension.finalize("permessage-deflate")
    return extension


def framing(data: bytes = b"", *extensions: Extension) -> Framing:
    subject = Framing(extensions)
    subject.input.feed(data)
    return subject


def judged(subject: Framing) -> list[wsproto.events.Event]:
    """Return what wsproto says of the whole input."""
    events: list[wsproto.events.Event] = []
    while taken := subject.take():
        events += subject.judge(taken)
    return events


# Text travels as Binary


@pytest.mark.parametrize("extensions", [[], [Silent()], [deflate()]], ids=["none", "x", "deflate"])
@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (wire.text("ab"), b"\x82\x02"),
        (wire.text("ab", fin=False), b"\x02\x02"),
        (wire.binary(b"ab"), b"\x82\x02"),
        (wire.continuation(b"ab"), b"\x80\x02"),
        (wire.ping(b"ab"), b"\x89\x02"),
        (wire.frame(3, b"ab"), b"\x83\x02"),
        (wire.frame(wire.TEXT, b"ab", rsv=5), b"\xd2\x02"),
    ],
)
def test_wsproto_is_shown_text_as_binary_and_all_else_as_it_is(
    frame: bytes, shown: bytes, extensions: Sequence[Extension]
):
    subject = framing(frame, *extensions)
    assert subject.take() == shown
    assert subject.input.first_byte == frame[0]
    assert subject.take() == b"ab"


def test_text_that_is_not_utf8_is_nothing_to_wsproto():
    (event,) = judged(framing(wire.frame(wire.TEXT, b"\xff")))
    assert isinstance(event, wsproto.events.BytesMessage)
    assert event.data == b"\xff"


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("extensions", [[], [Silent()], [deflate()]], ids=["none", "x", "deflate"])
def test_data_leaves_with_its_opcode(opcode: Opcode, extensions: Sequence[Extension]):
    subject = framing(b"", *extensions)
    frames = [
        subject.send_data(opcode, b"a", fin=False),
        subject.send_data(Opcode.CONTINUATION, b"b", fin=True),
        subject.send_data(Opcode.BINARY, b"c", fin=True),
        subject.send_data(opcode, b"d", fin=True),
    ]
    assert [frame[0] & 0x8F for frame in frames if frame] == [opcode, 0x80, 0x82, 0x80 | opcode]


# Which messages pass unchanged, and in which pieces they are judged

LONG = b"x" * 10_000


def test_without_extensions_a_payload_is_judged_in_the_pieces_in_which_it_came():
    subject = framing(wire.binary(LONG))
    subject.take()
    assert subject.is_plain
    assert len(subject.take()) == 10_000


@pytest.mark.parametrize(
    ("rsv", "extensions"),
    [(4, [deflate()]), (0, [Silent()]), (0, [deflate(), Silent()])],
    ids=["compressed", "through x", "through both"],
)
def test_what_an_extension_may_change_is_judged_4096_bytes_at_a_time(
    rsv: int, extensions: Sequence[Extension]
):
    subject = framing(wire.frame(wire.BINARY, LONG, rsv=rsv), *extensions)
    subject.take()
    assert not subject.is_plain
    assert [len(subject.take()) for _ in range(3)] == [4096, 4096, 10_000 - 2 * 4096]


def test_whether_a_message_is_compressed_is_said_by_its_first_frame():
    compressed, plain = wire.frame(wire.TEXT, fin=False, rsv=4), wire.text("", fin=False)
    ping, rest = wire.ping(), wire.continuation(b"", fin=False)
    data = compressed + ping + rest + wire.continuation() + plain + ping + rest
    subject = framing(data, deflate())
    found = []
    while subject.take():
        found.append(subject.is_plain)
    assert found == [False] * 4 + [True] * 3


def test_a_reserved_bit_is_not_compression_where_that_is_not_in_use():
    subject = framing(wire.frame(wire.TEXT, b"a", rsv=4))
    subject.take()
    assert subject.is_plain


# Close frames


def close_of(subject: Framing) -> wsproto.events.CloseConnection:
    (event,) = judged(subject)
    assert isinstance(event, wsproto.events.CloseConnection)
    return event


@pytest.mark.parametrize("extensions", [[], [deflate()]], ids=["none", "deflate"])
@pytest.mark.parametrize("code", [1000, 1013, 1014, 4999])
def test_the_servers_close_has_its_code_and_reason(code: int, extensions: Sequence[Extension]):
    subject = framing(wire.close(code, b"bye"), *extensions)
    assert subject.received_close(close_of(subject)) == CloseFrame(code, "bye")


def test_a_close_without_a_code_has_1005():
    subject = framing(wire.close(None))
    assert subject.received_close(close_of(subject)) == CloseFrame(1005)


@pytest.mark.parametrize(
    ("data", "code"), [(wire.continuation(), 1002), (wire.close(1014, b"\xff"), 1007)]
)
def test_a_breach_is_no_close_and_says_what_it_is(data: bytes, code: int):
    subject = framing(data)
    event = close_of(subject)
    assert subject.received_close(event) is None
    cause, found = subject.breach(event)
    assert str(cause)
    assert (type(found), found) == (int, code)


@pytest.mark.parametrize(
    ("frame", "payload"),
    [
        (CloseFrame(1000), b"\x03\xe8"),
        (CloseFrame(1014, "bye"), b"\x03\xf6bye"),
        (CloseFrame(1005), b""),
    ],
)
def test_a_close_of_ours_is_the_same_with_and_without_extensions(frame: CloseFrame, payload: bytes):
    makers = (bare_close, framing().send_close, framing(b"", Silent()).send_close)
    for data in (make(frame) for make in makers):
        assert data is not None
        assert wire.ClientFrameReader().feed(data) == [wire.ClientFrame(wire.CLOSE, payload)]


def test_behind_our_close_nothing_can_be_made():
    subject = framing()
    subject.send_close(CloseFrame(1000))
    with pytest.raises(LocalProtocolError):
        subject.send_ping(b"")


# Extensions that fail


def test_a_frame_that_an_extension_could_not_make_is_none_and_why_is_taken_once():
    subject = framing(b"", Broken())
    for make in (
        lambda: subject.send_data(Opcode.TEXT, b"a", fin=True),
        lambda: subject.send_data(Opcode.BINARY, b"a", fin=True),
        lambda: subject.send_ping(b"a"),
        lambda: subject.send_pong(b"a"),
        lambda: subject.send_close(CloseFrame(1000)),
    ):
        assert make() is None
        assert subject.take_failure() == (Broken.error, 1011)
    with pytest.raises(AssertionError):
        subject.take_failure()
