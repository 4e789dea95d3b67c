"""Input that is more than a slice of the event loop's time: none of it is left lying."""

from __future__ import annotations

import zlib

import pytest
import trio
import wire
from scripted_server import Peer, memory_server

from trio_wsclient import PerMessageDeflate, _inflater, open_websocket_client
from trio_wsclient._deflate import Deflate
from trio_wsclient._events import Ping
from trio_wsclient._protocol import Protocol

EMPTY = wire.frame(wire.TEXT, b"", rsv=4)  # a compressed message without a byte


def deflating() -> Protocol:
    deflate = Deflate(PerMessageDeflate(), max_message_size=1_048_576)
    deflate.finalize("permessage-deflate")
    return Protocol(extensions=[deflate], max_message_size=1_048_576)


def test_behind_an_empty_compressed_message_there_may_be_more_than_a_slice():
    subject = deflating()
    subject.receive_data(EMPTY + wire.text("x") * 100 + wire.ping(b"p"))
    events = subject.next_events()
    while subject.input_pending:
        events += subject.next_events()
    assert events[-1] == Ping(b"p")


@pytest.mark.parametrize("count", [1, 63, 64, 65, 100])
async def test_all_that_has_come_is_received_and_answered(autojump_clock, count: int):
    messages = EMPTY + wire.text("x") * count + wire.ping(b"p")
    messages += wire.text("y", fin=False) + wire.continuation(b"z")
    answers = []

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.send(messages)
        answers.append(await peer.next_frame())
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, compression="deflate", close_timeout=1
        ) as ws:
            got = []
            with trio.fail_after(5):
                while len(got) < count + 2:
                    got.append(await ws.receive())
    assert got == ["", *"x" * count, "yz"]
    assert answers == [wire.ClientFrame(wire.PONG, b"p")]


def test_deflate_streams_of_two_bytes_are_not_for_nothing(monkeypatch):
    """Thousands of blocks with BFINAL make a stream each, and not a byte of payload."""
    begun = []

    class Counting:
        decompressobj = staticmethod(lambda bits: begun.append(bits) or zlib.decompressobj(bits))

        def __getattr__(self, name: str) -> object:
            return getattr(zlib, name)

    monkeypatch.setattr(_inflater, "zlib", Counting())
    subject = deflating()
    subject.receive_data(wire.frame(wire.BINARY, b"\x03\x00" * 32_000, rsv=4))
    slices = []
    while subject.input_pending:
        subject.next_events()
        slices.append(len(begun))
        begun.clear()
    assert sum(slices) == 32_000
    assert max(slices) <= 4096  # two pieces of a payload
