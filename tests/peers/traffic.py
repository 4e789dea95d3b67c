"""Checks of E2, E3, E7 to E10, E17, E21, E23: an open connection."""

from __future__ import annotations

from contextlib import suppress

import situations
import trio
import wire
from situations import Heartbeat, scene
from trio.testing import wait_all_tasks_blocked

from peers.check import check, expect, fault, name, step, within
from peers.library import Library

MIB = 2**20


async def ping_of_vanished(library: Library, how) -> None:
    async with scene(situations.vanishes_on_ping(how)) as server:
        async with library.connect(server.url) as ws:
            step("ping")
            with within(3, "ping hangs"):
                try:
                    await library.ping(ws)
                except library.CLOSED:
                    pass
                else:
                    fault("ping returns as if there had been a pong")
            step("leaving the block")


@check("E2, end", "the server ends TCP during ping()")
async def _(library: Library) -> None:
    await ping_of_vanished(library, situations.end)


@check("E2, reset", "the server resets TCP during ping()")
async def _(library: Library) -> None:
    await ping_of_vanished(library, situations.reset)


async def wrong(library: Library, data: bytes, code: int) -> None:
    opened = []  # so that what has leaked is not collected
    async with scene(situations.sends_and_listens(data)) as server:
        with within(5, "leaving hangs past close_timeout"):
            async with library.connect(server.url, max_message_size=1000, close_timeout=0.5) as ws:
                opened.append(ws)
                step("receive")
                with within(2, "receive hangs past close_timeout"):
                    with suppress(library.CLOSED):
                        await library.receive(ws)
                        fault("received")
                step("leaving the block")
        step("closing the socket")
        frames = None
        with within(1, "the socket leaks, even after a cancel"):
            frames = await server.seen()
        if frames is not None:
            codes = [frame.code for frame in frames if frame.opcode == wire.CLOSE]
            expect(codes, "no Close sent")
            expect(codes in ([], [code]), f"sends Close {codes}")


@check("E3", "a message over the limit, TCP stays open")
async def _(library: Library) -> None:
    await wrong(library, wire.binary(bytes(2000)), 1009)


@check("E9, opcode", "a reserved opcode, TCP stays open")
async def _(library: Library) -> None:
    await wrong(library, wire.frame(3, b"x"), 1002)


@check("E9, UTF-8", "text that is not UTF-8, TCP stays open")
async def _(library: Library) -> None:
    await wrong(library, wire.frame(wire.TEXT, b"\xff"), 1007)


@check("E7", "a consumer slower than the ping timeout", bound=15)
async def _(library: Library) -> None:
    data = wire.binary(bytes(30_000)) * 100
    async with (
        scene(situations.sends_and_answers(data)) as server,
        library.connect(server.url, keepalive=(0.2, 0.8)) as ws,
    ):
        step("receive, a while later")
        try:
            await library.receive(ws)
            await trio.sleep(2.5)
            for _ in range(99):
                await library.receive(ws)
        except library.CLOSED as exc:
            fault(f"a healthy server is dropped: {exc}")
        step("leaving the block")


@check("E8", "a blocked send is cancelled, then send again")
async def _(library: Library) -> None:
    may_read = trio.Event()
    accepted = False
    async with scene(situations.listens_from(may_read)) as server:
        try:
            async with library.connect(server.url) as ws:
                step("a blocked send")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(library.send, ws, bytes(32 * MIB))
                    await wait_all_tasks_blocked(0.2)
                    nursery.cancel_scope.cancel()
                may_read.set()
                step("another send")
                await library.send(ws, "again")
                accepted = True
                step("leaving the block")
        except library.CLOSED:
            pass
        except Exception as exc:
            fault(name(exc))
        arrived = wire.ClientFrameReader().feed(await server.seen())
    frame = wire.ClientFrame(wire.TEXT, b"again")
    expect(not accepted or frame in arrived, "accepted, lost inside the torn frame")


async def both_ways(library: Library, *, pings: bool) -> None:
    size = 8 * MIB

    async def receive_all() -> None:
        received = 0
        while received < size:
            received += len(await library.receive(ws))

    async def send_all() -> None:
        for _ in range(8):
            await library.send(ws, bytes(MIB))

    async with scene(situations.writes_before_it_reads(size, 65_536, pings=pings)) as server:
        async with (
            library.connect(server.url, close_timeout=5) as ws,
            trio.open_nursery() as nursery,
        ):
            step("8 MB each way")
            nursery.start_soon(receive_all)
            nursery.start_soon(send_all)
            if pings:
                nursery.start_soon(library.ping, ws)
        expect(await server.seen() == size, "not all arrived")


@check("E10", "8 MB each way, a server that writes before it reads")
async def _(library: Library) -> None:
    await both_ways(library, pings=False)


@check("E10, pings", "8 MB each way, a server that writes before it reads, with pings")
async def _(library: Library) -> None:
    await both_ways(library, pings=True)


async def burst(library: Library, *, connections: int = 1, received: bool = True) -> None:
    heartbeat = Heartbeat()
    frame = wire.text("")
    script = situations.bursts(frame, MIB // len(frame) // connections)

    async def take() -> None:
        async with scene(script) as server, library.connect(server.url) as ws:
            step("a burst")
            with trio.CancelScope() if received else trio.move_on_after(2):
                with suppress(library.CLOSED):
                    while received:
                        await library.receive(ws)
                    await trio.sleep_forever()
            step("leaving the block")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heartbeat.beat)
        # A limit, as leaving after the burst is another matter (E6).
        with trio.move_on_after(80 if received else 4):
            async with trio.open_nursery() as takers:
                for _ in range(connections):
                    takers.start_soon(take)
        nursery.cancel_scope.cancel()
    expect(heartbeat.worst < 0.1, f"other tasks starve for {heartbeat.worst:.2f} s")


@check("E17, received", "1 MB of tiny messages, received", bound=90)
async def _(library: Library) -> None:
    await burst(library)


@check("E17, four", "1 MB of tiny messages, received on four connections at once", bound=90)
async def _(library: Library) -> None:
    await burst(library, connections=4)


@check("E17, unread", "1 MB of tiny messages, nobody receives")
async def _(library: Library) -> None:
    await burst(library, received=False)


@check("E21", "a message of 1 MB in 1000 fragments, then another")
async def _(library: Library) -> None:
    first = wire.binary(bytes(1000), fin=False)
    middle = wire.continuation(bytes(1000), fin=False)
    data = first + middle * 998 + wire.continuation(bytes(1000)) + wire.text("next")
    async with (
        scene(situations.sends_and_answers(data)) as server,
        library.connect(server.url) as ws,
    ):
        step("receive")
        expect(len(await library.receive(ws)) == 1_000_000, "not all received")
        expect(await library.receive(ws) == "next", "another message is received")
        step("leaving the block")


@check("E23", "a vanished server, under a trickle of small sends")
async def _(library: Library) -> None:
    async with scene(situations.listens_from(trio.Event())) as server:
        start = trio.current_time()
        with suppress(library.CLOSED), trio.move_on_after(6):
            async with library.connect(server.url, keepalive=(0.2, 0.5)) as ws:
                step("sending")
                while trio.current_time() - start < 5:
                    await library.send(ws, "x")
                    await trio.sleep(0.01)
        seconds = trio.current_time() - start
    expect(seconds < 3, f"not found in {seconds:.0f} s")
