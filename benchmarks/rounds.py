"""The workloads of `compare_builds.py`, in rounds of a few messages."""

from __future__ import annotations

import json
import random
import socket
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deflate_defaults import book, trade
from server_side import (
    BINARY,
    BUFFER,
    PING,
    TEXT,
    TEXT_BEGINS,
    TEXT_COMPRESSED,
    TEXT_ENDS,
    Server,
    frame,
)
from trio.lowlevel import wait_readable, wait_writable
from trio.testing import wait_all_tasks_blocked


@dataclass(frozen=True)
class Workload:
    """A line of the table.

    Attributes:
        messages: How many messages a round has.
        round: Runs a round on an open WebSocket; returns the last message received.
        floor: Moves the same bytes on a bare socket.
        last: What `round` has to return.
        answer: What the server sends when something has arrived.
        compression: Whether permessage-deflate is in use.
    """

    messages: int
    round: Callable[[Any, Server], Awaitable[object]]
    floor: Callable[[socket.socket, Server], Awaitable[object]]
    last: object = None
    answer: bytes = b""
    compression: bool = False


async def receive_singly(ws: Any, count: int) -> object:
    message: object = None
    for _ in range(count):
        message = await ws.receive()
    return message


async def receive_in_batches(ws: Any, count: int) -> object:
    messages: list[object] = []
    while count > 0:
        messages = await ws.receive_batch()
        count -= len(messages)
    return messages[-1]


async def receive_and_reply(ws: Any, count: int) -> object:
    """Receive, and wait until the pongs are sent."""
    message = await receive_singly(ws, count)
    await wait_all_tasks_blocked()
    return message


def receiving(
    frames: Sequence[bytes],
    last: str | bytes,
    receive: Callable[[Any, int], Awaitable[object]] = receive_singly,
    *,
    compression: bool = False,
) -> Workload:
    """Return the workload of receiving messages that have arrived already."""
    data = b"".join(frames)

    async def one_round(ws: Any, server: Server) -> object:
        server.write(data)
        return await receive(ws, len(frames))

    async def floor(bare: socket.socket, server: Server) -> None:
        server.write(data)
        await receive_bytes(bare, len(data))

    return Workload(len(frames), one_round, floor, last, compression=compression)


async def receive_bytes(bare: socket.socket, count: int) -> None:
    while count > 0:
        try:
            count -= bare.recv_into(BUFFER)
        except BlockingIOError:
            await wait_readable(bare)


def sending(messages: Sequence[str | bytes], *, compression: bool = False) -> Workload:
    """Return the workload of sending; the server reads after each round."""
    data = [masked(len(message)) for message in messages]

    async def one_round(ws: Any, server: Server) -> None:
        for message in messages:
            await ws.send(message)
        server.play()

    async def floor(bare: socket.socket, server: Server) -> None:
        for each in data:
            await send_bytes(bare, each)
        server.play()

    return Workload(len(messages), one_round, floor, compression=compression)


def masked(size: int) -> bytes:
    """Return as many bytes as a client's frame of `size` payload bytes has."""
    return bytes(len(frame(BINARY, bytes(size))) + 4)


async def send_bytes(bare: socket.socket, data: bytes) -> None:
    unsent = memoryview(data)
    while unsent:
        try:
            unsent = unsent[bare.send(unsent) :]
        except BlockingIOError:
            await wait_writable(bare)


def round_trip(message: str) -> Workload:
    """Return the workload of sending a message and waiting for its answer."""
    answer = frame(TEXT, message.encode())
    request = masked(len(message))

    async def one_round(ws: Any, _: Server) -> object:
        await ws.send(message)
        return await ws.receive()

    async def floor(bare: socket.socket, _: Server) -> None:
        bare.send(request)
        await wait_readable(bare)
        bare.recv_into(BUFFER)

    return Workload(1, one_round, floor, message, answer)


def compressed(documents: Sequence[str]) -> list[bytes]:
    """Return frames that the server can repeat, because they refer to nothing before them."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    payloads = []
    for document in documents:
        data = compressor.compress(document.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payloads.append(data.removesuffix(b"\x00\x00\xff\xff"))  # RFC 7692 section 7.2.1
    return [frame(TEXT_COMPRESSED, payload) for payload in payloads]


def make_workloads() -> dict[str, Workload]:
    random.seed(1)
    documents = [json.dumps([trade(n), book(n), trade(n)]) for n in range(16)]  # 1 KiB each
    short, long, huge = "x" * 100, bytes(4096), bytes(2**20)
    half = short.encode()[:50]
    text = frame(TEXT, short.encode())
    fragmented = frame(TEXT_BEGINS, half) + frame(TEXT_ENDS, half)
    pinged = frame(PING, b"ping") + text
    return {
        "receive-100": receiving([text] * 400, short),
        "receive-batch": receiving([text] * 400, short, receive_in_batches),
        "receive-4k": receiving([frame(BINARY, long)] * 16, long),
        "receive-1m": receiving([frame(BINARY, huge)], huge),
        "receive-fragments": receiving([fragmented] * 5, short),
        "receive-pings": receiving([pinged] * 8, short, receive_and_reply),
        "receive-deflate": receiving(compressed(documents), documents[-1], compression=True),
        "send-100": sending([short.encode()] * 25),
        "send-4k": sending([long] * 16),
        "send-1m": sending([huge]),
        "send-deflate": sending(documents[:10], compression=True),
        "round-trip": round_trip(short),
    }
