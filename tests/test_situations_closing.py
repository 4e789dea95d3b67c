"""E1, E4, E6, E12, E14: closing a connection in situations that break other clients."""

from __future__ import annotations

import pytest
import situations
import trio
import wire
from situations import scene

from trio_wsclient import CloseFrame, ConnectionClosedOK, open_websocket_client

BOUND = 10  # seconds for what takes a fraction of one


# E1


@pytest.mark.parametrize("wait", [True, False], ids=["after its Close", "before its Close"])
async def test_e1_block_ends_while_tcp_stays_open(wait):
    """The block is left within ``close_timeout``."""
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.close(1000))) as server:
            async with open_websocket_client(server.url, close_timeout=0.3) as ws:
                if wait:
                    with pytest.raises(ConnectionClosedOK):
                        await ws.receive()
            assert [frame.code for frame in await server.seen()] == [1000]


async def test_e1_iteration_ends_at_the_close_frame():
    """It does not wait for the end of TCP."""
    with trio.fail_after(BOUND), trio.CancelScope() as scope:
        async with (
            scene(situations.sends_and_listens(wire.close(1000))) as server,
            open_websocket_client(server.url, close_timeout=60) as ws,
        ):
            assert [message async for message in ws] == []
            assert await ws.wait_closed() == CloseFrame(1000, "")
            scope.cancel()


# E4


@pytest.mark.parametrize("code", [999, 0, 1005, 1006, 1015, 2999, 5000])
async def test_e4_invalid_code_is_refused_without_effect(code):
    with trio.fail_after(BOUND):
        async with scene(situations.echoes_until_close) as server:
            async with open_websocket_client(server.url) as ws:
                with pytest.raises(ValueError, match=str(code)):
                    await ws.aclose(code)
                await ws.send("still open")
                assert await ws.receive() == "still open"
            assert await server.seen() == 1000


# E6


async def test_e6_unread_messages_do_not_delay_leaving():
    """A server that answers the Close is not made to wait for the timeout."""
    data = b"".join(wire.text(str(number)) for number in range(1000))
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_answers(data)) as server:
            async with open_websocket_client(
                server.url, max_buffered_bytes=1000, close_timeout=60
            ) as ws:
                assert await ws.receive() == "0"
            await server.seen()


async def test_e6_endless_messages_do_not_hold_the_block():
    with trio.fail_after(BOUND):
        async with scene(situations.floods_without_end) as server:
            async with open_websocket_client(server.url, close_timeout=0.3) as ws:
                assert await ws.receive() == bytes(1000)
            assert await ws.wait_closed() is None
            await server.seen()


# E12


@pytest.mark.parametrize("then", [b"", wire.close(1000)], ids=["and no Close", "and a Close"])
async def test_e12_ping_after_our_close_is_ignored(then):
    with trio.fail_after(BOUND):
        async with scene(situations.pings_after_close(then)) as server:
            async with open_websocket_client(server.url, close_timeout=0.3):
                pass
            assert await server.seen() == []


# E14


async def leave_with(group):
    with trio.fail_after(BOUND):
        async with scene(situations.echoes_until_close) as server:
            with pytest.RaisesGroup(ValueError) as caught:
                async with open_websocket_client(server.url):
                    raise group
            assert await server.seen() == 1011
    assert caught.value is group
    assert group.__cause__ is None
    assert group.__context__ is None


async def test_e14_group_of_one_exception_leaves_unchanged():
    await leave_with(ExceptionGroup("the user's own", [ValueError("one")]))


@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
def test_e14_group_leaves_unchanged_with_loose_groups():
    """Trio runs with ``strict_exception_groups=False``."""
    group = ExceptionGroup("the user's own", [ValueError("one")])
    trio.run(leave_with, group, strict_exception_groups=False)
