"""However the bytes of a server are cut, they mean the same."""

from __future__ import annotations

import codecs

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import (
    CONVERSATIONS,
    VIOLATIONS,
    WRONG_AT_ONCE,
    bad_text,
    make_protocol,
    read,
    sent,
)

from trio_wsclient._protocol.closing import ClosedBy, State
from trio_wsclient._protocol.protocol import Protocol


def outcome(protocol: Protocol, pieces: list[bytes]) -> tuple[object, ...]:
    """Return all that a protocol says of its input."""
    events = read(protocol, *pieces)
    return (
        events,
        [type(event) for event in events],
        (protocol.closing.state, protocol.closing.closed_by, protocol.closing.closed_mid_message),
        (type(protocol.closing.cause), str(protocol.closing.cause)),
        (protocol.closing.received, protocol.closing.sent),
        sent(protocol),
    )


LIMITS = {"max_message_size": 30, "max_frame_size": 20}
INPUTS: dict[str, bytes] = {
    **{name: data for name, (data, _) in CONVERSATIONS.items()},
    **{name: wire.text("before") + data for name, (data, _) in VIOLATIONS.items()},
    **{name: bad_text(right + wrong + b"abc") for name, (right, wrong) in WRONG_AT_ONCE.items()},
    "text and a Close": wire.text("ä") + wire.close(1014, "bye ☃".encode()) + wire.text("behind"),
    "a Close within a message": wire.text("a", fin=False) + wire.close(None),
    "a message over a limit": wire.binary(b"a" * 15, fin=False) + wire.continuation(b"b" * 16),
    "a frame over a limit": wire.binary(b"a" * 21),
}
SHORT_INPUTS = {name: data for name, data in INPUTS.items() if len(data) < 1000}


@pytest.mark.parametrize("limits", [{}, LIMITS], ids=["unlimited", "limited"])
@pytest.mark.parametrize("decode_text", [True, False])
@pytest.mark.parametrize("data", SHORT_INPUTS.values(), ids=SHORT_INPUTS)
def test_single_bytes_mean_the_same_as_the_whole(
    data: bytes, decode_text: bool, limits: dict[str, int]
):
    whole = outcome(make_protocol(decode_text=decode_text, **limits), [data])
    pieces = wire.cut(data, range(len(data)))
    assert outcome(make_protocol(decode_text=decode_text, **limits), pieces) == whole


@pytest.mark.parametrize("size", [999, 4096, 65536])
def test_long_inputs_mean_the_same_when_cut(size: int):
    data = b"".join(data for data, _ in CONVERSATIONS.values())
    assert len(data) > 200_000
    pieces = wire.cut(data, range(0, len(data), size))
    assert outcome(Protocol(), pieces) == outcome(Protocol(), [data])


frames = st.builds(
    wire.frame,
    st.sampled_from([0, 0, 1, 1, 2, 8, 9, 10, 3, 15]),
    st.one_of(
        st.binary(max_size=8),
        st.text(max_size=4).map(lambda part: part.encode(errors="surrogatepass")),
        st.sampled_from([b"\x03\xe8", b"\x03\xf6bye", b"a" * 126]),
    ),
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 9 + [4]),
    masked=st.sampled_from([False] * 9 + [True]),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.sampled_from(list(SHORT_INPUTS.values())), st.lists(frames, max_size=8).map(b"".join)
    ),
    st.lists(st.integers(1, 200), max_size=8),
    st.booleans(),
    st.sampled_from([{}, LIMITS]),
)
def test_random_frames_mean_the_same_when_cut(
    data: bytes, positions: list[int], decode_text: bool, limits: dict[str, int]
):
    whole = outcome(make_protocol(decode_text=decode_text, **limits), [data])
    pieces = wire.cut(data, positions)
    assert outcome(make_protocol(decode_text=decode_text, **limits), pieces) == whole
    byte_by_byte = wire.cut(data, range(len(data)))
    assert outcome(make_protocol(decode_text=decode_text, **limits), byte_by_byte) == whole


@settings(deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_read_without_an_exception(data: bytes, decode_text: bool):
    protocol = make_protocol(decode_text=decode_text, max_message_size=50)
    read(protocol, data)
    assert (protocol.closing.closed_by is None) == (protocol.closing.state is State.OPEN)
    assert (protocol.closing.cause is None) == (protocol.closing.closed_by is not ClosedBy.ERROR)
    assert (protocol.closing.sent is None) == (protocol.closing.closed_by is None)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), min_size=1, max_size=5), st.data())
def test_fragmented_text_is_valid_if_the_whole_is(parts: list[bytes], data: st.DataObject):
    if data.draw(st.booleans()):  # mostly right, and cut anywhere
        payload = data.draw(st.text(max_size=8)).encode(errors="surrogatepass")
        positions = data.draw(st.lists(st.integers(0, 20), max_size=4))
        parts = wire.cut(payload, positions)
    message = [
        wire.frame(wire.TEXT if i == 0 else 0, part, fin=False) for i, part in enumerate(parts)
    ]
    protocol = Protocol()
    read(protocol, *message, wire.continuation())
    try:
        codecs.decode(b"".join(parts), "utf-8")
    except UnicodeDecodeError:
        assert [close.code for close in sent(protocol)] == [1007]
    else:
        assert protocol.closing.state is State.OPEN
