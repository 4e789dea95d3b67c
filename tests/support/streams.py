"""Streams of a user's own, with the faults that such streams have."""

from __future__ import annotations

import trio


class Valve(trio.abc.Stream):
    """A stream whose writes can be held up, and that counts what goes through."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.opened = trio.Event()
        self.opened.set()
        self.writing = 0
        self.is_closed = False

    def shut(self) -> None:
        self.opened = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writing += 1
        try:
            await self.opened.wait()
            await self.inner.send_all(data)
        finally:
            self.writing -= 1

    async def wait_send_all_might_not_block(self) -> None:
        await self.opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.is_closed = True
        self.opened.set()
        await self.inner.aclose()


class BreaksOnWrite(Valve):
    """A stream that can be read, but no longer written to."""

    broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("broken pipe")
        await super().send_all(data)


class RaisesAnything(Valve):
    """A user's stream that keeps to no contract."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        if b"raise" in data:
            raise ZeroDivisionError("what a stream")
        return data

    async def aclose(self) -> None:
        await super().aclose()
        raise ZeroDivisionError("what a stream")
