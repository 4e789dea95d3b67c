"""E43: pings that are answered before a Close. And what the Close of a violation says."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Awaitable, Callable

import pytest
import situations
import trio
import wire
from scripted_server import Peer, Script, memory_server
from situations import scene
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    Observer,
    WebSocketClient,
    open_websocket_client,
)
from trio_wsclient._connection.connection import Connection

BOUND = 10  # seconds for what takes a fraction of one
RSV1, RSV2, RSV3 = 4, 2, 1
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def answers_nothing(data: bytes, *headers: str, has_sent: trio.Event | None = None) -> Script:
    """Send bytes in one segment, return the client's frames until its Close, then end TCP."""

    async def script(peer: Peer) -> list[wire.ClientFrame]:
        await peer.accept(*headers)
        await peer.send(data)
        if has_sent is not None:
            has_sent.set()
        frames = []
        while (frame := await peer.next_frame()) is not None:
            frames.append(frame)
            if frame.opcode == wire.CLOSE:
                break
        await situations.end(peer)
        return frames

    return script


# E43

Taken = list[str | bytes]


async def receives(ws: WebSocketClient, taken: Taken) -> ConnectionClosed:
    """Wait in `receive` when it comes."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            taken.append(await ws.receive())
    return caught.value


async def takes_frames(ws: WebSocketClient, taken: Taken) -> ConnectionClosed:
    try:
        async for frame in ws.frames():
            taken.append(frame.payload)
    except ConnectionClosed as exc:
        return exc
    assert isinstance(ws.outcome, ConnectionClosedOK)
    return ws.outcome


async def receives_later(ws: WebSocketClient, taken: Taken) -> ConnectionClosed:
    """Leave it to the background reader, then take what it has left."""
    await ws.wait_closed()
    return await receives(ws, taken)


async def only_waits(ws: WebSocketClient, taken: Taken) -> ConnectionClosed:
    """Receive nothing at all, and call nothing."""
    await wait_all_tasks_blocked(0.05)
    return await receives(ws, taken)


Use = Callable[[WebSocketClient, Taken], Awaitable[ConnectionClosed]]
USES = [receives, takes_frames, receives_later, only_waits]

# What the server sends in one segment, the messages in it, and the pongs that it must get.
PINGS = b"".join(wire.ping(b"%d" % number) for number in range(5))
SEGMENTS = {
    "a ping": (wire.ping(b"p"), [], [b"p"]),
    "an empty ping": (wire.ping(), [], [b""]),
    "some pings": (PINGS, [], [b"0", b"1", b"2", b"3", b"4"]),
    "a message and a ping": (wire.text("m") + wire.ping(b"p"), ["m"], [b"p"]),
    "a ping and a message": (wire.ping(b"p") + wire.text("m"), ["m"], [b"p"]),
    "a ping between messages": (
        wire.binary(b"m") + wire.ping(b"p") + wire.binary(b"n"),
        [b"m", b"n"],
        [b"p"],
    ),
}
CLOSES = {
    "1000": (wire.close(1000), 1000, ConnectionClosedOK),
    "no code": (wire.close(None), None, ConnectionClosedOK),
    "1011": (wire.close(1011, b"sorry"), 1011, ConnectionClosedError),
    # Here the server sends no Close, but a violation: the client answers it by a Close as well.
    "a reserved opcode": (wire.frame(3), 1002, ConnectionClosedError),
    "a mask": (wire.frame(wire.TEXT, b"x", masked=True), 1002, ConnectionClosedError),
    "not UTF-8": (wire.frame(wire.TEXT, b"\xff"), 1007, ConnectionClosedError),
    "a huge message": (wire.frame(wire.TEXT, length=2**40), 1009, ConnectionClosedError),
}


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def check_replies(frames: list[wire.ClientFrame], pongs: list[bytes], code: int | None) -> None:
    """Check that pongs came, in their order, the last one too (RFC 6455 §5.5.3); then a Close."""
    *replies, close = frames
    assert [frame.opcode for frame in replies] == [wire.PONG] * len(replies)
    assert close.code == code
    payloads = [frame.payload for frame in replies]
    assert payloads == [payload for payload in pongs if payload in payloads]
    assert payloads[-1] == pongs[-1]


async def meet(segment: str, close: str, use: Use) -> None:
    data, messages, pongs = SEGMENTS[segment]
    end, code, error = CLOSES[close]
    taken: Taken = []
    with trio.fail_after(BOUND):
        async with (
            scene(answers_nothing(data + end)) as server,
            open_websocket_client(server.url) as ws,
        ):
            exc = await use(ws, taken)
            assert isinstance(exc, error)
            check_replies(await server.seen(), pongs, code)
    assert list(map(as_bytes, taken)) == list(map(as_bytes, messages))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("close", ["1000", "a reserved opcode"])
@pytest.mark.parametrize("segment", SEGMENTS)
async def test_e43_pong_precedes_our_close(segment, close, use):
    await meet(segment, close, use)


@pytest.mark.parametrize("close", CLOSES)
async def test_e43_pong_precedes_any_close(close):
    await meet("a message and a ping", close, receives)


@pytest.mark.parametrize("end", [wire.close(1000), wire.frame(3)], ids=["Close", "a violation"])
async def test_e43_pong_precedes_our_close_over_tls(end, server_ssl_context, client_ssl_context):
    with trio.fail_after(BOUND):
        async with (
            scene(answers_nothing(PINGS + end), ssl_context=server_ssl_context) as server,
            open_websocket_client(server.url, ssl_context=client_ssl_context) as ws,
        ):
            await receives(ws, [])
            frames = await server.seen()
    check_replies(frames, SEGMENTS["some pings"][2], 1000 if end == wire.close(1000) else 1002)


@pytest.mark.parametrize("end", [wire.close(1000), wire.frame(3)], ids=["Close", "a violation"])
async def test_e43_pong_precedes_our_close_over_a_stream(autojump_clock, end):
    seen = []
    script = answers_nothing(PINGS + end)

    async def keep(peer: Peer) -> None:
        seen.append(await script(peer))

    async with memory_server(keep) as stream:
        async with open_websocket_client("ws://x/", stream=stream) as ws:
            await receives(ws, [])
    [frames] = seen
    check_replies(frames, SEGMENTS["some pings"][2], 1000 if end == wire.close(1000) else 1002)


async def test_e43_ping_after_close_is_not_answered():
    """RFC 6455 §5.5.1: nothing that comes after a Close counts."""
    with trio.fail_after(BOUND):
        async with (
            scene(answers_nothing(wire.ping(b"a") + wire.close() + wire.ping(b"b"))) as server,
            open_websocket_client(server.url) as ws,
        ):
            await receives(ws, [])
            check_replies(await server.seen(), [b"a"], 1000)


# A violation


def error_texts(exc: ConnectionClosedError, close: wire.ClientFrame) -> list[str]:
    """Return the texts that say what was wrong: of the error, and the reason that was sent."""
    return [str(exc), close.payload[2:].decode()]


async def violate(
    data: bytes, *headers: str, **options: object
) -> tuple[ConnectionClosedError, wire.ClientFrame]:
    """Send a violation; return the error, and the client's Close."""
    with trio.fail_after(BOUND):
        async with (
            scene(answers_nothing(data, *headers)) as server,
            open_websocket_client(server.url, **options) as ws,
        ):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            *_, close = await server.seen()
    exc = caught.value
    assert exc.sent is not None
    assert close.code == exc.sent.code
    assert close.payload[2:].decode() == exc.sent.reason
    return exc, close


OPTIONS = {
    "by default": ((), {}),
    "without decode_text": ((), {"decode_text": False}),
    "with deflate refused": ((), {"compression": "deflate"}),
    "with deflate": ((DEFLATE,), {"compression": "deflate"}),
}


@pytest.mark.parametrize(("headers", "options"), OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("second", [wire.TEXT, wire.BINARY], ids=["TEXT", "BINARY"])
@pytest.mark.parametrize("first", [wire.TEXT, wire.BINARY], ids=["in TEXT", "in BINARY"])
async def test_message_inside_another_is_named(first, second, headers, options):
    """The error and the reason sent name the opcode of the frame that is out of turn."""
    data = wire.frame(first, b"a", fin=False) + wire.frame(second, b"b")
    exc, close = await violate(data, *headers, **options)
    assert close.code == 1002
    name, other = ("TEXT", "BINARY") if second == wire.TEXT else ("BINARY", "TEXT")
    for text in error_texts(exc, close):
        assert name in text
        assert other not in text


HEX = {11: "b", 12: "c", 13: "d", 14: "e", 15: "f"}
VALUES = {
    **{
        f"opcode {opcode}": (
            wire.frame(opcode, b"x"),
            1002,
            rf"\b({opcode}|0x{HEX.get(opcode, opcode)})\b",
        )
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    **{
        f"Close {code}": (wire.close(code), 1002, rf"\b{code}\b")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "a Close of 1 byte": (wire.frame(wire.CLOSE, b"x"), 1002, r"\b(1|one)\b"),
    "a ping of 126 bytes": (wire.ping(bytes(126)), 1002, r"\b126\b"),
    "a pong of 300 bytes": (wire.pong(bytes(300)), 1002, r"\b300\b"),
    "a Close of 70,000 bytes": (wire.frame(wire.CLOSE, length=70_000), 1002, r"\b70,?000\b"),
    "77 in 2 bytes": (wire.frame(wire.TEXT, bytes(77), length_size=2), 1002, r"\b77\b"),
    "0 in 2 bytes": (wire.frame(wire.TEXT, length_size=2), 1002, r"\b0\b"),
    "77 in 8 bytes": (wire.frame(wire.TEXT, bytes(77), length_size=8), 1002, r"\b77\b"),
    "300 in 8 bytes": (wire.frame(wire.TEXT, bytes(300), length_size=8), 1002, r"\b300\b"),
    "2**63 bytes": (wire.frame(wire.TEXT, length=2**63), 1002, rf"{2**63}|2\*\*63|{2**63:#x}"),
    "RSV1": (wire.frame(wire.TEXT, b"x", rsv=RSV1), 1002, r"\bRSV1\b"),
    "RSV2": (wire.frame(wire.TEXT, b"x", rsv=RSV2), 1002, r"\bRSV2\b"),
    "RSV3": (wire.frame(wire.TEXT, b"x", rsv=RSV3), 1002, r"\bRSV3\b"),
    "RSV2 and RSV3": (wire.frame(wire.TEXT, rsv=RSV2 | RSV3), 1002, r"\bRSV2\b.*\bRSV3\b"),
    "RSV1 of a ping": (wire.frame(wire.PING, rsv=RSV1), 1002, r"\bRSV1\b"),
    "a fragmented ping": (wire.frame(wire.PING, fin=False), 1002, r"\bPING\b"),
    "a continuation of nothing": (wire.continuation(b"x"), 1002, r"(?i)\bcontinuation\b"),
    "a mask": (wire.frame(wire.TEXT, b"x", masked=True), 1002, r"(?i)mask"),
    "2,000 bytes": (wire.binary(bytes(2000)), 1009, r"\b1,?000\b"),  # the limit
}


# Where deflate is in use, RSV1 is for the first frame of a message (RFC 7692 §6).
DEFLATE_VALUES = {
    "RSV1 of a ping": (wire.frame(wire.PING, rsv=RSV1), 1002, r"\bRSV1\b"),
    "RSV1 of a continuation": (
        wire.frame(wire.TEXT, fin=False) + wire.frame(wire.CONTINUATION, rsv=RSV1),
        1002,
        r"\bRSV1\b",
    ),
    "RSV2": (wire.frame(wire.TEXT, b"x", rsv=RSV2), 1002, r"\bRSV2\b"),
    "RSV3": (wire.frame(wire.TEXT, b"\0", rsv=RSV1 | RSV3), 1002, r"\bRSV3\b"),
}


@pytest.mark.parametrize(("data", "code", "value"), VALUES.values(), ids=VALUES)
async def test_violation_quotes_its_value(data, code, value):
    """The error and the reason sent quote the value that was wrong."""
    exc, close = await violate(data, max_message_size=1000)
    assert close.code == code
    for text in error_texts(exc, close):
        assert re.search(value, text), text


@pytest.mark.parametrize(("data", "code", "value"), DEFLATE_VALUES.values(), ids=DEFLATE_VALUES)
async def test_violation_beside_deflate_quotes_its_value(data, code, value):
    exc, close = await violate(data, DEFLATE, compression="deflate")
    assert close.code == code
    for text in error_texts(exc, close):
        assert re.search(value, text), text


# The reply task


def tasks_of_block() -> list[str]:
    """Return the names of the client's tasks beside the one that has opened it."""
    nurseries = trio.lowlevel.current_task().child_nurseries
    names = [task.name.rpartition(".")[2] for task in nurseries[-1].child_tasks]
    return sorted(names)


async def test_reply_task_starts_when_a_ping_comes():
    ping_now = trio.Event()

    async def script(peer: Peer) -> list[wire.ClientFrame | None]:
        await peer.accept()
        await ping_now.wait()
        await peer.send(wire.ping(b"1"))
        frames = [await peer.next_frame(), await peer.next_frame()]
        await situations.end(peer)
        return frames

    with trio.fail_after(BOUND):
        async with scene(script) as server:
            async with open_websocket_client(server.url) as ws:
                assert tasks_of_block() == ["receive_task"]
                ping_now.set()
                while ws.statistics().pings_received == 0:
                    await wait_all_tasks_blocked(0.001)
                assert tasks_of_block() == ["receive_task", "reply_task"]
            frames = await server.seen()
    assert [frame.opcode for frame in frames] == [wire.PONG, wire.CLOSE]


async def test_task_that_closes_replies_instead_of_the_reply_task(monkeypatch):
    async def unused(self) -> None:
        raise AssertionError

    monkeypatch.setattr(Connection, "reply_task", unused)
    with trio.fail_after(BOUND):
        async with scene(answers_nothing(b"")) as server:
            async with open_websocket_client(server.url):
                pass
            frames = await server.seen()
    assert [frame.opcode for frame in frames] == [wire.CLOSE]


async def test_reply_task_has_the_context_of_the_block():
    """Whichever task has started it: here one with another value."""
    variable = contextvars.ContextVar("variable", default="default")
    seen = []

    class Watching(Observer):
        def frame_sent(self, connection_id: int, opcode: int, size: int) -> None:
            seen.append((opcode, variable.get()))

    async def receive(ws: WebSocketClient) -> None:
        variable.set("receiver")
        await ws.receive()

    variable.set("block")
    with trio.fail_after(BOUND):
        async with (
            scene(answers_nothing(wire.ping() + wire.text("x"))) as server,
            open_websocket_client(server.url, observer=Watching()) as ws,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(receive, ws)
            while not seen:
                await wait_all_tasks_blocked(0.001)
    assert seen[0] == (wire.PONG, "block")
