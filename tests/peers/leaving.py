"""Checks of E1, E4, E6, E12, E14, E20, E22, E24: leaving the block."""

from __future__ import annotations

import signal
from contextlib import suppress

import situations
import trio
import wire
from situations import scene
from trio.testing import wait_all_tasks_blocked

from peers.check import check, expect, fault, leaves, name, step, within
from peers.library import Library


@check("E1", "the server sends Close and keeps TCP open; the block is left")
async def _(library: Library) -> None:
    async with scene(situations.sends_and_listens(wire.close(1000))) as server:
        async with library.connect(server.url, close_timeout=0.5):
            await trio.sleep(0.3)
            step("leaving the block")
        frames = await server.seen()
    expect([frame.code for frame in frames] == [1000], "no Close sent")


@check("E1, receive", "the same, in receive()")
async def _(library: Library) -> None:
    async with scene(situations.sends_and_listens(wire.close(1000))) as server:
        async with library.connect(server.url, close_timeout=0.5) as ws:
            step("receive")
            with within(3, "receive hangs past close_timeout"), suppress(library.CLOSED):
                await library.receive(ws)
            step("leaving the block")
        await server.seen()


@check("E4", "aclose(999)")
async def _(library: Library) -> None:
    refused = False
    async with scene(situations.echoes_until_close) as server:
        async with library.connect(server.url) as ws:
            step("aclose")
            try:
                await library.close(ws, 999)
            except ValueError:
                refused = True
            expect(refused, "no error")
            step("leaving the block")
        code = await server.seen()
    expect(code != 999, "sends it")


@check("E6", "1000 unread messages, then the block is left")
async def _(library: Library) -> None:
    data = wire.text("x") * 1000
    async with scene(situations.sends_and_answers(data)) as server:
        async with library.connect(server.url) as ws:
            await library.receive(ws)
            step("leaving the block")
        await server.seen()


async def late_ping(library: Library, then: bytes) -> None:
    async with scene(situations.pings_after_close(then)) as server:
        try:
            async with library.connect(server.url):
                step("leaving the block")
        except BaseException as exc:
            fault(f"a bare {name(exc)}" if isinstance(exc, trio.Cancelled) else name(exc))
        frames = await server.seen()
    # RFC 6455 §5.5.1 forbids data after a Close; §5.5.2 even asks for the pong.
    expect(all(frame.opcode == wire.PONG for frame in frames), "sends after its Close")


@check("E12", "a ping arrives after our Close, then a Close")
async def _(library: Library) -> None:
    await late_ping(library, wire.close(1000))


@check("E12, deaf", "a ping arrives after our Close, and nothing more")
async def _(library: Library) -> None:
    await late_ping(library, b"")


async def group_of_one(library: Library) -> None:
    group = ExceptionGroup("the user's own", [ValueError("one")])
    async with scene(situations.echoes_until_close) as server:
        try:
            async with library.connect(server.url):
                raise group
        except Exception as exc:
            if exc is group.exceptions[0]:
                fault("unwrapped")
            elif exc is not group:
                fault(f"replaced by {name(exc)}")


@check("E14", "the body raises a group with one exception in it")
async def _(library: Library) -> None:
    await group_of_one(library)


@check("E14, loose", "the same, in trio.run(strict_exception_groups=False)", loose=True)
async def _(library: Library) -> None:
    await group_of_one(library)


@check("E20", "after an outer cancel the body says goodbye in a shielded scope")
async def _(library: Library) -> None:
    reply = None
    async with scene(situations.answers_goodbye) as server:
        with trio.CancelScope() as scope:
            async with library.connect(server.url) as ws:
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        step("goodbye")
                        with within(2, "the answer is never received"):
                            await library.send(ws, "goodbye")
                            reply = await library.receive(ws)
                    step("leaving the block")
        frames = await server.seen()
    expect(reply in (None, "farewell"), f"another answer: {reply}")
    expect(frames, "no Close sent")


@check("E20, aclose", "after an outer cancel the body calls aclose() in a shielded scope")
async def _(library: Library) -> None:
    async with scene(situations.echoes_until_close) as server:
        with trio.CancelScope() as scope:
            async with library.connect(server.url, close_timeout=5) as ws:
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        step("aclose")
                        start = trio.current_time()
                        await library.close(ws, 3000)
                        seconds = trio.current_time() - start
                        expect(seconds < 2, f"aclose waits {seconds:.0f} s for a Close that came")
                    step("leaving the block")
        expect(await server.seen() == 3000, "another Close sent")


@check("E22", "Ctrl-C in the block with a server that is deaf to Close")
async def _(library: Library) -> None:
    async def strike() -> None:
        await wait_all_tasks_blocked(0.1)
        trio.lowlevel.current_trio_token().run_sync_soon(signal.raise_signal, signal.SIGINT)

    listens = trio.Event()
    async with scene(situations.listens_from(listens)) as server, trio.open_nursery() as nursery:
        start = trio.current_time()
        try:
            async with library.connect(server.url, close_timeout=4) as ws:
                nursery.start_soon(strike)
                step("Ctrl-C")
                await library.receive(ws)
        except BaseException as exc:
            expect(type(exc) is KeyboardInterrupt, name(exc))
        seconds = trio.current_time() - start
        expect(seconds < 2, f"waits {seconds:.0f} s, the close timeout")


@check("E24", "the body's exception coincides with a bug in a background task")
async def _(library: Library) -> None:
    bug, mine = RuntimeError("a bug"), ValueError("mine")
    library.plant(bug)
    async with scene(situations.sends_and_answers(wire.text("hello"), asked=True)) as server:
        try:
            async with library.connect(server.url) as ws:
                step("a bug")
                await library.send(ws, "now")
                try:
                    with within(3, "the bug goes unnoticed"):
                        await trio.sleep_forever()
                finally:
                    raise mine
        except BaseException as exc:
            told = [exc, *leaves(exc), *leaves(exc.__cause__ or exc)]
            if isinstance(exc, AssertionError):
                fault("AssertionError")
            elif bug not in told or mine not in told:
                fault(f"{name(exc)} leaves")
                expect(bug in [*told, *leaves(exc.__context__ or exc)], "the bug is lost")
                expect(bug in told, "the bug is only in its context")
                expect(mine in told, "the body's exception is lost")
