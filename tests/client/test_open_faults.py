"""Leaving the block by Ctrl-C, or with a bug of ours (X1, X2)."""

from __future__ import annotations

import logging
import signal
import traceback

import pytest
import trio
import trio.testing
import wire
from scripted_server import (
    Peer,
    deaf,
    echo_script,
    loopback_server,
    memory_server,
)

from trio_wsclient import (
    IMPLEMENTATION,
    ConnectionClosedOK,
    ConnectionRejected,
    WebSocketClient,
    WebSocketInternalError,
    open_websocket_client,
    run_websocket_client,
)
from trio_wsclient._connection.closing import ClosingHandshake
from trio_wsclient._connection.connection import Connection
from trio_wsclient._protocol.reader import FrameReader


class Bug(Exception):
    """What a broken background task would raise."""


@pytest.fixture
def bug(monkeypatch):
    """A bug in the task that reads, as soon as something comes."""

    def broken(self: FrameReader) -> None:
        raise Bug

    monkeypatch.setattr(FrameReader, "read", broken)


async def speaks(peer: Peer) -> None:
    await peer.accept(behind=wire.text("hello"))
    await trio.sleep_forever()


@pytest.mark.usefixtures("bug")
async def test_x2_bug_is_an_internal_error_with_its_cause():
    async with memory_server(speaks) as stream:
        with pytest.raises(WebSocketInternalError) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                await trio.sleep_forever()
    assert pytest.RaisesGroup(Bug).matches(caught.value.__cause__)


@pytest.mark.usefixtures("bug")
@pytest.mark.parametrize("call", ["receive", "wait_closed"])
async def test_x2_bug_keeps_its_traceback(call):
    async with memory_server(speaks) as stream:
        with pytest.raises(WebSocketInternalError) as caught:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                await getattr(ws, call)()
    bug = caught.value.__cause__
    assert isinstance(bug, Bug)
    assert traceback.extract_tb(bug.__traceback__)[-1].name == "broken"


@pytest.mark.usefixtures("bug")
async def test_x1_bug_and_users_exception_are_both_kept():
    async with memory_server(speaks) as stream:
        with pytest.raises(WebSocketInternalError) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("mine")
    assert pytest.RaisesGroup(Bug, ValueError).matches(caught.value.__cause__)


@pytest.mark.parametrize("wrapped", [True, False])
def test_ctrl_c_in_the_block_leaves_bare_and_at_once(wrapped):
    async def main() -> None:
        async with memory_server(deaf) as stream:
            async with open_websocket_client("ws://server/", stream=stream) as ws:
                signal.raise_signal(signal.SIGINT)
                if wrapped:
                    await ws.receive()

    with pytest.RaisesGroup(KeyboardInterrupt):  # the group is memory_server's own nursery's
        trio.run(main)


@pytest.mark.parametrize("mine", [ValueError("mine"), WebSocketInternalError("mine")], ids=repr)
def test_ctrl_c_while_closing_is_not_swallowed_by_the_blocks_exception(mine):
    async def interrupts(peer: Peer) -> None:
        await peer.accept()
        await peer.expect_close()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    async def main() -> None:
        async with memory_server(interrupts) as stream:
            try:
                async with open_websocket_client("ws://server/", stream=stream):
                    raise mine
            except KeyboardInterrupt as exc:
                contexts.append(exc.__context__)
                raise

    contexts: list[BaseException | None] = []
    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert contexts == [mine]


async def test_system_exit_in_the_block_does_not_wait_for_the_server(autojump_clock):
    async def deaf(peer: Peer) -> None:
        await peer.accept()
        frames.append(await peer.next_frame())
        await trio.sleep_forever()

    frames: list[wire.ClientFrame | None] = []
    async with memory_server(deaf) as stream:
        started = trio.current_time()
        with pytest.raises(SystemExit):
            async with open_websocket_client("ws://server/", stream=stream):
                raise SystemExit(3)
        assert trio.current_time() == started
        await trio.testing.wait_all_tasks_blocked()
    assert [frame.code for frame in frames] == [1001]


async def test_system_exit_in_a_group_does_not_wait_for_the_server(autojump_clock):
    group = BaseExceptionGroup("of a nursery", [ValueError(), SystemExit(3)])
    async with memory_server(deaf) as stream:
        started = trio.current_time()
        with pytest.RaisesGroup(ValueError, SystemExit) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                raise group
        assert caught.value is group
        assert trio.current_time() == started


async def test_opening_and_end_are_logged_at_debug_only(caplog):
    async with memory_server(echo_script) as stream:
        with caplog.at_level("DEBUG", logger="trio_wsclient"):
            async with open_websocket_client("ws://me:secret@server/", stream=stream):
                pass
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    texts = [record.getMessage().partition("] ")[2] for record in caplog.records]
    assert texts == [
        "asking for ws://server/",
        f"open; extensions: none; declined: none; frames by {IMPLEMENTATION}",
        "over; received 1000 (normal closure), sent 1000 (normal closure)",
    ]


def test_ctrl_c_in_a_nursery_does_not_wait_for_the_server():
    async def main() -> None:
        async with memory_server(deaf) as stream:
            try:
                async with (
                    open_websocket_client("ws://server/", stream=stream),
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(trio.sleep_forever)
                    started = trio.current_time()
                    signal.raise_signal(signal.SIGINT)
            finally:
                assert trio.current_time() == started

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("refused", [True, False])
async def test_interrupt_that_is_handled_already_is_not_raised_again(refused):
    async def script(peer: Peer) -> None:
        if refused:
            await peer.read_request()
            await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            await echo_script(peer)

    async with loopback_server(script) as url:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if refused:
                with pytest.raises(ConnectionRejected):
                    async with open_websocket_client(url):
                        pytest.fail("it is not open")
            else:
                async with open_websocket_client(url) as ws:
                    await ws.aclose()
                assert isinstance(ws.outcome, ConnectionClosedOK)


async def test_interrupt_of_the_block_keeps_its_cause_and_traceback():
    async with loopback_server(echo_script) as url:
        error, cause = KeyboardInterrupt(), ValueError()
        with pytest.raises(KeyboardInterrupt) as caught:
            async with open_websocket_client(url):
                raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause
    assert [frame.filename for frame in traceback.extract_tb(error.__traceback__)] == [__file__]


def test_ctrl_c_breaks_a_busy_handler():
    async def busy(ws: WebSocketClient) -> None:
        signal.raise_signal(signal.SIGINT)
        ran_on.append(True)

    async def main() -> None:
        async with memory_server(deaf) as stream:
            await run_websocket_client("ws://server/", busy, stream=stream)

    ran_on: list[bool] = []
    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert ran_on == []


class GroupsItsCancels(trio.abc.Stream):
    """A user's stream with a nursery inside, which is cancelled in a group."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.shut = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.shut:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                raise BaseExceptionGroup("inside", [exc]) from None
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_stream_that_groups_its_cancels_does_not_corrupt_the_nursery(autojump_clock):
    async with memory_server(deaf) as stream:
        grouping = GroupsItsCancels(stream)
        with trio.move_on_after(1) as scope:
            async with open_websocket_client("ws://server/", stream=grouping):
                grouping.shut = True
        assert scope.cancelled_caught


async def test_stream_that_raises_a_group_on_close_is_closed():
    class RaisesGroup(GroupsItsCancels):
        async def aclose(self) -> None:
            await super().aclose()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                raise BaseExceptionGroup("inside", [exc, ValueError()]) from None

    async with memory_server(deaf) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client("ws://server/", stream=RaisesGroup(stream)):
                scope.cancel()
        assert scope.cancel_called


@pytest.mark.parametrize("closes", [True, False])
async def test_error_while_leaving_is_our_bug_and_leaves_the_nursery(closes, monkeypatch):
    async def broken(self: Connection, code: int) -> None:
        if closes:
            await self.close_nowait()
        raise Bug

    monkeypatch.setattr(Connection, "close", broken)
    async with memory_server(deaf) as stream:
        with pytest.raises(WebSocketInternalError) as caught:
            async with open_websocket_client("ws://server/", stream=stream):
                pass
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
    assert pytest.RaisesGroup(Bug).matches(caught.value.__cause__)


async def test_bug_in_closing_the_stream_does_not_hang_the_exit(monkeypatch):
    def broken(self: ClosingHandshake) -> None:
        raise Bug

    monkeypatch.setattr(ClosingHandshake, "note_end", broken)
    async with memory_server(deaf) as stream:
        with pytest.raises(WebSocketInternalError) as caught, trio.fail_after(5):
            async with open_websocket_client("ws://server/", stream=stream):
                pass
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
    # It has struck again, where the first one was noted.
    assert pytest.RaisesGroup(Bug, Bug).matches(caught.value.__cause__)


async def test_error_of_a_log_filter_leaves_the_connection_alone():
    def broken(record: logging.LogRecord) -> bool:
        raise Bug

    logger = logging.getLogger("broken")
    logger.setLevel(1)
    logger.addFilter(broken)
    async with loopback_server(echo_script) as url:
        async with open_websocket_client(url, logger=logger) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"
