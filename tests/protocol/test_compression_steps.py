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


def test_without_compression_there_is_nothing_to_put_back():
    protocol = Protocol()
    assert protocol.save_output() is None
    protocol.restore_output(None)
    assert prepare(protocol, LONG)[0] == 0
