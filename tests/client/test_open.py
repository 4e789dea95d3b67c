"""Leaving the block: which exception leaves it, and that it is the user's own (X1, X2)."""

from __future__ import annotations

import traceback
from functools import partial

import pytest
import trio
import trio.testing
import wire
from scripted_server import OnlyClose, Peer, deaf, echo_script, memory_server

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    WebSocketClient,
    open_websocket_client,
    run_websocket_client,
)


async def test_x1_exception_of_the_block_leaves_without_our_frames():
    server = OnlyClose()
    async with memory_server(server) as stream:
        error, context = ValueError("mine"), KeyError("before")
        with pytest.raises(ValueError, match="mine") as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                try:
                    raise context
                except KeyError:
                    raise error  # noqa: B904 the implicit context is what is looked at
    assert caught.value is error
    assert error.__context__ is context
    assert error.__cause__ is None
    assert not error.__suppress_context__
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert files == [__file__]
    assert server.code == 1011


@pytest.mark.parametrize("count", [1, 2])
async def test_x1_users_own_group_leaves_as_it_is(count):
    group = ExceptionGroup("mine", [ValueError(str(n)) for n in range(count)])
    async with memory_server(OnlyClose()) as stream:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                raise group
    assert caught.value is group


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(2), RuntimeError("x")])
async def test_x1_special_exceptions_leave_as_they_are(error):
    async def body() -> None:
        async with open_websocket_client("ws://server/", stream=stream):
            raise error

    async with memory_server(OnlyClose()) as stream:
        coroutine = body()
        if isinstance(error, StopIteration):  # A coroutine can't raise that (PEP 479).
            with pytest.raises(RuntimeError) as caught:
                await coroutine
            assert caught.value.__cause__ is error
        else:
            with pytest.raises(type(error)) as caught:
                await coroutine
            assert caught.value is error


async def test_blocks_exception_is_not_lost_if_closing_is_cancelled(autojump_clock):
    error = ValueError("mine")
    async with memory_server(deaf) as stream:
        with trio.move_on_after(1) as scope, pytest.raises(ValueError, match="mine") as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                raise error
    assert caught.value is error
    assert scope.cancel_called


async def test_cancelling_the_closing_closes_at_once(autojump_clock):
    async with memory_server(deaf) as stream:
        started = trio.current_time()
        with trio.move_on_after(1) as scope:
            async with open_websocket_client("ws://server/", stream=stream):
                pass
    assert scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(1)


async def test_each_task_that_uses_a_cancelled_block_raises_its_own_cancellation(autojump_clock):
    outcomes = []

    async def consumer(ws: WebSocketClient) -> None:
        try:
            await ws.receive()
        except BaseException as exc:
            outcomes.append(type(exc))
            raise

    async with memory_server(OnlyClose()) as stream:
        with trio.move_on_after(1):
            async with (
                open_websocket_client("ws://server/", stream=stream) as ws,
                trio.open_nursery() as nursery,
            ):
                for _ in range(3):
                    nursery.start_soon(consumer, ws)
    assert outcomes == [trio.Cancelled] * 3


async def test_unnoticed_end_is_no_error_of_the_block():
    async def ends(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    async with memory_server(ends) as stream:
        async with open_websocket_client("ws://server/", stream=stream) as ws:
            assert await ws.wait_closed() is None


class Bug(Exception):
    """What a broken background task would raise."""


async def test_run_returns_the_servers_close():
    async def closes(peer: Peer) -> None:
        await peer.accept(behind=wire.text("last words") + wire.close(1001, b"bye"))
        await peer.close_politely()

    async def handler(ws: WebSocketClient) -> None:
        messages.extend([message async for message in ws])

    messages: list[str | bytes] = []
    async with memory_server(closes) as stream:
        frame = await run_websocket_client("ws://server/", handler, stream=stream)
    assert frame == CloseFrame(1001, "bye")
    assert messages == ["last words"]


async def test_run_returns_none_if_no_close_came():
    async def ends(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    async def handler(ws: WebSocketClient) -> None:
        with pytest.raises(ConnectionClosedError):
            await ws.receive()

    async with memory_server(ends) as stream:
        assert await run_websocket_client("ws://server/", handler, stream=stream) is None


async def test_run_under_nursery_start_gives_the_client(nursery):
    async def handler(ws: WebSocketClient) -> None:
        await release.wait()

    release = trio.Event()
    async with memory_server(echo_script) as stream:
        run = partial(run_websocket_client, stream=stream)
        ws = await nursery.start(run, "ws://server/", handler)
        await ws.send("hello")
        assert await ws.receive() == "hello"
        release.set()
        assert await ws.wait_closed() == CloseFrame(1000, "")


async def test_exception_of_a_handler_leaves_run():
    async def handler(ws: WebSocketClient) -> None:
        raise ValueError("mine")

    server = OnlyClose()
    async with memory_server(server) as stream:
        with pytest.raises(ValueError, match="mine"):
            await run_websocket_client("ws://server/", handler, stream=stream)
    assert server.code == 1011
