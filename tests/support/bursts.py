"""Bursts of a server, and what a client's connection holds after them (E46)."""

from __future__ import annotations

import gc
import ssl
import zlib
from collections.abc import Callable, Sequence

import trio
import wire
from thread_server import ThreadPeer
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import open_websocket_client

SIZE = 10_000_000  # bytes of payload, once inflated
SMALL = 300_000  # bytes: about what one read takes, for something may keep the last one
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def small_messages(size: int) -> bytes:
    return wire.binary(bytes(200)) * (size // 200)


def one_message(size: int) -> bytes:
    return wire.binary(bytes(size))


def one_text(size: int) -> bytes:
    """Make a text that takes two bytes a character here and there."""
    return wire.text("é" * (size // 2))


def fragments(size: int) -> bytes:
    middle = wire.continuation(bytes(4_000), fin=False)
    return wire.binary(b"", fin=False) + middle * (size // 4_000) + wire.continuation()


def compressed_message(size: int) -> bytes:
    return wire.frame(wire.BINARY, _compress(zlib.compressobj(1, wbits=-15), size), rsv=RSV1)


def compressed_messages(size: int) -> bytes:
    compressor = zlib.compressobj(1, wbits=-15)  # one context for all
    return b"".join(
        wire.frame(wire.BINARY, _compress(compressor, 10_000), rsv=RSV1)
        for _ in range(size // 10_000)
    )


def _compress(compressor: zlib._Compress, size: int) -> bytes:
    data = bytes(range(250)) * (size // 250)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


BURSTS = [
    small_messages,
    one_message,
    one_text,
    fragments,
    compressed_message,
    compressed_messages,
]


class Bursts:
    """A script: the bursts that the client asks for by their size, until it closes.

    Args:
        make: Makes a burst of `size` bytes.
    """

    def __init__(self, make: Callable[[int], bytes]) -> None:
        # They are made before anything is measured.
        self._bursts = {b"%d" % size: make(size) + wire.text("end") for size in (SMALL, SIZE)}

    def __call__(self, peer: ThreadPeer) -> None:
        peer.accept(DEFLATE)
        while (frame := peer.next_frame()) is not None and frame.opcode == wire.TEXT:
            peer.send(self._bursts[frame.payload])
        peer.send(wire.close())


async def held_after_bursts(
    url: str, ssl_context: ssl.SSLContext | None, in_use: Callable[[], int]
) -> int:
    """Return how many bytes a connection holds after bursts, beyond what it held before them.

    The result is the largest value after any of the bursts. It is measured when the burst has been
    taken and the server is silent.

    Args:
        url: The URL of a server with `Bursts`.
        ssl_context: For `wss`.
        in_use: Returns the bytes that the process has in use.
    """
    await _after_bursts([SMALL], url, ssl_context, in_use)  # This loads what is loaded once.
    return max(await _after_bursts([SIZE, SMALL, SMALL], url, ssl_context, in_use))


async def _after_bursts(
    sizes: Sequence[int],
    url: str,
    ssl_context: ssl.SSLContext | None,
    in_use: Callable[[], int],
) -> list[int]:
    held = []
    async with open_websocket_client(
        url, ssl_context=ssl_context, compression="deflate", max_message_size=None
    ) as ws:
        before = await _measured(in_use)
        for size in sizes:
            await ws.send(str(size))
            with trio.fail_after(60):
                while await ws.receive() != "end":
                    pass
            held.append(await _measured(in_use) - before)
    return held


async def _measured(in_use: Callable[[], int]) -> int:
    await wait_all_tasks_blocked(0.01)
    gc.collect()
    return in_use()
