"""What received messages cost beside their bytes."""

from __future__ import annotations

import tracemalloc

import pytest
import wire

from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol


@pytest.mark.parametrize("waiting", [0, 1, 100])
def test_queue_forgets_what_was_taken(waiting: int):
    """Also if the queue never becomes empty, as some messages always wait."""
    queue = ReceiveQueue(max_buffered_bytes=1_000_000, decode_text=True)
    tracemalloc.start()
    try:
        for number in range(3000 + waiting):
            queue.put_batch([f"{number:0100}"], 100)
            if number >= waiting:
                assert queue.take_message() == f"{number - waiting:0100}"
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 10_000 + 400 * waiting


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
def test_message_in_small_pieces_takes_about_its_size(opcode: int):
    payload = "€".encode() * 100_000
    data = wire.frame(opcode, payload)
    subject = Protocol(limits=Limits(1_048_576))
    subject.receive_data(data[:10])
    subject.next_events()
    tracemalloc.start()
    try:
        for start in range(10, len(data) - 3, 3):  # a segment each
            subject.receive_data(bytes(memoryview(data)[start : start + 3]))
            while subject.has_input:
                assert not subject.next_events()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 4 * subject.partial_size, f"{size / subject.partial_size:.0f} times"
