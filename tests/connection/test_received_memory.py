"""What received messages cost beside their bytes."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
import wire
from scripted_server import Peer, loopback_server

from trio_wsclient import open_websocket_client
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol


async def test_the_inbox_forgets_what_was_taken():
    n = 3000

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(n):
            await peer.next_frame()
            await peer.send(wire.text("x" * 100))
        await trio.sleep_forever()

    async with loopback_server(script) as url:
        with trio.CancelScope() as outer:
            async with open_websocket_client(url, close_timeout=1) as ws:
                outer.cancel()
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                    for _ in range(n):
                        await ws.send("?")
                        await ws.receive()
                    inbox = ws._connection.inbox
                    assert inbox.messages == 0
                    assert len(inbox._counts) < 100


@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
def test_a_message_in_small_pieces_takes_about_its_size(opcode: int):
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
