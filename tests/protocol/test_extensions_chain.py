"""Extensions at work (RFC 6455 §9.1): their order, what they are shown, reserved bits."""

from __future__ import annotations

import time
import zlib

import empty_blocks
import pytest
import wire
from extensions import (
    Backwards,
    Reserved,
    Suffix,
    Unoffered,
    Watching,
    failed,
    payload_of,
    protocol_with,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import read, sent
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from trio_wsclient import CloseFrame, Opcode, PerMessageDeflate
from trio_wsclient._protocol.closing import State
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Ping, Pong
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol

# Order


def test_outgoing_frames_pass_extensions_in_order():
    protocol = protocol_with(Suffix(b"1"), Suffix(b"2"), Suffix(b"3"))
    assert payload_of(protocol.send_data(Opcode.BINARY, b"data")) == b"data123"


@pytest.mark.parametrize("size", [1, 2, 100])
def test_incoming_frames_pass_extensions_backwards(size: int):
    # Each holds a payload back until its frame ends, and then hands it to the one before.
    protocol = protocol_with(Suffix(b"1"), Suffix(b"2"), Suffix(b"3"))
    data = wire.binary(b"data123") + wire.text("ä123") + wire.binary(b"123")
    assert read(protocol, *wire.cut(data, range(0, len(data), size))) == [b"data", "ä", b""]


def test_incoming_header_is_shown_to_extensions_backwards():
    class Noting(Unoffered):
        def frame_inbound_header(self, proto, opcode, rsv, payload_length):
            shown.append(self.name)
            return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    shown: list[str] = []
    read(protocol_with(Noting("x-1"), Noting("x-2"), Noting("x-3")), wire.binary(b"data"))
    assert shown == ["x-3", "x-2", "x-1"]


def test_frame_from_the_wrong_order_is_refused():
    protocol = protocol_with(Suffix(b"1"), Suffix(b"2"))
    read(protocol, wire.binary(b"data21"))
    assert failed(protocol) == (1002, "the extension x-suffix-2 refused a frame")


def test_later_extension_may_refuse_the_frame_end():
    class Never(Unoffered):
        def frame_inbound_payload_data(self, proto, data):
            return CloseReason.POLICY_VIOLATION if data else data

    protocol = protocol_with(Never("x-never"), Suffix(b"2"))
    read(protocol, wire.binary(b"data2"))
    assert failed(protocol) == (1008, "the extension x-never refused a frame")


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=30).map(str.encode) | st.binary(max_size=5), max_size=4),
    st.lists(st.integers(1, 100), max_size=6),
)
def test_outgoing_frames_come_back_in_when_cut(payloads: list[bytes], positions: list[int]):
    protocol = protocol_with(Suffix(b"1"), Watching(), Suffix(b"23"))
    data = b""
    for payload in payloads:
        data += wire.binary(payload_of(protocol.send_data(Opcode.BINARY, payload)))
    assert read(protocol, *wire.cut(data, positions)) == payloads


# What the hooks are shown

BITS_OFF = (False, False, False)


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_outgoing_hook_gets_the_opcode_on_the_wire(opcode: Opcode):
    first, second = Watching(), Watching()
    protocol = protocol_with(first, second)
    protocol.send_data(opcode, b"a", fin=False)
    protocol.send_ping(b"p")
    protocol.send_data(Opcode.CONTINUATION, b"b")
    protocol.send_pong(b"q")
    protocol.send_data(Opcode.BINARY, b"c")
    protocol.close(1000)
    assert first.calls == second.calls
    assert first.calls == [
        ("outbound", WsprotoOpcode(opcode), BITS_OFF, b"a", False),
        ("outbound", WsprotoOpcode.PING, BITS_OFF, b"p", True),
        ("outbound", WsprotoOpcode.CONTINUATION, BITS_OFF, b"b", True),
        ("outbound", WsprotoOpcode.PONG, BITS_OFF, b"q", True),
        ("outbound", WsprotoOpcode.BINARY, BITS_OFF, b"c", True),
        ("outbound", WsprotoOpcode.CLOSE, BITS_OFF, b"\x03\xe8", True),
    ]
    assert all(type(call[1]) is WsprotoOpcode for call in first.calls)


@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
def test_incoming_hook_gets_the_opcode_on_the_wire(opcode: int):
    first, second = Watching(), Watching()
    data = (
        wire.frame(opcode, b"a", fin=False)
        + wire.ping(b"p")
        + wire.continuation(b"bc")
        + wire.pong()
        + wire.close(1000)
    )
    read(protocol_with(first, second), data)
    assert first.calls == second.calls
    received = [call for call in first.calls if call[0] != "outbound" and call[1] != b""]
    assert received == [
        ("header", WsprotoOpcode(opcode), BITS_OFF, 1),
        ("payload", b"a"),
        ("complete", False),
        ("header", WsprotoOpcode.PING, BITS_OFF, 1),
        ("payload", b"p"),
        ("complete", True),
        ("header", WsprotoOpcode.CONTINUATION, BITS_OFF, 2),
        ("payload", b"bc"),
        ("complete", True),
        ("header", WsprotoOpcode.PONG, BITS_OFF, 0),
        ("complete", True),
        ("header", WsprotoOpcode.CLOSE, BITS_OFF, 2),
        ("payload", b"\x03\xe8"),
        ("complete", True),
    ]


@pytest.mark.parametrize("opcode", [wire.PING, wire.PONG, wire.CLOSE])
def test_payload_hook_is_not_called_when_control_frame_is_empty(opcode: int):
    watching = Watching()
    protocol = protocol_with(watching)
    protocol.receive_data(wire.frame(opcode))
    protocol.next_events()
    header = ("header", WsprotoOpcode(opcode), BITS_OFF, 0)
    assert watching.calls == [header, ("complete", True)]


def test_hooks_are_told_that_they_serve_a_client():
    """Each hook gets an object of wsproto, and may ask it for its side."""

    class Asking(Suffix):
        def frame_inbound_header(self, proto, opcode, rsv, payload_length):
            told.append((type(proto), proto.client))
            return super().frame_inbound_header(proto, opcode, rsv, payload_length)

        def frame_inbound_payload_data(self, proto, data):
            told.append((type(proto), proto.client))
            return super().frame_inbound_payload_data(proto, data)

        def frame_inbound_complete(self, proto, fin):
            told.append((type(proto), proto.client))
            return super().frame_inbound_complete(proto, fin)

        def frame_outbound(self, proto, opcode, rsv, data, fin):
            told.append((type(proto), proto.client))
            return super().frame_outbound(proto, opcode, rsv, data, fin)

    told: list[tuple[type, object]] = []
    protocol = protocol_with(Asking(b"1"), Asking(b"2"))
    assert read(protocol, wire.binary(b"data12")) == [b"data"]
    assert told == [(FrameDecoder, True)] * 7  # The first gets "", and what the second held back.
    told.clear()
    protocol.send_data(Opcode.BINARY, b"data")
    assert told == [(FrameProtocol, True)] * 2


@pytest.mark.parametrize("code", [1013, 1014])
def test_outgoing_hook_gets_the_close_payload(code: int):
    watching = Watching()
    read(protocol_with(watching), wire.close(code, b"bye"))
    assert ("payload", code.to_bytes(2, "big") + b"bye") in watching.calls


def test_sending_does_not_disturb_a_partial_frame():
    watching = Watching()
    protocol = protocol_with(watching)
    frame = wire.text("abc")
    read(protocol, frame[:1])
    protocol.send_data(Opcode.BINARY, b"x")
    assert read(protocol, frame[1:]) == ["abc"]
    assert watching.calls[1][:2] == ("header", WsprotoOpcode.TEXT)


def test_extension_may_change_control_frames_both_ways():
    protocol = protocol_with(Backwards())
    data = wire.ping(b"ab") + wire.pong(b"cd") + wire.frame(wire.CLOSE, b"eyb\xe8\x03")
    assert read(protocol, data) == [Ping(b"ba"), Pong(b"dc")]
    assert protocol.closing.received == CloseFrame(1000, "bye")
    assert sent(protocol) == [wire.ClientFrame(wire.CLOSE, b"\xe8\x03")]
    protocol = protocol_with(Backwards())
    assert payload_of(protocol.send_ping(b"ab")) == b"ba"
    assert payload_of(protocol.send_pong(b"cd")) == b"dc"


def test_text_is_checked_after_the_extensions():
    protocol = protocol_with(Backwards())
    assert read(protocol, wire.frame(wire.TEXT, "ä".encode()[::-1])) == ["ä"]
    read(protocol, wire.text("ä"))
    assert protocol.closing.sent is not None
    assert protocol.closing.sent.code == 1007


# Reserved bits


@pytest.mark.parametrize("rsv", range(1, 8))
def test_unclaimed_bits_are_shown_to_hooks_and_refused(rsv: int):
    watching = Watching()
    protocol = protocol_with(watching)
    read(protocol, wire.frame(wire.BINARY, b"a", rsv=rsv))
    bits = (rsv & 4 != 0, rsv & 2 != 0, rsv & 1 != 0)
    assert watching.calls[0] == ("header", WsprotoOpcode.BINARY, bits, 1)
    names = " and ".join(f"RSV{index + 1}" for index in range(3) if bits[index])
    assert failed(protocol) == (1002, f"a BINARY frame with {names}, which is not in use")


@pytest.mark.parametrize("rsv", [0, 1, 2, 3])
@pytest.mark.parametrize("opcode", [wire.BINARY, wire.PING])
def test_each_extension_may_use_its_own_bits(opcode: int, rsv: int):
    protocol = protocol_with(Reserved(1), Reserved(2))
    assert len(read(protocol, wire.frame(opcode, b"a", rsv=rsv))) == 1
    assert protocol.closing.state is State.OPEN


@pytest.mark.parametrize("rsv", [4, 5, 6, 7])
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY, wire.PING, wire.CLOSE])
def test_reserved_bit_without_a_user_is_a_violation(opcode: int, rsv: int):
    protocol = protocol_with(Reserved(1), Reserved(2))
    read(protocol, wire.frame(opcode, b"\x03\xe8", rsv=rsv))
    (close,) = sent_unmasked(protocol)
    assert close[2:4] == b"\x03\xea"


def sent_unmasked(protocol: Protocol) -> list[bytes]:
    """Return our Close frame if there is one, whichever reserved bits it has."""
    data = protocol.take_close()
    mask, payload = data[2:6], data[6:]
    plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return [data[:2] + plain] if data else []


def test_outgoing_frame_has_the_bits_of_all_extensions():
    protocol = protocol_with(Reserved(0), Watching(), Reserved(2))
    assert protocol.send_data(Opcode.TEXT, b"a")[0] == 0x80 | 0x50 | wire.TEXT
    assert protocol.send_ping(b"a")[0] == 0x80 | 0x50 | wire.PING


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_frame_through_extension_has_fin_only_if_last(opcode: Opcode, fin: bool):
    protocol = protocol_with(Watching())
    assert protocol.send_data(opcode, b"a", fin=fin)[0] == (0x80 if fin else 0) | opcode


# Compression beside extensions of others


def with_deflate(**options: object) -> Protocol:
    deflate = Deflate(PerMessageDeflate(min_size=5), Limits(1000))
    deflate.finalize("permessage-deflate")
    return protocol_with(Watching(), deflate, **options)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return payload.removesuffix(b"\0\0\xff\xff")


def test_messages_are_compressed_beside_an_extension():
    protocol = with_deflate()
    reader = wire.ClientFrameReader()
    reader.has_extensions = True
    frames = reader.feed(
        protocol.send_data(Opcode.BINARY, b"a" * 100)
        + protocol.send_data(Opcode.BINARY, b"a")
        + protocol.send_ping(b"p" * 9)
        + protocol.send_batch([(Opcode.TEXT, b"b", False), (Opcode.CONTINUATION, b"c", True)])
    )
    assert [(frame.opcode, frame.rsv) for frame in frames] == [
        (2, 4),
        (2, 0),
        (9, 0),
        (1, 4),
        (0, 0),
    ]
    assert frames[1].payload == b"a"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_compressed_messages_are_read_beside_an_extension(step: int):
    payload = deflated(b"ab" * 400)
    data = (
        wire.frame(wire.BINARY, payload, rsv=4)
        + wire.text("plain")
        + wire.frame(wire.TEXT, payload[:3], rsv=4, fin=False)
        + wire.ping(b"p")
        + wire.continuation(payload[3:])
    )
    message, plain, *frames = read(with_deflate(), *wire.cut(data, range(0, len(data), step)))
    assert (message, plain, frames.pop(1)) == (b"ab" * 400, "plain", Ping(b"p"))
    assert b"".join(frame.payload for frame in frames) == b"ab" * 400


def test_all_streams_are_inflated_beside_an_extension():
    """In a chain inflating can't stop half-way, even if the budget is spent."""
    payload = b"\x03\x00" * 2000 + deflated(b"end")
    assert read(with_deflate(), wire.frame(wire.BINARY, payload, rsv=4)) == [b"end"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (wire.frame(wire.BINARY, b"\xff" * 9, rsv=4), 1007),
        (wire.frame(wire.BINARY, deflated(bytes(1001)), rsv=4), 1009),
        (wire.frame(wire.TEXT, b"", rsv=4, fin=False) + wire.frame(wire.TEXT, b"", rsv=4), 1002),
        (wire.frame(wire.TEXT, b"", rsv=4, fin=False) + wire.continuation(b"\0\x01"), 1007),
    ],
)
def test_compression_refuses_the_same_beside_an_extension(data: bytes, code: int):
    protocol = with_deflate(max_message_size=1000)
    read(protocol, data)
    assert failed(protocol)[0] == code


COMPRESSED_START = wire.frame(wire.TEXT, b"", rsv=4, fin=False)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (wire.frame(wire.PING, rsv=4), "PING"),
        (COMPRESSED_START + wire.frame(wire.PONG, rsv=4), "PONG"),
        (wire.frame(wire.CONTINUATION, rsv=4), "CONTINUATION"),
        (COMPRESSED_START + wire.frame(wire.CONTINUATION, rsv=4), "CONTINUATION"),
        (COMPRESSED_START + wire.frame(wire.TEXT, rsv=4), "TEXT"),
    ],
)
def test_compression_claims_rsv1_only_where_messages_begin(data: bytes, name: str):
    """RFC 7692 §6."""
    protocol = with_deflate()
    read(protocol, data)
    assert failed(protocol) == (1002, f"a {name} frame with RSV1, which is not in use")


@pytest.mark.parametrize(("size", "is_compressed"), [(4, False), (200, True)])
@pytest.mark.parametrize("fin", [True, False])
def test_prepared_frame_passes_the_extensions_after_compression(
    size: int, is_compressed: bool, fin: bool
):
    deflate = Deflate(PerMessageDeflate(min_size=5), Limits())
    deflate.finalize("permessage-deflate")
    watching = Watching()
    protocol = protocol_with(deflate, watching)
    is_compressed |= not fin  # A message of unknown size is compressed.
    (data,) = prepared(protocol, b"a" * size, fin=fin)
    rsv1 = 0x40 if is_compressed else 0
    assert data[0] == (0x80 if fin else 0) | rsv1 | wire.BINARY
    ((hook, opcode, bits, payload, has_fin),) = watching.calls
    assert (hook, opcode, has_fin) == ("outbound", WsprotoOpcode.BINARY, fin)
    assert repr(bits) == repr((is_compressed, False, False))  # `bool`, as the hook declares.
    plain = zlib.decompressobj(-15).decompress(payload) if is_compressed else payload
    assert plain == b"a" * size


def prepared(protocol: Protocol, payload: bytes, *, fin: bool = True) -> list[bytes]:
    """Take all steps of preparing a frame, and return its pieces."""
    steps = protocol.prepare_data(Opcode.BINARY, payload, fin=fin)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return [bytes(piece) for piece in done.value()]


@pytest.mark.parametrize("before", [b"", wire.binary(bytes(100))[:50]])
def test_dropped_data_is_not_shown_to_extensions(before: bytes):
    """After its Close the client waits only for the server's, and no data may prevent that."""
    protocol = with_deflate(max_message_size=1000)
    read(protocol, before)
    protocol.close(1000)
    data = wire.binary(bytes(100))[len(before) :]
    data += wire.frame(wire.BINARY, deflated(bytes(2000)), rsv=4)
    data += wire.frame(wire.BINARY, b"\xff" * 9, rsv=7)
    assert read(protocol, data + wire.close(1000)) == []
    assert protocol.closing.received == CloseFrame(1000)


def test_extensions_see_the_server_close_after_ours():
    watching = Watching()
    protocol = protocol_with(watching)
    protocol.close(1000)
    watching.calls.clear()
    read(protocol, wire.close(1001))
    assert watching.calls == [
        ("header", WsprotoOpcode.CLOSE, BITS_OFF, 2),
        ("payload", b"\x03\xe9"),
        ("complete", True),
    ]


@pytest.mark.slow
def test_deflate_streams_that_an_extension_holds_back_take_linear_time():
    """An extension next to the wire may hand a long frame to compression in one piece."""
    deflate = Deflate(PerMessageDeflate(), Limits(1000))
    deflate.finalize("permessage-deflate")
    protocol = protocol_with(deflate, Suffix(b"1"))
    data = wire.frame(wire.BINARY, empty_blocks.STREAM * 600_000 + b"1", rsv=4)
    begin = time.thread_time()
    assert read(protocol, data) == [b""]
    assert time.thread_time() - begin < 15  # seconds; some 2, and 40 if it were quadratic
