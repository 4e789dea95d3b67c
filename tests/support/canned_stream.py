"""A stream whose answers are known in advance; it keeps what is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio


async def eof() -> bytes:
    return b""


async def reset() -> bytes:
    raise trio.BrokenResourceError("reset") from ConnectionResetError("reset by peer")


class CannedStream(trio.abc.Stream):
    """Gives out an answer piece by piece, whatever it is sent; `sent` has each write by itself.

    Args:
        pieces: The answer. A read gets at most one piece, and at most `max_bytes` of it.
        end: What comes after it: the end of TCP, `reset`, or `trio.sleep_forever`.
        writes: How many writes it takes before it breaks.
    """

    def __init__(
        self, *pieces: bytes, end: Callable[[], Awaitable[bytes]] = eof, writes: int = 100
    ) -> None:
        self._pieces = deque(filter(None, pieces))
        self._end = end
        self._writes = writes
        self.sent: list[bytes] = []
        self.closed = False

    @property
    def unread(self) -> bytes:
        return b"".join(self._pieces)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        assert not self.closed
        if len(self.sent) == self._writes:
            await reset()
        self.sent.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        assert not self.closed
        piece = self._pieces.popleft() if self._pieces else await self._end()
        if max_bytes is not None and len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        return piece

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()
