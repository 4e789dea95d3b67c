"""What a check needs of a client library; each of the `on_...` modules offers it."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Lacking(Exception):
    """The library has no such thing."""


class Library(Protocol):
    """A module: its functions take the library's own object for a connection."""

    CLOSED: type[Exception]

    def connect(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        open_timeout: float = 5,
        close_timeout: float = 0.5,
        max_message_size: int = 2**20,
        keepalive: tuple[float, float] | None = None,
    ) -> AbstractAsyncContextManager[Any]:
        """Open a block; keepalive is interval and timeout, in seconds."""
        ...

    async def send(self, ws: Any, message: str | bytes) -> None: ...

    async def receive(self, ws: Any) -> str | bytes: ...

    async def ping(self, ws: Any) -> None:
        """Send a ping and wait for its pong."""
        ...

    async def close(self, ws: Any, code: int) -> None: ...

    def plant(self, bug: Exception) -> None:
        """Have a background task of the library raise a bug when a message comes."""
        ...
