"""E1, E4, E6, E12, E14, E31, E44, E48: closing where other clients break."""

from __future__ import annotations

from contextlib import suppress

import pytest
import situations
import trio
import wire
from scripted_server import OnlyClose, Peer, deaf, loopback_server, memory_server
from situations import scene
from streams import Valve
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
)

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


# E31


class DeafToClose(Valve):
    """A stream whose `aclose` does not wake a task that waits in its `receive_some`."""

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("body", ["leaves", "closes", "raises", "is cancelled"])
async def test_e31_block_ends_though_the_stream_is_deaf_to_its_close(body, autojump_clock):
    async with memory_server(deaf) as stream:
        began = trio.current_time()
        with suppress(ZeroDivisionError), trio.CancelScope() as scope:
            async with open_websocket_client(
                "ws://server/", stream=DeafToClose(stream), close_timeout=3
            ) as ws:
                await wait_all_tasks_blocked()  # Until the background reader waits.
                if body == "closes":
                    await ws.aclose()
                elif body == "raises":
                    raise ZeroDivisionError
                elif body == "is cancelled":
                    scope.cancel()
        assert trio.current_time() - began == pytest.approx(0 if body == "is cancelled" else 3)


class DeafWriter(Valve):
    """A stream whose `aclose` does not wake a task that waits in its `send_all`."""

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_e31_send_ends_though_the_stream_is_deaf_to_its_close(autojump_clock):
    """The keepalive fails the connection."""
    async with memory_server(deaf) as stream:
        writer = DeafWriter(stream)
        async with open_websocket_client(
            "ws://server/", stream=writer, close_timeout=3, ping_interval=5, ping_timeout=5
        ) as ws:
            writer.shut()
            began = trio.current_time()
            with trio.fail_after(60), pytest.raises(ConnectionClosedError):
                await ws.send("x")
            assert trio.current_time() - began <= 13


async def test_e31_cancelled_aclose_ends_a_blocked_send_at_once(autojump_clock):
    """C2: the deadline of closing does not matter then."""

    async def send() -> None:
        with pytest.raises(ConnectionClosedOK):
            await ws.send("x")

    async with memory_server(deaf) as stream:
        writer = DeafWriter(stream)
        async with open_websocket_client("ws://server/", stream=writer, close_timeout=10) as ws:
            writer.shut()
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await wait_all_tasks_blocked()
                with trio.move_on_after(1):
                    await ws.aclose()
            assert trio.current_time() - began == pytest.approx(1)


# E44


async def test_e44_missing_close_of_the_server_is_the_cause(autojump_clock):
    async with memory_server(deaf) as stream:
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=10) as ws:
            await ws.aclose()
            with pytest.raises(ConnectionClosedOK) as caught:
                await ws.receive()
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert str(caught.value.__cause__) == "no Close within 10 s"


async def test_e44_close_of_the_server_leaves_no_cause(autojump_clock):
    async with memory_server(OnlyClose()) as stream:
        async with open_websocket_client("ws://server/", stream=stream) as ws:
            await ws.aclose()
    assert ws.outcome.__cause__ is None


async def test_e44_missing_end_of_tcp_is_no_cause(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.close(await peer.expect_close()))
        await trio.sleep_forever()

    async with memory_server(script) as stream:
        began = trio.current_time()
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=3) as ws:
            pass
        assert trio.current_time() - began == pytest.approx(3)
    assert ws.outcome.received == CloseFrame(1000)
    assert ws.outcome.__cause__ is None


async def test_e44_cancel_before_the_deadline_is_no_cause(autojump_clock):
    async with memory_server(deaf) as stream:
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=10) as ws:
            with trio.move_on_after(1):
                await ws.aclose()
    assert isinstance(ws.outcome, ConnectionClosedOK)
    assert ws.outcome.__cause__ is None


# E48


@pytest.mark.parametrize("begins", ["server", "client"])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_e48_server_that_waits_for_our_end_of_tcp_gets_it(
    tls, begins, server_ssl_context, client_ssl_context
):
    async def script(peer: Peer) -> None:
        await peer.accept()
        if begins == "server":
            await peer.send(wire.close(1000))
        code = await peer.expect_close()
        if begins == "client":
            await peer.send(wire.close(code))
        await peer.wait_eof()
        await peer.stream.aclose()

    options = {"ssl_context": client_ssl_context} if tls else {}
    with trio.fail_after(BOUND):
        async with loopback_server(script, ssl_context=server_ssl_context if tls else None) as url:
            async with open_websocket_client(
                url.replace("127.0.0.1", "localhost"), close_timeout=60, **options
            ) as ws:
                began = trio.current_time()
            assert trio.current_time() - began < BOUND / 2
            assert await ws.wait_closed() == CloseFrame(1000)


async def test_e48_server_has_half_a_second_to_end_tcp_first(autojump_clock):
    """Then a user's stream is half-closed, too, if it can be."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.close(await peer.expect_close()))
        began = trio.current_time()
        await peer.wait_eof()
        waited.append(trio.current_time() - began)
        await peer.stream.aclose()

    waited: list[float] = []
    async with memory_server(script) as stream:
        async with open_websocket_client("ws://server/", stream=stream, close_timeout=3):
            pass
    assert waited == pytest.approx([0.5])


class RaisesOnEof(Valve, trio.abc.HalfCloseableStream):
    """A stream whose other end was reset before `send_eof`."""

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("not connected")


async def test_e48_users_stream_may_raise_in_send_eof(autojump_clock):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.close(await peer.expect_close()))
        await trio.sleep_forever()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://server/", stream=RaisesOnEof(stream), close_timeout=3
        ) as ws:
            await ws.aclose()
            assert await ws.wait_closed() == CloseFrame(1000)
