"""E45: ``send_many``, with very many messages, wrong ones, and cancelled.

Other tasks wait for 5 ms of CPU at most; ``pauses`` says how that is measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import pytest
import trio
import wire
from pauses import Ticks, best_of_runs, check_pause, ticking
from thread_server import ThreadPeer, thread_server
from trio.testing import wait_all_tasks_blocked
from wsproto.extensions import Extension

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    PerMessageDeflate,
    WebSocketClient,
    open_websocket_client,
)

BOUND = 60  # seconds for what takes a few
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def takes_messages(peer: ThreadPeer) -> list[wire.ClientFrame]:
    peer.accept()
    return peer.frames_to_end()


# Pauses

COUNT = 200_000
MANY: dict[str, Callable[[], Sequence[str | bytes]]] = {
    "bytes": lambda: [b"0123456789"] * COUNT,
    "str": lambda: ["0123456789"] * COUNT,
    "both": lambda: [b"0123456789", "0123456789"] * (COUNT // 2),
}
FRAME_SIZE = 2 + 4 + 10  # bytes: header, key, payload


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [("bytes", {}), ("str", {}), ("both", {"compression": "deflate"})],
    ids=["bytes", "str", "both, with deflate"],
)
async def test_e45_sending_many_messages_lets_other_tasks_run(kind, options):
    """The messages are too short to be compressed by default."""
    messages = MANY[kind]()
    pause, data, rest = await worst_pause_of_many(lambda: messages, COUNT * FRAME_SIZE, **options)
    frames = wire.ClientFrameReader().feed(data[: 1_000 * FRAME_SIZE])
    assert frames == [expected_frame(one) for one in messages[:1_000]]
    assert [frame.opcode for frame in rest] == [wire.CLOSE]
    check_pause(pause)


@pytest.mark.slow
async def test_e45_sending_many_compressed_messages_lets_tasks_run():
    messages = [b"0123456789"] * 40_000
    pause, _, frames = await worst_pause_of_many(
        lambda: messages, 0, compression=PerMessageDeflate(min_size=0)
    )
    assert len(frames) == 40_000 + 1
    check_pause(pause)


class Idle(Extension):
    """A user's extension that works without negotiation and changes nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False


async def test_e45_sending_many_through_extensions_lets_tasks_run():
    messages = [b"0123456789"] * 20_000
    pause, _, rest = await worst_pause_of_many(
        lambda: messages, 20_000 * FRAME_SIZE, extensions=[Idle(f"x-{n}") for n in range(4)]
    )
    assert [frame.opcode for frame in rest] == [wire.CLOSE]
    check_pause(pause)


async def test_e45_sending_many_logged_messages_lets_tasks_run(logger_of_frames):
    messages = [b"0123456789"] * 4_000
    pause, _, rest = await worst_pause_of_many(
        lambda: messages, 4_000 * FRAME_SIZE, logger=logger_of_frames
    )
    assert [frame.opcode for frame in rest] == [wire.CLOSE]
    check_pause(pause)


async def test_e45_sending_many_from_a_generator_lets_tasks_run():
    pause, _, rest = await worst_pause_of_many(
        lambda: (b"0123456789" for _ in range(COUNT)), COUNT * FRAME_SIZE
    )
    assert [frame.opcode for frame in rest] == [wire.CLOSE]
    check_pause(pause)


async def worst_pause_of_many(
    make: Callable[[], Iterable[str | bytes]], size: int, **options: object
) -> tuple[float, bytes, list[wire.ClientFrame]]:
    """Return the worst pause, and what the server got: so many bytes, and the frames after them."""
    received = []

    def script(peer: ThreadPeer) -> tuple[bytes, list[wire.ClientFrame]]:
        peer.accept(*([DEFLATE] if "compression" in options else []))
        return peer.read(size), peer.frames_to_end()

    async def run() -> Ticks:
        async with open_websocket_client(server.url, **options) as ws:
            async with ticking() as ticks:
                await ws.send_many(make())
        received.append(await server.seen())
        return ticks

    with trio.fail_after(BOUND), thread_server(script) as server:
        pause = await best_of_runs(run)
    return pause, *received[0]


def expected_frame(message: str | bytes) -> wire.ClientFrame:
    if isinstance(message, str):
        return wire.ClientFrame(wire.TEXT, message.encode())
    return wire.ClientFrame(wire.BINARY, bytes(message))


# Order, and cancelling


def numbered(count: int, size: int) -> list[bytes]:
    """Make messages that tell their place."""
    return [b"%d" % number + bytes(size) for number in range(count)]


@pytest.mark.slow
async def test_e45_many_messages_stay_together_and_pings_pass():
    """W3: two batches and a message go one after the other; a pong passes between messages."""
    first, second = numbered(100_000, 4), numbered(1_000, 8)

    def script(peer: ThreadPeer) -> list[wire.ClientFrame]:
        peer.accept()
        frames = [peer.next_frame()]
        peer.send(wire.ping(b"p"))
        return [*frames, *peer.frames_to_end()]

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with open_websocket_client(server.url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.send_many, first)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(ws.send_many, second)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(ws.send, "last")
        frames = await server.seen()
    pong = wire.ClientFrame(wire.PONG, b"p")
    messages = [frame.payload for frame in frames if frame.opcode in (wire.TEXT, wire.BINARY)]
    assert messages in ([*first, *second, b"last"], [*second, *first, b"last"])
    assert 0 < frames.index(pong) < 100_000


class Takes(trio.abc.Stream):
    """A stream that accepts the handshake, takes each write at once, and gives nothing more."""

    def __init__(self) -> None:
        self.request = b""
        self.taken = bytearray()
        self._closed = trio.Event()
        self._is_answered = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_answered:
            self.taken += data
        else:
            self.request += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._is_answered:
            self._is_answered = True
            return wire.answer(self.request)
        await self._closed.wait()
        return b""

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()


async def send_later(ws: WebSocketClient, caught: list[ConnectionClosed]) -> None:
    try:
        await ws.send("other")
    except ConnectionClosed as exc:
        caught.append(exc)


async def test_e45_sending_many_ends_between_messages_when_cancelled():
    """The stream takes whole writes, so that only whole messages may be in it.

    A message of another task waits for its turn: it is not sent any more.
    """
    messages = numbered(COUNT, 4)
    stream, caught = Takes(), []

    async def cancel_when_begun() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            if len(stream.taken) >= 1_000:
                scope.cancel()
                return

    with trio.fail_after(BOUND):
        async with (
            open_websocket_client("ws://x/", stream=stream, close_timeout=0.1) as ws,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(cancel_when_begun)
            with trio.CancelScope() as scope:
                nursery.start_soon(send_later, ws, caught)
                await ws.send_many(messages)
            assert scope.cancelled_caught
            with pytest.raises(ConnectionClosedError, match=r"cancelled|unfinished"):
                await ws.send("again")
    reader = wire.ClientFrameReader()
    frames = [
        frame
        for start in range(0, len(stream.taken), 1_000)
        for frame in reader.feed(bytes(stream.taken[start : start + 1_000]))
    ]
    assert not reader.pending, "the last frame is torn"
    if frames[0].opcode == wire.TEXT:
        assert frames.pop(0).payload == b"other"  # It was first.
    if frames[-1].opcode == wire.CLOSE:
        assert frames.pop().code == 1011
    assert [frame.payload for frame in frames] == messages[: len(frames)]
    assert 0 < len(frames) < COUNT


async def test_e45_sending_many_fails_the_connection_when_cancelled():
    """The server does not read: the cancel comes while a write waits."""
    messages = numbered(40_000, 1_000)
    listens = threading.Event()
    caught: list[ConnectionClosed] = []

    def script(peer: ThreadPeer) -> list[wire.ClientFrame]:
        peer.accept()
        listens.wait(BOUND)
        frames = []
        with suppress(EOFError, OSError):  # The last frame may be torn.
            while (frame := peer.next_frame()) is not None:
                frames.append(frame)
        return frames

    with trio.fail_after(BOUND), thread_server(script) as server:
        async with (
            open_websocket_client(server.url, close_timeout=0.5) as ws,
            trio.open_nursery() as nursery,
        ):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as senders:
                    senders.start_soon(ws.send_many, messages)
                    await wait_all_tasks_blocked(0.05)
                    nursery.start_soon(send_later, ws, caught)
                    await wait_all_tasks_blocked(0.05)
                    scope.cancel()
            listens.set()
            with pytest.raises(ConnectionClosedError):
                await ws.send("again")
            with pytest.raises(ConnectionClosedError):
                await ws.receive()
        frames = await server.seen()
    assert [isinstance(exc, ConnectionClosedError) for exc in caught] == [True]
    assert [frame.payload for frame in frames] == messages[: len(frames)]
    assert 0 < len(frames) < len(messages)


async def test_e45_sending_many_has_not_happened_when_cancelled_early():
    """It waits for its turn, as another task has a message under way."""
    with trio.fail_after(BOUND), thread_server(takes_messages) as server:
        async with open_websocket_client(server.url) as ws:
            async with ws.binary_writer() as writer:
                await writer.write(b"one ")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ws.send_many, [b"never"] * 1_000)
                    await wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                await writer.write(b"message")
            await ws.send_many([b"after"])
        frames = await server.seen()
    assert b"".join(frame.payload for frame in frames[:-1]) == b"one messageafter"


# What is refused, and what is copied


def fails(error: Exception):
    yield b"fine"
    raise error


WRONG = {
    "an int": (lambda: [b"fine", 1], TypeError),
    "None": (lambda: ["fine", None], TypeError),
    "a list": (lambda: [b"fine", [b"fine"]], TypeError),
    "an int after many": (lambda: [b"fine"] * 100_000 + [1], TypeError),
    "a lone surrogate": (lambda: ["fine", "\ud800"], ValueError),
    "a lone surrogate after many": (lambda: ["fine"] * 100_000 + ["\ud800"], ValueError),
    "one str": (lambda: "fine", TypeError),
    "one bytes": (lambda: b"fine", TypeError),
    "one bytearray": (lambda: bytearray(b"fine"), TypeError),
    "no iterable": (lambda: 1, TypeError),
    "a generator that fails": (lambda: fails(KeyError("mine")), KeyError),
}


@pytest.mark.parametrize(("make", "error"), WRONG.values(), ids=WRONG)
async def test_e45_sending_many_refuses_all_when_one_is_wrong(make, error):
    with trio.fail_after(BOUND), thread_server(takes_messages) as server:
        async with open_websocket_client(server.url) as ws:
            with pytest.raises(error):
                await ws.send_many(make())
            await ws.send("after")
            assert ws.statistics().messages_sent == 1
        first, close = await server.seen()
    assert first == wire.ClientFrame(wire.TEXT, b"after")
    assert close.code == 1000


@pytest.mark.parametrize("before", [0, 300])
async def test_e45_sending_many_copies_buffers_before_it_waits(before):
    data = bytearray(b"first")

    async def change() -> None:
        data[:] = b"other"

    with trio.fail_after(BOUND), thread_server(takes_messages) as server:
        async with open_websocket_client(server.url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(change)  # It runs at the first schedule point.
            await ws.send_many([b"x"] * before + [data, memoryview(data), "str"])
        frames = await server.seen()
    assert [frame.payload for frame in frames[before:-1]] == [b"first", b"first", b"str"]


async def test_e45_sending_many_copies_buffers_before_its_turn():
    data = bytearray(b"first")
    with trio.fail_after(BOUND), thread_server(takes_messages) as server:
        async with open_websocket_client(server.url) as ws, trio.open_nursery() as nursery:
            async with ws.text_writer():
                nursery.start_soon(ws.send_many, [data, memoryview(data)])
                await wait_all_tasks_blocked()
                data[:] = b"other"
        frames = await server.seen()
    assert [frame.payload for frame in frames[1:-1]] == [b"first", b"first"]


# A part of a writer


@pytest.mark.slow
async def test_e45_part_in_very_many_fragments_lets_other_tasks_run():
    async def run() -> Ticks:
        with thread_server(takes_messages) as server:
            async with open_websocket_client(server.url, fragment_size=16) as ws:
                async with ticking() as ticks, ws.binary_writer() as writer:
                    await writer.write(bytes(400_000))
            frames = await server.seen()
            assert len(frames) == 25_000 + 2  # the end of the message, and the Close
            return ticks

    with trio.fail_after(BOUND):
        check_pause(await best_of_runs(run))
