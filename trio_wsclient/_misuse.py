"""Errors for a program that uses a block, or a handler, in a wrong way."""

from __future__ import annotations

import inspect
from typing import ClassVar, Final, NoReturn

import trio

# Methods and attributes of a connection in websockets, trio-websocket, aiohttp, httpx-ws and
# websocket-client, and what they are called here.
_IN_OTHER_LIBRARIES: Final = {
    "close": "aclose",
    "close_code": "outcome",
    "close_reason": "outcome",
    "closed": "outcome",
    "disconnect": "aclose",
    "get_message": "receive",
    "handshake_headers": "response_headers",
    "id": "connection_id",
    "local": "local_address",
    "path": "url",
    "receive_bytes": "receive_binary",
    "receive_json": "receive",
    "receive_str": "receive_text",
    "recv": "receive",
    "recv_streaming": "frames",
    "remote": "remote_address",
    "response": "response_headers",
    "send_bytes": "send_binary",
    "send_json": "send",
    "send_message": "send",
    "send_str": "send_text",
}


class OnlyAsyncWith:
    """A base for what ``async with`` enters: any other use says how it is to be used."""

    _usage: ClassVar[str] = "async with open_websocket_client(...) as ws"
    _call: ClassVar[str] = "open_websocket_client(...)"

    def __await__(self) -> NoReturn:
        raise TypeError(f"use '{self._usage}', not 'await {self._call}'")

    def __enter__(self) -> NoReturn:
        raise TypeError(f"use '{self._usage}', not 'with {self._call}'")

    def __exit__(self, *_: object) -> NoReturn:
        raise AssertionError("__enter__ has raised")

    def __aiter__(self) -> NoReturn:
        raise TypeError(f"use '{self._usage}', and then 'async for message in ws'")

    def __getattr__(self, name: str) -> NoReturn:
        ours = _IN_OTHER_LIBRARIES.get(name, name)
        advice = "" if name.startswith("_") else f"; use '{self._usage}', and then 'ws.{ours}'"
        raise AttributeError(f"'{self._call}' has no attribute {name!r}{advice}")


class OnlyAsyncFor:
    """A base for what ``async for`` iterates over: any other use says how it is to be used."""

    _advice: ClassVar[str] = (
        "use 'async for connection in reconnecting(...)', and then 'async with connection as ws'"
    )

    def __await__(self) -> NoReturn:
        raise TypeError(self._advice)

    def __iter__(self) -> NoReturn:
        raise TypeError(self._advice)

    async def __aenter__(self) -> NoReturn:
        raise TypeError(self._advice)

    async def __aexit__(self, *_: object) -> NoReturn:
        raise AssertionError("__aenter__ has raised")


def check_trio() -> None:
    """Check that the caller runs under Trio.

    Raises:
        RuntimeError: It runs under asyncio, or nothing.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            "trio_wsclient needs Trio: start the program by trio.run(main), not by asyncio"
        ) from None


def check_handler(handler: object) -> None:
    """Check a function that is to be called with the client.

    Raises:
        TypeError: It is a coroutine object, or can't be called.
    """
    if inspect.iscoroutine(handler):
        handler.close()  # Python would warn that it was never awaited.
        raise TypeError("handler has to be an async function: pass 'handler', not 'handler(...)'")
    if not callable(handler):
        is_url = isinstance(handler, str)
        order = "; the order is run_websocket_client(url, handler)" if is_url else ""
        kind = type(handler).__name__
        raise TypeError(f"handler has to be an async function, not {kind}{order}")
