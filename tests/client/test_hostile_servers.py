"""Hostile servers, by a table: each gets its Close, and the user the error, soon and at no cost.

In memory, under a clock that jumps, the server falls silent after what it has sent and leaves TCP
open: what the client then waits for shows in the time. Real TCP shows the same of the client's own
socket path.
"""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import handshake_tables
import pytest
import trio
import wire
from handshake_tables import switching
from hostile_table import ENDINGS, FRAGMENTS, LEGAL, TABLE, VIOLATIONS, Case
from scripted_server import Peer, loopback_server, memory_server
from streams import Valve

from trio_wsclient import (
    ConnectionClosed,
    ConnectionRejected,
    InvalidResponse,
    WebSocketClient,
    open_websocket_client,
)
from trio_wsclient._protocol import limits

CLOSE_TIMEOUT = 5  # seconds
# Bytes that a connection may hold beside what its messages are: the buffers of a socket and of
# extensions, and the two sides of this test.
OVERHEAD = 600_000

by_name = pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)


@pytest.fixture(autouse=True)
def _few_fragments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_MAX_FRAGMENTS", FRAGMENTS)


class ByteByByte(Valve):
    """A stream whose reads give one byte each, except for very long data."""

    reads = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.reads += 1
        return await super().receive_some(1 if self.reads < 5000 else 997)


class Hostile:
    """A server that accepts, sends what a case has, and takes what comes; `frames` is what came.

    Args:
        case: What it does.
        ends: Whether it ends TCP once it has the client's Close; otherwise it only listens.
    """

    def __init__(self, case: Case, *, ends: bool = False) -> None:
        self._case = case
        self._ends = ends
        self.frames: list[wire.ClientFrame] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.accept(*self._case.headers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, peer)
            with suppress(trio.BrokenResourceError):
                while (frame := await peer.next_frame()) is not None:
                    self.frames.append(frame)
                    if frame.opcode == wire.CLOSE and self._ends:
                        break
            nursery.cancel_scope.cancel()
        if self._ends:
            await peer.stream.aclose()

    async def _talk(self, peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):
            await peer.send(self._case.data)

    def check(self) -> None:
        """Check what the client has said, all of it."""
        *pongs, close = self.frames
        assert [frame.opcode for frame in pongs] == [wire.PONG] * len(pongs)
        payloads = tuple(frame.payload for frame in pongs)
        assert payloads == self._case.pongs or (not payloads and self._case.is_closing)
        assert close.opcode == wire.CLOSE
        assert (close.code or 1005) == self._case.code


async def take_all(ws: WebSocketClient) -> tuple[list[str | bytes], ConnectionClosed]:
    """Receive until the end, and return what came and how it ended."""
    taken: list[str | bytes] = []
    while True:
        try:
            taken.append(await ws.receive())
        except ConnectionClosed as exc:
            return taken, exc


def check_error(case: Case, error: ConnectionClosed) -> None:
    assert isinstance(error, case.error)
    assert error.sent is not None
    assert error.sent.code == case.code
    assert case.problem in f"{error} {error.__cause__}"
    assert "\n" not in str(error)


@by_name
async def test_each_case_has_its_close_and_its_error_at_once(autojump_clock, case: Case):
    server = Hostile(case)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://x/", stream=stream, close_timeout=CLOSE_TIMEOUT, **case.options
        ) as ws:
            before = trio.current_time()
            taken, error = await take_all(ws)
            assert trio.current_time() == before
        assert trio.current_time() <= before + CLOSE_TIMEOUT
    assert tuple(taken) == case.messages
    check_error(case, error)
    server.check()


@pytest.mark.slow
@by_name
async def test_each_case_is_the_same_byte_by_byte(autojump_clock, case: Case):
    server = Hostile(case)
    async with memory_server(server) as stream:
        async with open_websocket_client(
            "ws://x/", stream=ByteByByte(stream), close_timeout=CLOSE_TIMEOUT, **case.options
        ) as ws:
            taken, error = await take_all(ws)
    assert tuple(taken) == case.messages
    check_error(case, error)
    server.check()


@by_name
async def test_each_case_is_the_same_on_tcp(case: Case):
    server = Hostile(case, ends=True)
    async with loopback_server(server) as url:
        with trio.fail_after(30):
            async with open_websocket_client(url, **case.options) as ws:
                taken, error = await take_all(ws)
    assert tuple(taken) == case.messages
    check_error(case, error)
    server.check()


@pytest.mark.parametrize("case", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_no_violation_takes_time_or_memory(autojump_clock, case: Case):
    async with memory_server(Hostile(case)) as stream:
        async with open_websocket_client("ws://x/", stream=stream, **case.options) as ws:
            tracemalloc.start()
            try:
                held, _ = tracemalloc.get_traced_memory()
                began = time.process_time()
                await take_all(ws)
                seconds = time.process_time() - began
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert peak - held < OVERHEAD + 3 * len(case.data)
    assert seconds < 1 + len(case.data) / 50_000


def test_table_has_at_least_120_distinct_violations():
    kinds = Counter(name.partition(" on opcode")[0] for name in VIOLATIONS)
    assert len({case.data for case in VIOLATIONS.values()}) > 150
    assert len(kinds) > 120
    assert len(ENDINGS) + len(LEGAL) > 80


# Opening

REFUSED_ANSWERS: dict[str, tuple[bytes, str]] = {
    # Compression is offered here, and so is not among what is wrong.
    **{key: value for key, value in handshake_tables.NOT_101.items() if key != "an extension"},
    **{name: (data, "") for name, data in handshake_tables.JUNK.items()},
    **{
        f"extensions: {value}": (switching(f"Sec-WebSocket-Extensions: {value}"), "")
        for value in (
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=-8",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; x",
            "permessage-deflate; x=1",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate;",
            "permessage-deflate;;server_no_context_takeover",
            "permessage-bzip2",
            "x-webkit-deflate-frame",
            "permessage-deflate, x",
            '"permessage-deflate"',
            "permessage deflate",
        )
    },
}


def answers(data: bytes) -> Callable[[Peer], object]:
    """Make a script that answers by some bytes, and then listens."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        accept = wire.accept_key(peer.request).encode()
        await peer.send(data.replace(b"<accept>", accept))
        assert await peer.wait_eof() == b""

    return script


@pytest.mark.parametrize(("data", "problem"), REFUSED_ANSWERS.values(), ids=list(REFUSED_ANSWERS))
@pytest.mark.parametrize("wrap", [lambda stream: stream, ByteByByte], ids=["whole", "by bytes"])
async def test_each_wrong_answer_is_refused_at_once(autojump_clock, wrap, data: bytes, problem):
    async with memory_server(answers(data)) as stream:
        with pytest.raises(InvalidResponse) as caught:
            async with open_websocket_client("ws://x/", stream=wrap(stream), compression="deflate"):
                raise AssertionError
    assert trio.current_time() == 0
    assert problem.partition("<accept>")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"), handshake_tables.REJECTIONS.values(), ids=handshake_tables.REJECTIONS
)
@pytest.mark.parametrize("wrap", [lambda stream: stream, ByteByByte], ids=["whole", "by bytes"])
async def test_each_rejection_is_reported_at_once(autojump_clock, wrap, data: bytes, expected):
    async with memory_server(answers(data)) as stream:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client("ws://x/", stream=wrap(stream)):
                raise AssertionError
    assert trio.current_time() == 0
    assert (caught.value.status_code, caught.value.body) == expected


@pytest.mark.parametrize(
    "data", handshake_tables.ACCEPTING.values(), ids=handshake_tables.ACCEPTING
)
@pytest.mark.parametrize("wrap", [lambda stream: stream, ByteByByte], ids=["whole", "by bytes"])
async def test_each_odd_answer_that_is_right_opens(autojump_clock, wrap, data: bytes):
    async def script(peer: Peer) -> None:
        await peer.read_request()
        accept = wire.accept_key(peer.request).encode()
        await peer.send(data.replace(b"<accept>", accept) + wire.text("first"))
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client("ws://x/", stream=wrap(stream)) as ws:
            assert await ws.receive() == "first"
