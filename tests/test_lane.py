"""The fast lane gives what wsproto alone would give, however the bytes are cut."""

from __future__ import annotations

import zlib

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import flat, read, sent

from trio_wsclient import Opcode, PerMessageDeflate
from trio_wsclient._deflate import Deflate
from trio_wsclient._events import Batch
from trio_wsclient._protocol import Ending, Protocol

RSV1 = 4


def protocol(*, in_lane: bool, deflate: bool = False, **options: object) -> Protocol:
    extensions = []
    if deflate:
        limit = options.get("max_message_size")
        extension = Deflate(PerMessageDeflate(min_size=10), max_message_size=limit)
        extension.finalize("permessage-deflate")
        extensions.append(extension)
    made = Protocol(extensions=extensions, **options)
    if not in_lane:
        made._lane = None
    return made


def outcome(subject: Protocol, pieces: list[bytes]) -> tuple[object, ...]:
    events = read(subject, *pieces)
    return (
        events,
        [type(event) for event in events],
        (subject.state, subject.ending, subject.cut_off),
        (type(subject.failure), str(subject.failure)),
        (subject.close_received, subject.close_sent),
        sent(subject),
    )


def deflated(data: bytes, *, broken: bool = False) -> bytes:
    """Return a payload that depends on no other one."""
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = payload.removesuffix(b"\0\0\xff\xff") or b"\0"
    return payload[: len(payload) // 2] if broken else payload


texts = st.text(max_size=8).map(lambda part: part.encode(errors="surrogatepass"))
payloads = (
    texts
    | st.binary(max_size=8)
    | st.sampled_from([b"a" * 20, b"a" * 21, b"b" * 125, b"c" * 126, b"\xff" * 300])
    | st.sampled_from(["ä" * 70_000, "x" * 65_536, "y" * 65_537]).map(str.encode)
)
plain = st.builds(wire.frame, st.sampled_from([wire.TEXT, wire.BINARY]), payloads)
compressed = st.builds(
    lambda opcode, data, broken: wire.frame(opcode, deflated(data, broken=broken), rsv=RSV1),
    st.sampled_from([wire.TEXT, wire.BINARY]),
    payloads,
    st.sampled_from([False] * 9 + [True]),
)
odd = st.builds(
    wire.frame,
    st.sampled_from([0, 0, 0, 1, 2, 8, 9, 10, 3]),
    texts | st.sampled_from([b"\x03\xe8", b"\x03\xf6bye", b"a" * 126]),
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 9 + [RSV1, 1]),
    masked=st.sampled_from([False] * 9 + [True]),
    length_size=st.sampled_from([None] * 9 + [8]),
)
streams = st.lists(plain | plain | compressed | odd, max_size=8).map(b"".join)
options = st.fixed_dictionaries(
    {"decode_text": st.booleans(), "deflate": st.booleans()},
    optional={
        "max_message_size": st.sampled_from([1, 20, 126, 65_535]),
        "max_frame_size": st.sampled_from([1, 20, 126, 65_535]),
    },
)
# Many more of them: lane_differences.py.
given_cut_streams = given(
    streams, options, st.lists(st.integers(1, 300), max_size=8), st.integers(1, 300_000)
)


@settings(deadline=None, max_examples=400)
@given_cut_streams
def test_the_lane_and_wsproto_alone_say_the_same(
    data: bytes, options: dict[str, object], sizes: list[int], rest: int
):
    cuts = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    cuts += range(sum(sizes), len(data), max(rest, len(data) // 100))
    pieces = wire.cut(data, [cut for cut in cuts if cut < len(data)])
    assert b"".join(pieces) == data
    alone = outcome(protocol(in_lane=False, **options), pieces)
    assert outcome(protocol(in_lane=True, **options), pieces) == alone


@settings(deadline=None, max_examples=100)
@given(streams, st.integers(0, 100))
def test_they_say_the_same_when_we_close_in_between(data: bytes, cut: int):
    outcomes = []
    for in_lane in (False, True):
        subject = protocol(in_lane=in_lane)
        events = read(subject, data[:cut])
        subject.close(1000)
        outcomes.append((events, outcome(subject, [data[cut:]])))
    assert outcomes[0] == outcomes[1]


# What is fast is in the lane


@pytest.mark.parametrize("decode_text", [True, False])
def test_plain_messages_come_in_batches(decode_text: bool):
    subject = protocol(in_lane=True, decode_text=decode_text)
    subject.receive_data((wire.text("a") + wire.binary(b"b")) * 100)
    (batch,) = subject.next_events()
    assert isinstance(batch, Batch)
    assert (len(batch.messages), batch.size) == (200, 200)


@pytest.mark.parametrize("decode_text", [True, False])
def test_so_do_compressed_ones(decode_text: bool):
    subject = protocol(in_lane=True, deflate=True, decode_text=decode_text)
    frame = wire.frame(wire.TEXT, deflated("ä".encode()), rsv=RSV1)
    messages, size = subject.receive_plain((frame + wire.binary(b"b")) * 100)
    assert len(messages) == 200
    assert size == 100 * (4 + 1 if decode_text else 2 + 1)
    assert not subject.input_pending


def test_inflating_ends_in_time_for_others():
    subject = protocol(in_lane=True, deflate=True)
    frame = wire.frame(wire.BINARY, deflated(bytes(100_000)), rsv=RSV1)
    messages, _ = subject.receive_plain(frame * 20)
    assert len(messages) == 3
    messages += flat(subject.next_events())
    assert len(messages) == 15, "1 MiB in a slice"


@pytest.mark.parametrize(
    ("behind", "code"),
    [
        (wire.frame(wire.TEXT, deflated(b"\xff"), rsv=RSV1), 1007),
        (wire.frame(wire.TEXT, b"\xff", rsv=RSV1), 1007),
        (wire.frame(wire.TEXT, deflated(bytes(200)), rsv=RSV1), 1009),
    ],
)
def test_what_comes_before_a_compressed_message_that_fails_is_handed_over(behind, code):
    subject = protocol(in_lane=True, deflate=True, max_message_size=100)
    assert subject.receive_plain(wire.text("a") + behind + wire.text("b")) == (["a"], 1)
    assert subject.breach is None
    assert subject.next_events() == []
    assert subject.breach is not None
    assert subject.breach[1] == code


def test_a_long_message_is_gathered_piece_by_piece():
    subject = protocol(in_lane=True)
    data = wire.binary(b"x" * 200_000)
    for start in range(0, len(data) - 1, 50_000):
        subject.receive_data(data[start : start + 50_000][: len(data) - 1 - start])
        assert subject.next_events() == []
    assert subject.partial_size == 199_999
    subject.receive_data(b"x")
    assert flat(subject.next_events()) == [b"x" * 200_000]
    assert subject.partial_size == 0


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 100_000, 262_145])
@pytest.mark.parametrize("first", [0, 1, 20, 16_384, 16_385, 32_768, 65_534])
def test_a_long_message_is_whole_though_nearly_all_of_it_comes_at_once(size: int, first: int):
    payload = b"x" * size
    data = wire.binary(payload)
    first += len(data) - size
    assert read(protocol(in_lane=True), data[:first], data[first:]) == [payload]


def test_text_fails_as_soon_as_it_is_not_utf8():
    subject = protocol(in_lane=True)
    subject.receive_data(wire.text("x" * 1000)[:50] + b"\xff")
    assert subject.next_events() == []
    assert subject.breach is not None
    assert subject.breach[1] == 1007


def test_what_comes_behind_our_close_is_dropped_not_kept():
    subject = protocol(in_lane=True)
    subject.receive_data(wire.binary(bytes(1000))[:500])
    subject.next_events()
    subject.close(1000)
    subject.receive_data(bytes(100))
    subject.next_events()
    assert subject.partial_size < 600
    subject.receive_data(bytes(404) + wire.close(1000))
    while subject.input_pending:
        assert subject.next_events() == []
    assert subject.close_received is not None
    assert subject.ending is Ending.LOCAL
    assert subject.partial_size == 0


# Outgoing


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("size", [0, 9, 10, 200, 70_000])
def test_a_message_is_sent_as_wsproto_alone_would(opcode: Opcode, size: int, deflate: bool):
    frames = []
    for in_lane in (False, True):
        subject = protocol(in_lane=in_lane, deflate=deflate)
        reader = wire.ClientFrameReader()
        reader.has_extensions = deflate
        # Twice, as the context is taken over.
        frames.append(reader.feed(subject.send_data(opcode, b"a" * size)))
        frames[-1] += reader.feed(subject.send_data(opcode, b"a" * size))
    assert frames[0] == frames[1]
