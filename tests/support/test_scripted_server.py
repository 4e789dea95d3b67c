"""The scripted server fails where a test fails."""

from __future__ import annotations

import pytest
import trio
from scripted_server import Peer, echo_script, loopback_server, memory_server


@pytest.mark.parametrize("server", [loopback_server, memory_server])
async def test_exception_of_the_test_leaves_the_servers_block(server):
    with pytest.RaisesGroup(ZeroDivisionError):
        async with server(echo_script):
            raise ZeroDivisionError


@pytest.mark.parametrize("server", [loopback_server, memory_server])
async def test_exception_of_the_script_leaves_the_servers_block(server):
    async def script(peer: Peer) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with server(script) as url_or_stream:
            stream = url_or_stream
            if server is loopback_server:
                stream = await trio.open_tcp_stream("127.0.0.1", int(url_or_stream[15:-1]))
            async with stream:
                await trio.sleep_forever()
