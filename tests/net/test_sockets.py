"""A socket that is tried first and waited for only if it has to be."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_wsclient._net.sockets import EagerSocketStream, adopt_socket

BIG = bytes(range(256)) * 40_000  # more than the buffers of two sockets take


@pytest.fixture
async def pair() -> AsyncIterator[tuple[EagerSocketStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield EagerSocketStream(ours), theirs


async def read(theirs: socket.socket, size: int) -> bytes:
    """Read as a peer that is in no hurry."""
    peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    data = bytearray()
    while len(data) < size:
        data += await peer.receive_some()
    return bytes(data)


async def test_what_the_socket_takes_is_gone_at_once(pair):
    stream, theirs = pair
    assert stream.send_nowait(b"one")
    assert theirs.recv(10) == b"one"


async def test_what_it_does_not_take_leaves_with_flush_in_order(pair):
    stream, theirs = pair
    assert not stream.send_nowait(BIG)
    got = []

    async def peer() -> None:
        got.append(await read(theirs, len(BIG) + 3))

    async with trio.open_nursery() as reading:
        reading.start_soon(peer)
        await stream.flush()
        assert stream.send_nowait(b"end")
    assert got == [BIG + b"end"]


async def test_socket_without_room_takes_nothing_yet(pair):
    stream, theirs = pair
    size = stream.socket.send(BIG)
    assert not stream.send_nowait(b"end")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.flush)
        assert await read(theirs, size + 3) == BIG[:size] + b"end"


async def test_send_all_sends_all(pair):
    stream, theirs = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, BIG)
        assert await read(theirs, len(BIG)) == BIG


async def test_nothing_is_sent_by_a_cancelled_task(pair):
    stream, theirs = pair
    theirs.setblocking(False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.send_all(b"one")
    assert scope.cancelled_caught
    with pytest.raises(BlockingIOError):
        theirs.recv(10)


async def test_read_that_is_cancelled_takes_nothing(pair):
    stream, theirs = pair
    with trio.move_on_after(0.01):
        await stream.receive_some()
    theirs.send(b"one")
    assert await stream.receive_some() == b"one"
    theirs.send(b"two")
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert await stream.receive_some(2) == b"tw"
    assert await stream.receive_some(2) == b"o"


async def test_reads_that_never_wait_let_other_tasks_run(pair):
    stream, theirs = pair
    theirs.send(bytes(20_000))
    ticks = 0

    async def other() -> None:
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await stream.receive_some(1)
        before = ticks
        for _ in range(19_000):
            await stream.receive_some(1)
        nursery.cancel_scope.cancel()
    assert ticks > before + 3, "they take some 20 ms"


async def test_end_of_the_peer_is_the_end_of_the_stream(pair):
    stream, theirs = pair
    theirs.close()
    assert await stream.receive_some() == b""
    assert await stream.receive_some() == b""


async def test_reset_is_a_broken_stream_with_the_reason(pair):
    stream, theirs = pair
    stream.send_nowait(b"unread")
    theirs.close()
    with pytest.raises(trio.BrokenResourceError, match=r"Connection reset|Broken pipe") as caught:
        while True:
            await stream.receive_some()
            stream.send_nowait(b"x")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in {errno.ECONNRESET, errno.EPIPE}
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")


async def test_waiting_calls_raise_when_the_stream_is_closed(pair):
    stream, _ = pair
    stream.send_nowait(BIG)

    async def is_told(call) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(is_told, stream.receive_some)
        nursery.start_soon(is_told, stream.flush)
        await wait_all_tasks_blocked()
        await stream.aclose()
    for call in (stream.receive_some, stream.wait_send_all_might_not_block):
        await is_told(call)
    with pytest.raises(trio.ClosedResourceError):
        stream.send_nowait(b"x")
    await stream.aclose()


async def test_waiting_for_room_ends_when_there_is_some(pair):
    stream, theirs = pair
    await stream.wait_send_all_might_not_block()
    stream.send_nowait(BIG)
    with trio.move_on_after(0.01) as scope:
        await stream.wait_send_all_might_not_block()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, theirs, len(BIG))
        await stream.wait_send_all_might_not_block()
        nursery.cancel_scope.cancel()


async def test_socket_of_trios_stream_is_taken_over():
    ours, theirs = socket.socketpair()
    with theirs:
        held = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        descriptor = held.socket.fileno()
        stream = adopt_socket(held)
        assert isinstance(stream, EagerSocketStream)
        assert stream.socket.fileno() == descriptor
        assert stream.socket.family == theirs.family
        assert held.socket.fileno() == -1
        await stream.aclose()
        assert theirs.recv(1) == b""


async def test_any_other_stream_is_left_as_it_is():
    class MadeUp(trio.socket.SocketType):
        family, type, proto = socket.AF_INET, socket.SOCK_STREAM, 0

        def __init__(self) -> None:
            pass

        def setsockopt(self, *_: object) -> None:
            pass

    for stream in (memory_stream_pair()[0], trio.SocketStream(MadeUp())):
        assert adopt_socket(stream) is stream


async def test_waking_the_reader_leaves_a_blocked_write_alone(pair):
    stream, theirs = pair
    assert not stream.send_nowait(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.flush)
        await wait_all_tasks_blocked()
        stream.wake_reader()
        assert await read(theirs, len(BIG)) == BIG


async def test_waking_the_reader_of_a_closed_stream_does_nothing(pair):
    stream, _ = pair
    stream.close()
    stream.wake_reader()
