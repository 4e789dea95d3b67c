"""E20, E22, E24, E47: a block that is cancelled, interrupted, or struck by a bug."""

from __future__ import annotations

import signal
from functools import partial

import pytest
import situations
import trio
import wire
from recorder import Recorder, opened
from scripted_server import memory_server
from situations import scene
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    WebSocketInternalError,
    open_websocket_client,
)
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._protocol.protocol import Protocol

BOUND = 10  # seconds for what takes a fraction of one
MIB = 2**20


# E20


async def test_e20_cancelled_body_sends_in_a_shielded_scope():
    reply = None
    with trio.fail_after(BOUND):
        async with scene(situations.answers_goodbye) as server:
            with trio.CancelScope() as scope:
                async with open_websocket_client(server.url, close_timeout=60) as ws:
                    scope.cancel()
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.fail_after(BOUND, shield=True):
                            await ws.send("goodbye")
                            reply = await ws.receive()
            assert [frame.code for frame in await server.seen()] == [1001]
    assert scope.cancelled_caught
    assert reply == "farewell"


async def test_e20_cancelled_body_closes_in_a_shielded_scope():
    with trio.fail_after(BOUND):
        async with scene(situations.echoes_until_close) as server:
            with trio.CancelScope() as scope:
                async with open_websocket_client(server.url, close_timeout=60) as ws:
                    scope.cancel()
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.fail_after(BOUND, shield=True):
                            await ws.aclose(3000, "goodbye")
            assert await server.seen() == 3000
    assert await ws.wait_closed() == CloseFrame(3000, "goodbye")


async def test_e20_shielded_aclose_is_bounded_too():
    listens = trio.Event()
    with trio.fail_after(BOUND):
        async with scene(situations.listens_from(listens)) as server:
            with trio.CancelScope() as scope:
                async with open_websocket_client(server.url, close_timeout=0.3) as ws:
                    scope.cancel()
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.fail_after(BOUND, shield=True):
                            await ws.aclose()
            listens.set()
            [goodbye] = wire.ClientFrameReader().feed(await server.seen())
    assert goodbye.code == 1000


# E22


async def in_its_own_code(ws):
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()


async def in_receive(ws):
    await ws.receive()


async def in_send(ws):
    await ws.send(bytes(64 * MIB))  # more than loopback TCP buffers


async def in_ping(ws):
    await ws.ping()


async def in_aclose(ws):
    await ws.aclose()


async def in_leaving(ws):
    pass


@pytest.fixture
def ctrl_c():
    """Let SIGINT raise `KeyboardInterrupt`: it doesn't where the tests run in the background."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


async def strike(struck):
    # Strike as Ctrl-C does, while Trio waits for I/O.
    await wait_all_tasks_blocked(0.05)
    if not struck.is_set():
        trio.lowlevel.current_trio_token().run_sync_soon(signal.raise_signal, signal.SIGINT)


@pytest.mark.parametrize(
    "where",
    [in_its_own_code, in_receive, in_send, in_ping, in_aclose, in_leaving],
    ids=lambda where: where.__name__,
)
def test_e22_ctrl_c_ends_the_block_at_once(where, ctrl_c):
    """The server never answers. The test is not async: Ctrl-C strikes the main task of the run."""
    elapsed = None

    async def main():
        nonlocal elapsed
        struck, listens = trio.Event(), trio.Event()
        async with (
            scene(situations.listens_from(listens)) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(strike, struck)
            with pytest.raises(KeyboardInterrupt) as caught:
                async with open_websocket_client(server.url, close_timeout=60) as ws:
                    start = trio.current_time()
                    await where(ws)
            elapsed = trio.current_time() - start
            struck.set()
            assert type(caught.value) is KeyboardInterrupt
            listens.set()
            await server.seen()

    async def bounded():
        with trio.fail_after(90):
            await main()

    trio.run(bounded)
    assert elapsed is not None
    assert elapsed < BOUND


# E24


@pytest.fixture
def bug(monkeypatch):
    """A bug in reading, which shows when the first message comes."""
    bug = RuntimeError("a bug")

    def buggy(*args):
        raise bug

    monkeypatch.setattr(ReceiveQueue, "put_batch", buggy)
    monkeypatch.setattr(ReceiveQueue, "pass_message", buggy)
    return bug


async def test_e24_bug_joins_the_exception_of_the_block(bug):
    """The group of the error has both."""
    mine = ValueError("mine")
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.text("hello"))) as server:
            with pytest.raises(WebSocketInternalError) as caught:
                async with open_websocket_client(server.url, close_timeout=60):
                    try:
                        await trio.sleep_forever()  # until the bug cancels it
                    finally:
                        raise mine
            await server.seen()
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug, mine)


async def test_e24_bug_alone_is_in_the_group(bug):
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.text("hello"))) as server:
            with pytest.raises(WebSocketInternalError) as caught:
                async with open_websocket_client(server.url, close_timeout=60):
                    await trio.sleep_forever()
            await server.seen()
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug,)


async def test_e24_exception_leaves_alone_without_a_bug():
    mine = ValueError("mine")
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.text("hello"))) as server:
            with pytest.raises(ValueError, match="mine") as caught:
                async with open_websocket_client(server.url, close_timeout=0.3) as ws:
                    assert await ws.receive() == "hello"
                    raise mine
            await server.seen()
    assert caught.value is mine


async def test_e24_connection_error_is_no_bug():
    async def script(peer):
        await peer.accept()
        await situations.reset(peer)

    mine = ValueError("mine")
    with trio.fail_after(BOUND):
        async with scene(script) as server:
            with pytest.raises(ValueError, match="mine") as caught:
                async with open_websocket_client(server.url) as ws:
                    with pytest.raises(ConnectionClosedError):
                        await ws.receive()
                    raise mine
    assert caught.value is mine


async def test_e24_shielded_aclose_ends_after_a_bug(monkeypatch):
    """The bug is in the reply task."""
    bug = RuntimeError("a bug")

    def buggy(self, payload):
        raise bug

    monkeypatch.setattr(Protocol, "send_pong", buggy)
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.ping())) as server:
            with pytest.raises(WebSocketInternalError) as caught:
                async with open_websocket_client(server.url, close_timeout=0.3) as ws:
                    try:
                        await trio.sleep_forever()  # until the bug cancels it
                    finally:
                        with (
                            trio.fail_after(BOUND, shield=True),
                            pytest.raises(WebSocketInternalError),
                        ):
                            await ws.aclose()
            await server.seen()
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug,)


# E47


async def test_e47_bug_in_the_readers_own_task_is_an_internal_error(bug):
    """Every waiting and later call raises it, and leaving, too."""

    async def expect(call) -> None:
        with pytest.raises(WebSocketInternalError) as caught:
            await call()
        assert caught.value.__cause__ is bug
        struck.append(caught.value)

    struck = []
    with trio.fail_after(BOUND):
        async with scene(situations.listens_and_sends(wire.text("hello"))) as server:
            with pytest.raises(WebSocketInternalError) as left:
                async with open_websocket_client(server.url, close_timeout=60) as ws:
                    with trio.CancelScope(shield=True):  # A bug cancels the block.
                        async with trio.open_nursery() as nursery:
                            for call in (ws.receive, ws.receive, ws.ping, ws.wait_closed):
                                nursery.start_soon(expect, call)
                            await wait_all_tasks_blocked()
                            await ws.send("go")
                        for call in (ws.receive, ws.ping, partial(ws.send, "x")):
                            await expect(call)
            await server.seen()
    assert len(struck) == 7
    group = left.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug,)


async def test_e47_internal_error_that_leaves_already_is_not_raised_twice(bug):
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(wire.text("hello"))) as server:
            with pytest.raises(WebSocketInternalError) as left:
                async with open_websocket_client(server.url, close_timeout=60) as ws:
                    await ws.receive()
            await server.seen()
    assert left.value.__cause__ is bug


@pytest.mark.parametrize("has_ponged", [False, True], ids=["the task", "the reply task"])
async def test_e47_bug_in_closing_is_an_internal_error(has_ponged, autojump_clock):
    """The task that closes does the work of the reply task, unless that runs already."""

    def buggy() -> None:
        raise bug

    bug = RuntimeError("a bug")
    server = Recorder()
    async with memory_server(server) as stream:
        with trio.fail_after(60), pytest.raises(WebSocketInternalError) as left:
            async with open_websocket_client("ws://x/", stream=stream) as ws:
                await wait_all_tasks_blocked()
                if has_ponged:
                    await server.peer.send(wire.ping())
                    await wait_all_tasks_blocked()
                ws._connection.replies.take = buggy
                with trio.CancelScope(shield=True):  # A bug cancels the block.
                    for call in (ws.aclose, ws.receive, partial(ws.send, "x"), ws.aclose):
                        with pytest.raises(WebSocketInternalError) as caught:
                            await call()
                        assert caught.value.__cause__ is bug
    assert isinstance(left.value.__cause__, ExceptionGroup)
    assert left.value.__cause__.exceptions == (bug,)


@pytest.mark.parametrize("where", ["read_step", "send_pong", "request_ping"])
async def test_e47_bug_of_a_background_task_is_an_internal_error(where, autojump_clock):
    """It strikes the background reader, the reply task, or the keepalive."""

    async def expect(call) -> None:
        with pytest.raises(WebSocketInternalError) as caught:
            await call()
        assert caught.value.__cause__ is bug
        struck.append(caught.value)

    def buggy(*_: object) -> None:
        raise bug

    bug, struck = RuntimeError("a bug"), []
    server = Recorder()
    async with memory_server(server) as stream:
        with pytest.raises(WebSocketInternalError) as left:
            async with open_websocket_client("ws://x/", stream=stream, ping_interval=20) as ws:
                await wait_all_tasks_blocked()
                connection = ws._connection
                parts = {"read_step": connection.stream_reader, "send_pong": connection.protocol}
                setattr(parts.get(where, connection), where, buggy)
                with trio.fail_after(60, shield=True):  # A bug cancels the block.
                    async with trio.open_nursery() as nursery:
                        for call in (ws.receive, ws.receive, ws.ping, ws.wait_closed):
                            nursery.start_soon(expect, call)
                        await wait_all_tasks_blocked()
                        if where != "request_ping":
                            await server.peer.send(wire.ping())  # The next step follows.
                    for call in (ws.receive, ws.ping, partial(ws.send, "x")):
                        await expect(call)
    assert len(struck) == 7
    group = left.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug,)


async def test_e47_bug_after_the_end_of_reading_leaves_the_block():
    """It strikes the reply task, when the receive task has ended already."""

    async def fail_once() -> None:
        connection.writer.write_replies = write_replies
        raise bug

    bug = RuntimeError("a bug")
    server = Recorder()
    async with memory_server(server) as stream:
        with pytest.raises(WebSocketInternalError) as left:
            async with open_websocket_client("ws://x/", stream=stream) as ws:
                await wait_all_tasks_blocked()
                connection = ws._connection
                write_replies = connection.writer.write_replies
                connection.writer.write_replies = fail_once
                await server.peer.stream.aclose()
                await wait_all_tasks_blocked()
    group = left.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (bug,)


async def test_e47_first_bug_is_the_one_that_is_raised():
    first, second = RuntimeError("a bug"), RuntimeError("what follows from it")
    async with memory_server(Recorder()) as stream:
        with pytest.raises(WebSocketInternalError) as left:
            async with open_websocket_client("ws://x/", stream=stream) as ws:
                for bug in (first, second):
                    ws._connection.closing.note_bug(bug)
                with trio.CancelScope(shield=True):  # A bug cancels the block.
                    with pytest.raises(WebSocketInternalError) as caught:
                        await ws.receive()
                assert caught.value.__cause__ is first
    group = left.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (first,)


async def test_e47_error_in_taking_a_message_leaves_the_waiting_call(monkeypatch, autojump_clock):
    """The other receiver takes the message, and the connection goes on."""
    take_message = ReceiveQueue.take_message
    errors = [MemoryError("no room to join it")]

    def fail_once(queue: ReceiveQueue) -> str | bytes:
        if errors:
            raise errors.pop()
        return take_message(queue)

    async def receive() -> None:
        try:
            results.append(await ws.receive())
        except MemoryError as exc:
            results.append(str(exc))

    monkeypatch.setattr(ReceiveQueue, "take_message", fail_once)
    server, results = Recorder(), []
    async with opened(server) as (ws, _):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await server.peer.send(wire.text("one"))
        await server.peer.send(wire.text("two"))
        assert await ws.receive() == "two"
    assert sorted(results) == ["no room to join it", "one"]
