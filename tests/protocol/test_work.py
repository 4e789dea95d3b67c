"""Input that takes more than one time slice: all of it is read in the end."""

from __future__ import annotations

import zlib

import pytest
import trio
import wire
from scripted_server import Peer, memory_server

from trio_wsclient import PerMessageDeflate, open_websocket_client
from trio_wsclient._protocol import deflate as deflate_module
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Ping
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol

EMPTY = wire.frame(wire.TEXT, b"", rsv=4)  # a compressed message without a byte


def deflating() -> Protocol:
    deflate = Deflate(PerMessageDeflate(), Limits(1_048_576))
    deflate.finalize("permessage-deflate")
    return Protocol(extensions=[deflate], limits=Limits(1_048_576))


def test_input_after_an_empty_compressed_message_is_read():
    subject = deflating()
    subject.receive_data(EMPTY + wire.text("x") * 100 + wire.ping(b"p"))
    events = subject.next_events()
    while subject.has_input:
        events += subject.next_events()
    assert events[-1] == Ping(b"p")


@pytest.mark.parametrize("count", [1, 63, 64, 65, 100])
async def test_all_input_is_received_and_answered(autojump_clock, count: int):
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


def test_deflate_streams_of_two_bytes_are_charged(monkeypatch):
    """Thousands of blocks with BFINAL make a stream each, and not a byte of payload."""
    begun = []

    class Counting:
        decompressobj = staticmethod(lambda bits: begun.append(bits) or zlib.decompressobj(bits))

        def __getattr__(self, name: str) -> object:
            return getattr(zlib, name)

    monkeypatch.setattr(deflate_module, "zlib", Counting())
    subject = deflating()
    subject.receive_data(wire.frame(wire.BINARY, b"\x03\x00" * 32_000, rsv=4))
    slices = []
    while subject.has_input:
        subject.next_events()
        slices.append(len(begun))
        begun.clear()
    assert sum(slices) == 32_000
    assert max(slices) <= 4096 / 2  # those in a piece of a payload
