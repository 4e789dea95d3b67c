"""A long payload is compressed in steps, and a frame that is given up leaves no trace (W2)."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable

import pytest
import wire
from deflate_tables import RSV1, TAIL, deflating

from trio_wsclient import Opcode
from trio_wsclient._protocol.protocol import Protocol

LONG = " ".join(str(number) for number in random.Random(1).choices(range(9999), k=40_000)).encode()


def prepare(
    protocol: Protocol, payload: bytes, *, fin: bool = True, most_steps: float = float("inf")
) -> tuple[int, Callable[[], Iterable[bytes]] | None]:
    """Take steps; return their number, and the function that makes the frame if all are done."""
    steps = protocol.prepare_data(Opcode.BINARY, payload, fin=fin)
    count = 0
    while count < most_steps:
        try:
            next(steps)
        except StopIteration as done:
            return count, done.value
        count += 1
    steps.close()
    return count, None


class Server:
    """Inflates the frames of a client, with context takeover."""

    def __init__(self) -> None:
        self._frames = wire.ClientFrameReader()
        self._frames.has_extensions = True
        self._zlib = zlib.decompressobj(-15)

    def read(self, pieces: Iterable[bytes]) -> bytes:
        (frame,) = self._frames.feed(b"".join(pieces))
        if frame.rsv == 0:
            return frame.payload
        assert frame.rsv == RSV1
        return self._zlib.decompress(frame.payload + TAIL)


@pytest.mark.parametrize("level", range(10))
def test_long_payload_is_compressed_in_steps(level: int):
    protocol, server = deflating(limit=None, level=level), Server()
    size = protocol.max_step_size
    for payload in (LONG, LONG[:size], LONG[: size + 1], LONG[: 2 * size]):
        count, make = prepare(protocol, payload)
        assert count == max(0, -(-len(payload) // size) - 1)
        assert make is not None
        assert server.read(make()) == payload


def test_short_message_is_prepared_without_compression():
    protocol, server = deflating(min_size=10), Server()
    count, make = prepare(protocol, b"short")
    assert (count, server.read(make())) == (0, b"short")


@pytest.mark.parametrize("most_steps", [1, 3, float("inf")])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("params", ["", "; client_no_context_takeover"])
def test_frame_that_is_given_up_leaves_no_trace(most_steps: float, fin: bool, params: str):
    protocol, server = deflating(params, limit=None), Server()
    if not params:
        assert server.read([protocol.send_data(Opcode.BINARY, LONG[:1000])]) == LONG[:1000]
    saved, before = protocol.saved, protocol.save_output()
    prepare(protocol, LONG, fin=fin, most_steps=most_steps)
    protocol.restore_output(before)
    assert protocol.saved == saved
    assert server.read([protocol.send_data(Opcode.BINARY, LONG[:2000])]) == LONG[:2000]


def test_fragment_that_is_given_up_is_sent_again():
    protocol, server = deflating(limit=None), zlib.decompressobj(-15)
    reader = wire.ClientFrameReader()
    reader.has_extensions = True
    frames = reader.feed(protocol.send_data(Opcode.BINARY, LONG[:500], fin=False))
    before = protocol.save_output()
    prepare(protocol, LONG, fin=True, most_steps=2)
    protocol.restore_output(before)
    frames += reader.feed(protocol.send_data(Opcode.CONTINUATION, LONG[500:900]))
    payload = b"".join(frame.payload for frame in frames)
    assert server.decompress(payload + TAIL) == LONG[:900]
    assert [frame.rsv for frame in frames] == [RSV1, 0]


def test_context_is_kept_when_a_frame_is_given_up():
    protocol, noise = deflating(limit=None), random.Random(2).randbytes(1000)
    protocol.send_data(Opcode.BINARY, noise)
    before = protocol.save_output()
    prepare(protocol, LONG)
    protocol.restore_output(before)
    assert len(protocol.send_data(Opcode.BINARY, noise)) < 50  # It refers back to the first one.


def test_nothing_saved_leaves_compression_as_it_is():
    protocol, server = deflating(limit=None), Server()
    assert server.read([protocol.send_data(Opcode.BINARY, LONG[:500])]) == LONG[:500]
    protocol.restore_output(None)
    assert server.read([protocol.send_data(Opcode.BINARY, LONG[:900])]) == LONG[:900]


def test_prepared_message_needs_no_context_without_takeover():
    protocol = deflating("; client_no_context_takeover", limit=None)
    for _ in range(2):
        _, make = prepare(protocol, LONG)
        assert Server().read(make()) == LONG


@pytest.mark.parametrize("is_prepared", [False, True])
def test_saved_counts_the_bytes_that_compression_saves(is_prepared: bool):
    protocol, reader, plain_size, sent_size = deflating(), wire.ClientFrameReader(), 0, 0
    reader.has_extensions = True
    for size, fin in ((300, True), (50_000, False), (0, False), (400, True), (0, False), (0, True)):
        payload = LONG[:size]
        if is_prepared:
            data = b"".join(prepare(protocol, payload, fin=fin)[1]())
        else:
            data = protocol.send_data(Opcode.BINARY, payload, fin=fin)
        (frame,) = reader.feed(data)
        plain_size += size
        sent_size += len(frame.payload)
        assert protocol.saved == (plain_size - sent_size, 0)


@pytest.mark.parametrize("compresses", [False, True])
@pytest.mark.parametrize("opcode", list(Opcode))
def test_prepared_frame_has_fin_only_if_last(opcode: Opcode, compresses: bool):
    protocol, rsv1 = deflating() if compresses else Protocol(), 0x40 if compresses else 0
    for fin in (False, True):
        steps = protocol.prepare_data(opcode, b"a" * 1000, fin=fin)
        with pytest.raises(StopIteration) as done:
            next(steps)
        first_byte = next(iter(done.value.value()))[0]
        assert first_byte == (0x80 if fin else 0) | rsv1 | opcode
        rsv1 = 0


def test_without_compression_there_is_nothing_to_put_back():
    protocol = Protocol()
    assert protocol.save_output() is None
    protocol.restore_output(None)
    assert prepare(protocol, LONG)[0] == 0
