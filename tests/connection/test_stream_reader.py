"""The step that reads the stream, at the end of a connection."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
import trio
import wire
from scripted_server import Peer
from situations import scene

from trio_wsclient import open_websocket_client
from trio_wsclient._connection import stream_reader


@pytest.mark.parametrize("waits", [1, 2], ids=["at once", "later"])
async def test_step_that_reads_the_close_reads_the_end_of_tcp(monkeypatch, waits: int):
    """If TCP has ended by then, the client does not wait for that."""
    count = 0
    wait_readable = stream_reader.wait_readable

    async def counting(connected: socket.socket) -> None:
        nonlocal count
        count += 1
        await wait_readable(connected)

    async def script(peer: Peer) -> None:
        await peer.accept()
        frame = await peer.next_frame()
        assert frame is not None
        assert frame.opcode == wire.CLOSE
        assert isinstance(peer.stream, trio.SocketStream)
        with closing(socket.socket(fileno=peer.stream.socket.detach())) as connected:
            connected.send(wire.close(1000))
            if waits > 1:
                await trio.sleep(0.05)

    monkeypatch.setattr(stream_reader, "wait_readable", counting)
    with trio.fail_after(10):
        async with scene(script) as server:
            async with open_websocket_client(server.url):
                pass
            await server.seen()
    assert count == waits
