"""A task beside a block: which exception leaves, whoever ends first, raises or is cancelled."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    background_task,
    open_websocket_client,
)
from trio_wsclient.testing import Peer, memory_websocket_pair, open_loopback_server

Side = Callable[[], Awaitable[None]]


class Sides:
    """The exceptions of a block and its task, and what each may do."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.block_error = kind("block")
        self.task_error = kind("task")
        self.cause = LookupError()
        self.block_error.__context__ = self.task_error.__context__ = self.cause
        self.outer = trio.CancelScope()

    async def returns(self) -> None: ...

    async def waits(self) -> None:
        await trio.sleep_forever()

    async def is_cancelled(self) -> None:
        self.outer.cancel()
        await trio.lowlevel.checkpoint()

    async def block_raises(self) -> None:
        await wait_all_tasks_blocked()
        raise_with_context(self.block_error)

    async def block_raises_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise_with_context(self.block_error)

    async def task_raises(self) -> None:
        raise_with_context(self.task_error)

    async def task_raises_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise_with_context(self.task_error)

    async def cancels(self) -> None:
        await wait_all_tasks_blocked()
        self.outer.cancel()

    async def cancels_and_raises(self) -> None:
        self.outer.cancel()
        raise_with_context(self.block_error)


def raise_with_context(error: BaseException) -> None:
    """Raise an exception with the context that it has."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


# What the block does, what the task does, and what leaves: parts of "block", "task", "cancel".
CASES = [
    ("returns", "returns", ""),
    ("returns", "waits", ""),
    ("waits", "task_raises", "task"),
    ("returns", "task_raises", "task"),
    ("block_raises", "returns", "block"),
    ("block_raises", "waits", "block"),
    ("block_raises", "task_raises_when_cancelled", "block task"),
    ("block_raises_when_cancelled", "task_raises", "block task"),
    ("is_cancelled", "waits", "cancel"),
    ("is_cancelled", "returns", "cancel"),
    ("is_cancelled", "task_raises_when_cancelled", "task"),
    ("waits", "is_cancelled", "cancel"),
    ("block_raises_when_cancelled", "is_cancelled", "block"),
    ("cancels", "waits", "cancel"),
    ("cancels_and_raises", "waits", "block"),
]


@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(("block", "task", "leaves"), CASES)
def test_exception_of_block_or_task_leaves_bare(block, task, leaves, kind, strict):
    sides = Sides(kind)
    ended = False

    async def main() -> None:
        nonlocal ended
        with sides.outer:
            async with background_task(getattr(sides, task)):
                await getattr(sides, block)()
            ended = True

    caught: BaseException | None = None
    try:
        trio.run(main, strict_exception_groups=strict)
    except BaseException as exc:
        caught = exc
    if leaves == "cancel":
        assert sides.outer.cancelled_caught
    else:
        assert not sides.outer.cancelled_caught
    errors = {"block": sides.block_error, "task": sides.task_error}
    expected = [errors[name] for name in leaves.split() if name in errors]
    assert ended is (leaves == "")
    if len(expected) == 2:
        assert isinstance(caught, BaseExceptionGroup)
        assert caught.message == "block and task"
        assert isinstance(caught, ExceptionGroup) is issubclass(kind, Exception)
        assert list(caught.exceptions) == expected
    else:
        assert [caught] == (expected or [None])
    for error in expected:
        assert error.__context__ is sides.cause
        assert error.__cause__ is None


async def test_block_that_ends_waits_for_the_task():
    ended = False

    async def slow() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            ended = True

    async with background_task(slow) as nothing:
        await wait_all_tasks_blocked()
    assert ended
    assert nothing is None


async def test_group_of_a_side_leaves_as_it_is():
    group = ExceptionGroup("mine", [ValueError()])

    async def raises() -> None:
        raise group

    with pytest.RaisesGroup(ValueError) as caught:
        async with background_task(raises):
            await trio.sleep_forever()
    assert caught.value is group
    with pytest.RaisesGroup(ValueError) as caught:
        async with background_task(trio.sleep_forever):
            await raises()
    assert caught.value is group
    assert group.__context__ is None


async def test_cancel_in_a_group_of_the_block_is_absorbed():
    error, own = ValueError(), KeyError()

    async def raises() -> None:
        raise error

    async def is_stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise own

    with pytest.RaisesGroup(pytest.RaisesGroup(KeyError), ValueError):
        async with background_task(raises), trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(is_stubborn)


async def test_nested_tasks_follow_the_same_rules():
    error = ValueError()

    async def raises() -> None:
        raise error

    for inner, outer in ((raises, trio.sleep_forever), (trio.sleep_forever, raises)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 it is the same object
            async with background_task(outer), background_task(inner):
                await trio.sleep_forever()
        assert caught.value is error
        assert error.__context__ is None


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent in another way")
def test_ctrl_c_ends_task_and_block():
    async def loops() -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    async def in_the_task() -> None:
        async with background_task(loops):
            await trio.sleep_forever()

    async def in_the_block() -> None:
        async with background_task(trio.sleep_forever):
            await loops()

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    async def while_leaving() -> None:
        async def strikes() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    interrupt()
                    await wait_all_tasks_blocked()

        async with background_task(strikes):
            await wait_all_tasks_blocked()
        await trio.lowlevel.checkpoint()

    async def at_the_end_of_the_block() -> None:
        async with background_task(trio.sleep_forever):
            await wait_all_tasks_blocked()
            interrupt()
        raise AssertionError

    for main in (in_the_task, in_the_block, while_leaving, at_the_end_of_the_block):
        with pytest.raises(KeyboardInterrupt) as caught:
            trio.run(main)
        assert caught.value.__context__ is None


async def test_ends_of_one_connection_are_one(autojump_clock):
    async with memory_websocket_pair() as (ws, peer), memory_websocket_pair() as (other, _):

        async def read(one) -> None:
            await one.receive()

        await peer.send_close(4000)
        with pytest.raises(ConnectionClosedError) as caught:
            async with background_task(read, ws):
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await ws.send("too late")
        assert caught.value.connection_id == ws.connection_id
        await other.aclose()
        with pytest.RaisesGroup(ConnectionClosedOK, ConnectionClosedError):
            async with background_task(read, ws):
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await other.send("too late")


async def test_block_is_entered_once():
    block = background_task(trio.sleep_forever)
    async with block:
        with pytest.raises(RuntimeError, match="entered already"):
            await block.__aenter__()
    with pytest.raises(RuntimeError, match="entered already"):
        await block.__aenter__()


async def test_wrong_functions_are_type_errors():
    async def function() -> None: ...

    for wrong, told in (
        (function(), "fn has to be a function: pass 'function', not 'function(...)'"),
        (None, "fn has to be an async function, not NoneType"),
    ):
        with pytest.raises(TypeError) as caught:
            background_task(wrong)
        assert str(caught.value) == told
    with pytest.raises(TypeError) as caught:
        async with background_task(list):
            await trio.sleep_forever()
    assert str(caught.value) == "fn has to be async: list returned list, which can't be awaited"


@pytest.mark.usefixtures("_collector_off")
async def test_background_task_leaves_no_garbage():
    async def raises() -> None:
        raise ValueError

    async def use() -> None:
        try:
            async with background_task(raises):
                await trio.sleep_forever()
        except ValueError:
            pass

    await use()
    gc.collect()
    await use()
    assert gc.collect() == 0


async def test_request_that_waits_raises_the_end_alone():
    async def serve(peer: Peer) -> None:
        await peer.receive()
        await peer.close(4001, "expired")

    ended: list[ConnectionClosed] = []
    over = trio.Event()

    async def read(ws) -> None:
        try:
            async for _ in ws:
                pass
        except ConnectionClosed as exc:
            ended.append(exc)
        over.set()

    async with open_loopback_server(serve) as server:
        with pytest.raises(ConnectionClosedError) as caught:
            async with open_websocket_client(server.url) as ws, background_task(read, ws):
                await ws.send("request")
                await over.wait()
                raise ended[0]
    assert (caught.value.code, caught.value.reason) == (4001, "expired")
