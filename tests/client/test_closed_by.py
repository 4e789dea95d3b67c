"""The side that closed first: `ConnectionClosed.closed_by` and `WebSocketClient.closed_by`."""

from __future__ import annotations

import pickle

import pytest
import trio
import wire
from recorder import Recorder, opened
from scripted_server import OnlyClose
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import ConnectionClosed


async def test_closed_by_is_the_client_after_our_close():
    async with opened(OnlyClose()) as (ws, _):
        assert ws.closed_by is None
        await ws.aclose(3000)
        with pytest.raises(ConnectionClosed) as caught:
            await ws.receive()
    assert ws.closed_by == caught.value.closed_by == "client"
    assert pickle.loads(pickle.dumps(caught.value)).closed_by == "client"


@pytest.mark.parametrize("code", [1000, 1011])
async def test_closed_by_is_the_server_after_its_close(code):
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        await server.peer.send(wire.close(code))
        with pytest.raises(ConnectionClosed) as caught:
            await ws.receive()
        await server.peer.stream.aclose()
    assert ws.closed_by == caught.value.closed_by == ws.outcome.closed_by == "server"


async def test_closed_by_is_the_server_when_its_close_came_before_ours():
    """C3: what arrived counts."""
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        await server.peer.send(wire.close(1000))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await wait_all_tasks_blocked()
            await server.peer.stream.aclose()
    assert ws.closed_by == "server"


@pytest.mark.parametrize("fault", ["violation", "end of TCP"])
async def test_closed_by_is_none_after_an_error(fault):
    server = Recorder(closes=False)
    async with opened(server) as (ws, _):
        if fault == "violation":
            await server.peer.send(wire.frame(3))
        else:
            await server.peer.stream.aclose()
        with pytest.raises(ConnectionClosed) as caught:
            await ws.receive()
        await server.peer.stream.aclose()
    assert ws.closed_by is caught.value.closed_by is None
