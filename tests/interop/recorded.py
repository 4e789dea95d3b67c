"""What passed over a stream, as frames: what a server does not tell of itself can be seen here."""

from collections.abc import Callable
from typing import TypeVar

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, Pong

Frame = TypeVar("Frame", Ping, Pong)


class Recorded(trio.abc.Stream):
    """A stream that keeps what passes over it, to be read as frames."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sent = b""
        self._received = b""
        self._passed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self._sent += data
        self._tell()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self._received += data
        self._tell()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _tell(self) -> None:
        self._passed.set()
        self._passed = trio.Event()

    async def first_received(self, kind: type[Frame]) -> Frame:
        return await self._first(kind, ConnectionType.CLIENT, lambda: self._received)

    async def first_sent(self, kind: type[Frame]) -> Frame:
        return await self._first(kind, ConnectionType.SERVER, lambda: self._sent)

    async def _first(
        self, kind: type[Frame], reader: ConnectionType, passed: Callable[[], bytes]
    ) -> Frame:
        while True:
            _, _, frames = passed().partition(b"\r\n\r\n")
            parser = Connection(reader)
            parser.receive_data(frames)
            for event in parser.events():
                if isinstance(event, kind):
                    return event
            await self._passed.wait()
