"""The clients that are compared, each behind the same few names."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Connection(Protocol):
    """An open WebSocket; `receive_batch` is there only where the library has it."""

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> object: ...


class Client(Protocol):
    """A library, with the event loop that it is run on.

    Attributes:
        is_limit: Whether it looks at nothing that it receives, so that there is nothing to check.
        compresses: Whether it has permessage-deflate.
    """

    is_limit: bool
    compresses: bool

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any: ...

    def connect(
        self, url: str, ssl_context: ssl.SSLContext | None, *, compress: bool
    ) -> AbstractAsyncContextManager[Connection]: ...

    def content(self, received: Any) -> str | bytes: ...

    async def together(self, functions: list[Callable[[], Awaitable[Any]]]) -> None: ...

    async def sleep(self, seconds: float) -> None: ...


def load(name: str) -> Client:
    """Import the adapter of that name; the libraries of the others are not loaded."""
    client: Client = importlib.import_module(f"clients.on_{name}").CLIENT
    return client
