"""E2, E3, E7 to E10, E17, E21, E23: an open connection in situations that break other clients.

All of E1 to E24 are on real TCP. The bounds allow for a slow and busy machine: they catch a wait
that would never end, or would last until a timeout.
"""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
import situations
import trio
import wire
from situations import Heartbeat, scene
from trio.testing import wait_all_tasks_blocked

import trio_wsclient
from trio_wsclient import ConnectionClosedError, ConnectionClosedOK, open_websocket_client

BOUND = 10  # seconds for what takes a fraction of one
MIB = 2**20


@pytest.mark.parametrize("how", [situations.end, situations.reset])
async def test_e2_ping_raises_when_the_server_vanishes(how):
    with trio.fail_after(BOUND):
        async with (
            scene(situations.vanishes_on_ping(how)) as server,
            open_websocket_client(server.url, close_timeout=60) as ws,
        ):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.ping()
            assert caught.value.code == 1006


async def test_e2_ping_raises_when_the_server_falls_silent():
    with trio.fail_after(BOUND):
        async with (
            scene(situations.listens_from(trio.Event())) as server,
            open_websocket_client(server.url, ping_interval=0.1, ping_timeout=0.3) as ws,
        ):
            with pytest.raises(ConnectionClosedError, match=r"nothing received for 0\.3 s"):
                await ws.ping()


# What a server can do wrong, and the code of the Close that it gets.
WRONGS = {
    "E3, whole": (wire.binary(bytes(1001)), 1009),
    "E3, in fragments": (wire.binary(bytes(1000), fin=False) + wire.continuation(b"x"), 1009),
    "E3, by the header alone": (wire.frame(wire.BINARY, length=2**62), 1009),
    "E9, a reserved opcode": (wire.frame(3, b"x"), 1002),
    "E9, a reserved bit": (wire.frame(wire.TEXT, b"x", rsv=4), 1002),
    "E9, a mask": (wire.frame(wire.TEXT, b"x", masked=True), 1002),
    "E9, a continuation of nothing": (wire.continuation(b"x"), 1002),
    "E9, a fragmented ping": (wire.frame(wire.PING, b"x", fin=False), 1002),
    "E9, a Close with a wrong code": (wire.close(999), 1002),
    "E9, not UTF-8": (wire.frame(wire.TEXT, b"\xff"), 1007),
}


@pytest.mark.parametrize(("data", "code"), WRONGS.values(), ids=WRONGS)
async def test_e3_e9_receive_raises_while_tcp_stays_open(data, code):
    """The server ends TCP only after `receive` has raised, so `receive` does not wait for that."""
    has_raised = trio.Event()
    with trio.fail_after(BOUND):
        async with (
            scene(situations.sends_and_stays(data, has_raised)) as server,
            open_websocket_client(server.url, max_message_size=1000, close_timeout=60) as ws,
        ):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            has_raised.set()
            assert await server.seen() == code
            assert caught.value.sent is not None
            assert caught.value.sent.code == code


@pytest.mark.parametrize("data", [WRONGS["E3, whole"][0], WRONGS["E9, a reserved opcode"][0]])
async def test_e3_e9_block_ends_while_tcp_stays_open(data):
    """The block is left within ``close_timeout``."""
    with trio.fail_after(BOUND):
        async with (
            scene(situations.sends_and_listens(data)) as server,
            open_websocket_client(server.url, max_message_size=1000, close_timeout=0.3) as ws,
        ):
            with pytest.raises(ConnectionClosedError):
                await ws.receive()


async def test_e3_cancel_leaves_no_socket_open():
    with trio.fail_after(BOUND):
        async with scene(situations.sends_and_listens(WRONGS["E3, whole"][0])) as server:
            with trio.CancelScope() as scope:
                async with open_websocket_client(
                    server.url, max_message_size=1000, close_timeout=60
                ) as ws:
                    with pytest.raises(ConnectionClosedError):
                        await ws.receive()
                    scope.cancel()
            assert [frame.code for frame in await server.seen()] == [1009]


async def test_e7_slow_consumer_keeps_its_connection():
    """The consumer pauses for longer than the ping timeout."""
    messages = [f"message {number}" for number in range(100)]
    data = b"".join(map(wire.text, messages))
    with trio.fail_after(30):
        async with (
            scene(situations.sends_and_answers(data)) as server,
            open_websocket_client(
                server.url, max_buffered_bytes=1000, ping_interval=0.1, ping_timeout=0.8
            ) as ws,
        ):
            received = [await ws.receive() for _ in range(50)]
            await trio.sleep(2)
            received += [await ws.receive() for _ in range(50)]
            assert received == messages
            assert await ws.ping() > 0


async def test_e8_nothing_is_sent_after_a_torn_frame():
    """After a cancelled send, no call accepts a message, and nothing is written into the frame."""
    may_read = trio.Event()
    payload = b"x" * (64 * MIB)  # more than loopback TCP buffers
    with trio.fail_after(BOUND * 3):
        async with scene(situations.listens_from(may_read)) as server:
            async with open_websocket_client(server.url, close_timeout=60) as ws:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ws.send, payload)
                    await wait_all_tasks_blocked(0.05)
                    nursery.cancel_scope.cancel()
                may_read.set()
                with pytest.raises(ConnectionClosedError, match="a frame is torn"):
                    await ws.send("again")
                with pytest.raises(ConnectionClosedError, match="a frame is torn"):
                    await ws.receive()
            torn = await server.seen()
    assert torn[1] == 0x80 | 127
    assert struct.unpack("!Q", torn[2:10]) == (len(payload),)
    mask, written = torn[10:14], torn[14:]
    assert 0 < len(written) < len(payload)
    same = bytes(byte ^ ord("x") for byte in mask) * (len(written) // 4 + 1)
    assert written == same[: len(written)], "something else was written into the torn frame"


async def test_e8_send_cancelled_in_queue_has_not_happened():
    may_read = trio.Event()
    first, last = b"x" * (16 * MIB), b"y" * 1000
    with trio.fail_after(BOUND * 3):
        async with scene(situations.listens_from(may_read)) as server:
            async with (
                open_websocket_client(server.url, close_timeout=1) as ws,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(ws.send, first)
                await wait_all_tasks_blocked(0.05)
                with trio.move_on_after(0.05) as scope:
                    await ws.send("never")
                assert scope.cancelled_caught
                nursery.start_soon(ws.send, last)
                may_read.set()
            frames = wire.ClientFrameReader().feed(await server.seen())
    assert [frame.opcode for frame in frames] == [wire.BINARY, wire.BINARY, wire.CLOSE]
    assert [frame.payload for frame in frames[:2]] == [first, last]


async def test_e10_8_mb_each_way_do_not_stall():
    """The server writes before it reads."""
    size = 8 * MIB
    received = 0

    async def receive_all(ws):
        nonlocal received
        while received < size:
            received += len(await ws.receive())

    async def send_all(ws):
        for _ in range(8):
            await ws.send(bytes(MIB))

    with trio.fail_after(BOUND * 6):
        async with scene(situations.writes_before_it_reads(size, 65_536)) as server:
            async with (
                open_websocket_client(server.url, ping_interval=0.05, close_timeout=60) as ws,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(receive_all, ws)
                nursery.start_soon(send_all, ws)
                nursery.start_soon(ws.ping)
            assert await server.seen() == size
    assert received == size


async def take_each(ws):
    return len([message async for message in ws])


async def take_batches(ws):
    count = 0
    with suppress(ConnectionClosedOK):
        while True:
            count += len(await ws.receive_batch())
    return count


async def take_nothing(ws):
    # Above max_buffered_bytes nothing is read: that is all of the burst that there is.
    while True:
        await trio.sleep(0.01)
        if ws.statistics().buffered_bytes >= MIB:
            return


@pytest.mark.slow
@pytest.mark.parametrize("frame", [wire.text(""), wire.text("x")], ids=["2 bytes", "3 bytes"])
@pytest.mark.parametrize("take", [take_each, take_batches, take_nothing])
async def test_e17_tiny_messages_let_other_tasks_run(take, frame):
    count = MIB // 4 // len(frame)
    heartbeat = Heartbeat()
    with trio.fail_after(BOUND * 12):
        async with (
            scene(situations.bursts(frame, count)) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(heartbeat.beat)
            async with open_websocket_client(server.url, close_timeout=0.5) as ws:
                taken = await take(ws)
            nursery.cancel_scope.cancel()
    assert taken == (None if take is take_nothing else count)
    assert heartbeat.worst < 0.1


LARGE = bytes(range(250)) * 4 * 1000
PARTS = [LARGE[start : start + 1000] for start in range(0, len(LARGE), 1000)]
WHOLE = wire.binary(LARGE) + wire.text("next")
IN_FRAGMENTS = (
    wire.binary(PARTS[0], fin=False)
    + b"".join(wire.continuation(part, fin=False) for part in PARTS[1:])
    + wire.continuation()
    + wire.text("next")
)


@pytest.mark.parametrize("data", [WHOLE, IN_FRAGMENTS], ids=["whole", "in fragments"])
async def test_e21_message_larger_than_buffer_is_received(data):
    with trio.fail_after(BOUND):
        async with (
            scene(situations.sends_and_answers(data)) as server,
            open_websocket_client(server.url, max_buffered_bytes=1000) as ws,
        ):
            await wait_all_tasks_blocked(0.05)
            assert await ws.receive() == LARGE
            assert await ws.receive() == "next"


@pytest.mark.parametrize("data", [WHOLE, IN_FRAGMENTS], ids=["whole", "in fragments"])
async def test_e21_waiting_receive_gets_message_larger_than_buffer(data):
    received = []

    async def receive(ws):
        received.append(await ws.receive())
        received.append(await ws.receive())

    with trio.fail_after(BOUND):
        async with (
            scene(situations.sends_and_answers(data, asked=True)) as server,
            open_websocket_client(server.url, max_buffered_bytes=1000) as ws,
        ):
            await wait_all_tasks_blocked(0.05)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, ws)
                await wait_all_tasks_blocked(0.05)
                await ws.send("now")
    assert received == [LARGE, "next"]


async def trickle(ws):
    while True:
        await ws.send("x")
        await trio.sleep(0.01)


async def one_huge(ws):
    await ws.send(bytes(64 * MIB))


@pytest.mark.parametrize(
    "use", [trickle, one_huge, trio_wsclient.WebSocketClient.receive], ids=lambda use: use.__name__
)
async def test_e23_vanished_server_is_found_out(use):
    """Its kernel still takes what is sent, as far as its buffers go."""
    with trio.fail_after(BOUND):
        async with (
            scene(situations.listens_from(trio.Event())) as server,
            open_websocket_client(
                server.url, ping_interval=0.2, ping_timeout=0.5, close_timeout=60
            ) as ws,
        ):
            start = trio.current_time()
            with pytest.raises(ConnectionClosedError, match=r"nothing received for 0\.5 s"):
                await use(ws)
            assert trio.current_time() - start >= 0.5
