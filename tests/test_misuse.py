"""Programs that use the library in a wrong way: each error says what to do instead."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest
import trio
from scripted_server import OnlyClose, echo_script, loopback_server, memory_server

from trio_wsclient import (
    WebSocketClient,
    open_websocket_client,
    reconnecting,
    run_websocket_client,
)
from trio_wsclient._misuse import _IN_OTHER_LIBRARIES

URL = "ws://server.example/"
BLOCK = "async with open_websocket_client(...) as ws"


def block() -> object:
    return open_websocket_client(URL)


async def connection() -> object:
    return await anext(reconnecting(URL))


# Without `async with`


async def test_await_of_a_block_says_how_to_enter_it():
    with pytest.raises(TypeError, match=re.escape(f"use '{BLOCK}', not 'await open_")):
        await block()


def test_with_says_to_write_async_with():
    with pytest.raises(TypeError, match=re.escape(f"use '{BLOCK}', not 'with open_")):
        with block():
            pytest.fail("it is entered")


def test_exit_without_enter_is_not_reached():
    with pytest.raises(AssertionError):
        block().__exit__(None, None, None)


async def test_async_for_over_a_block_says_how_to_enter_it():
    with pytest.raises(TypeError, match=re.escape(f"use '{BLOCK}', and then 'async for")):
        async for _ in block():
            pytest.fail("there is a message")


def test_method_of_a_block_says_how_to_enter_it():
    with pytest.raises(AttributeError, match=re.escape(f"use '{BLOCK}', and then 'ws.send'")):
        block().send("hello")
    assert not hasattr(block(), "_private")
    assert not hasattr(block(), "__len__")


async def test_loop_says_how_to_use_it():
    for use in (iter, lambda loop: loop.__await__()):
        with pytest.raises(TypeError, match=re.escape("use 'async for connection in reconnect")):
            use(reconnecting(URL))
    with pytest.raises(TypeError, match=r"and then 'async with connection as ws'"):
        await reconnecting(URL).__aenter__()
    with pytest.raises(AssertionError):
        await reconnecting(URL).__aexit__(None, None, None)


async def test_connection_of_a_loop_says_how_to_enter_it():
    with pytest.raises(AttributeError, match=r"use 'async with connection as ws', and then 'ws.s"):
        (await connection()).send("hello")
    with pytest.raises(TypeError, match="use 'async with connection as ws', not 'await connect"):
        await (await connection())


def test_method_of_another_library_leads_to_ours():
    with pytest.raises(AttributeError, match=r"and then 'ws\.receive'"):
        block().recv()


@pytest.mark.parametrize(("name", "ours"), _IN_OTHER_LIBRARIES.items())
def test_attribute_of_another_library_leads_to_ours(name: str, ours: str):
    assert not hasattr(WebSocketClient, name)
    assert hasattr(WebSocketClient, ours)


# Under asyncio


async def enter(thing) -> None:
    async with thing:
        pytest.fail("it is entered")


async def iterate() -> None:
    async for _ in reconnecting(URL):
        pytest.fail("there is a connection")


async def run() -> None:
    await run_websocket_client(URL, print)


@pytest.mark.parametrize("program", [lambda: enter(block()), iterate, run])
def test_use_under_asyncio_says_that_trio_is_needed(program):
    with pytest.raises(RuntimeError, match=r"needs Trio: start the program by trio.run"):
        asyncio.run(program())


# Handlers


async def test_coroutine_object_is_no_handler():
    async def handler(ws) -> None:
        pytest.fail("it is called")

    with pytest.raises(TypeError, match=re.escape("pass 'handler', not 'handler(...)'")):
        await run_websocket_client(URL, handler(None))
    gc.collect()  # There is no warning that it was never awaited.


@pytest.mark.parametrize("handler", [None, "handler", 5])
async def test_handler_has_to_be_a_function(handler):
    kind = type(handler).__name__
    with pytest.raises(TypeError, match=f"handler has to be an async function, not {kind}"):
        await run_websocket_client(URL, handler)


def sync(_ws) -> int:
    return 5


async def generator(_ws):
    yield


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (sync, "sync returned int"),
        (functools.partial(sync), "handler returned int"),
        (generator, "generator returned async_generator"),
    ],
    ids=["sync", "partial", "generator"],
)
async def test_handler_has_to_be_async(handler, said: str):
    script = OnlyClose()
    async with memory_server(script) as stream:
        with pytest.raises(TypeError, match=f"handler has to be async: {said}, which can't be"):
            await run_websocket_client(URL, handler, stream=stream)
        await trio.testing.wait_all_tasks_blocked()
    assert script.code == 1011


# An abandoned async generator


async def test_block_that_another_task_leaves_is_closed_and_says_so():
    async def enter_it() -> None:
        await held.__aenter__()
        entered.set()
        await trio.sleep_forever()

    entered = trio.Event()
    async with loopback_server(echo_script) as url:
        held = open_websocket_client(url)
        # The nursery of the block is never left. Later versions of Trio report that, at the end of
        # the task that entered the block.
        with suppress(ExceptionGroup):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enter_it)
                await entered.wait()
                with pytest.raises(RuntimeError, match="another task leaves this block"):
                    await held.__aexit__(None, None, None)
                nursery.cancel_scope.cancel()


async def test_connection_works_after_the_task_that_entered_its_block_has_ended():
    """Trio takes no more tasks into its nursery, so the reply task can't be started there."""

    async def enter_it() -> None:
        nonlocal ws
        ws = await held.__aenter__()
        entered.set()

    ws: WebSocketClient
    entered = trio.Event()
    async with loopback_server(echo_script) as url:
        held = open_websocket_client(url)
        with suppress(ExceptionGroup):  # as above
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enter_it)
                await entered.wait()
        await ws.ping()
        await ws.send("hello")
        assert await ws.receive() == "hello"
        with pytest.raises(RuntimeError, match="another task leaves this block"):
            await held.__aexit__(None, None, None)


@pytest.mark.slow
def test_abandoned_generator_is_not_called_our_bug():
    program = """
        import gc, trio
        from trio_wsclient import open_websocket_client
        from trio_wsclient.testing import echo, open_loopback_server

        async def messages(url):
            async with open_websocket_client(url, close_timeout=1) as ws:
                while True:
                    await ws.send("hello")
                    yield await ws.receive()

        async def main():
            async with open_loopback_server(echo) as server:
                async for message in messages(server.url):
                    break
                gc.collect()
                await trio.sleep(0.1)
                print("survived")

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "contextlib.aclosing" in done.stderr
    assert "please report" not in done.stderr
    assert "TrioInternalError" not in done.stderr
    assert done.stdout == "survived\n"
