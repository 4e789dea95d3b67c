"""Connecting again: a loop over connections, with a pause where one did not last.

Nothing is held open between two connections: ``__anext__`` opens nothing, and what ``__aenter__``
has opened is closed by ``__aexit__``, around the user's own block. So the loop may be left at any
time, in any way (PEP 789).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Final, TypeAlias, Unpack, overload

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient import _retry
from trio_wsclient._client import WebSocketClient
from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionClosedOK,
    HandshakeError,
    WebSocketError,
    drop_tracebacks,
)
from trio_wsclient._functions import refuse_async
from trio_wsclient._interrupts import call_interruptible
from trio_wsclient._misuse import OnlyAsyncFor, OnlyAsyncWith, check_trio
from trio_wsclient._open import open_websocket_client
from trio_wsclient._options import ClientOptions, check_seconds, make_options

_Open: TypeAlias = Callable[[], AbstractAsyncContextManager[WebSocketClient]]
_RetryDelay: TypeAlias = Callable[[WebSocketError, int], float | None]

_FOR_ONE: Final = ("stream", "extensions")  # options that can be used once only
_MAX_DOUBLINGS: Final = 60  # from then on any delay is years


@overload
def reconnecting(
    target: str,
    /,
    *,
    retry_delay: _RetryDelay = ...,
    first_delay: float = ...,
    max_delay: float = ...,
    reset_after: float = ...,
    **options: Unpack[ClientOptions],
) -> Reconnecting: ...


@overload
def reconnecting(
    target: _Open,
    /,
    *,
    retry_delay: _RetryDelay = ...,
    first_delay: float = ...,
    max_delay: float = ...,
    reset_after: float = ...,
) -> Reconnecting: ...


def reconnecting(
    target: str | _Open,
    /,
    *,
    retry_delay: _RetryDelay = _retry.retry_delay,
    first_delay: float = 1.0,
    max_delay: float = 60.0,
    reset_after: float = 60.0,
    **options: Unpack[ClientOptions],
) -> Reconnecting:
    """Iterate over connections to a server, each opened when the one before has ended.

    Example:
        ::

            async for connection in reconnecting("wss://example.org/feed"):
                async with connection as ws:
                    await ws.send("subscribe")
                    async for message in ws:
                        print(message)

    Entering a connection tries until it is open. Its block is that of ``open_websocket_client``,
    but that the end of this connection, raised by one of its calls, does not leave it (nor does a
    nursery's group of nothing else) if another try is worth it: then the loop goes on. It is over
    after Close 1000, also if that was ours because the block was left; to go on all the same close
    with another code, ``await ws.aclose(1012)``. All other exceptions leave the block and the loop
    as they are. ``break`` and ``return`` end both, and nothing is held open between two
    connections. For a deadline, put the loop into ``trio.move_on_after``.

    Before each try but the first it waits for a random time: at most ``first_delay`` after a
    failure, twice that after the second in a row, and so on up to ``max_delay``; and before that
    for as long as the server has asked for. A failure is a try that has failed, or a connection
    that has ended; one that lasted begins a new row.

    Args:
        target: A URL; or a function that makes what is to be entered, an asynchronous context
            manager that gives a ``WebSocketClient``. It is called before each try: for URLs and
            tokens that expire, and for what can be used once only.
        retry_delay: Called with each error, and the number of failures in a row, that one included;
            returns for how many seconds to wait at least, or ``None`` to give up. To count tries::

                lambda error, failures: None if failures > 5 else retry_delay(error, failures)

        first_delay: In seconds, as are the next two, for servers that are back soon.
        max_delay: For a feed that has to be there within seconds of its server's return.
        reset_after: How long a connection has to last for the failures before it to be forgotten;
            shorter for servers that end each connection after some minutes.
        **options: See ``ClientOptions``; not with a function.

    Returns:
        An asynchronous iterator over connections to be entered, each with the attributes
        ``attempt`` and ``last_error``, from which a session can be resumed.

    Raises:
        TypeError: An argument is of the wrong type. Raised by the call itself, as are the next two.
        ValueError: A number is out of range, or an option can be used for one connection only.
        InvalidURL: The URL is not one of a WebSocket.
        HandshakeError: No connection came about, and another try is not worth it. Raised when a
            connection is entered.
        ConnectionClosedError: The connection ended, likewise. Raised when its block is left.
    """
    delays = {"first_delay": first_delay, "max_delay": max_delay, "reset_after": reset_after}
    for name, value in delays.items():
        check_seconds(name, value, may_be_zero=True)
    if not callable(retry_delay):
        raise TypeError(
            f"retry_delay has to be a function, not {type(retry_delay).__name__}; for the length "
            "of the delays use first_delay and max_delay"
        )
    if not callable(target) and not isinstance(target, str):
        raise TypeError(f"target has to be a URL or a function, not {type(target).__name__}")
    if callable(target) and options:
        raise TypeError(
            f"{next(iter(options))} has no effect if the target is a function: pass it to "
            "open_websocket_client there"
        )
    for name in _FOR_ONE:
        if options.get(name):
            raise ValueError(
                f"{name} can be used for one connection only: instead of a URL pass a function "
                "that calls open_websocket_client"
            )
    checked = make_options(options, "retry_delay", *delays)
    if not callable(target):
        # What can be iterated once only is for more than one connection.
        options["extra_headers"] = checked.extra_headers
        options["subprotocols"] = checked.subprotocols
        target = partial(open_websocket_client, target, **options)
        target()  # What is wrong with the URL is said now.
    return Reconnecting(_Schedule(target, retry_delay, **delays, logger=checked.logger))


class _Schedule:
    """When to try, and how often it was tried."""

    def __init__(
        self,
        open_connection: _Open,
        retry_delay: _RetryDelay,
        *,
        first_delay: float,
        max_delay: float,
        reset_after: float,
        logger: logging.Logger,
    ) -> None:
        self._open = open_connection
        self._retry_delay = retry_delay
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._reset_after = reset_after
        self._logger = logger
        self._pause = 0.0  # seconds before the next try
        self.is_over: bool = False
        self.failures: int = 0  # in a row
        self.last_error: WebSocketError | None = None

    @enable_ki_protection
    async def open(self) -> tuple[AbstractAsyncContextManager[WebSocketClient], WebSocketClient]:
        """Try until a connection is open, or another try is not worth it."""
        while True:
            await trio.sleep(self._pause)
            block = call_interruptible(self._open)
            refuse_async("target", block)
            try:
                return block, await block.__aenter__()
            except (HandshakeError, ConnectionClosed, BaseExceptionGroup) as exc:
                if not self._goes_on_after_failing_to_open(exc):
                    raise

    # Break a cycle: the traceback of the exception refers to the frame of `open`. So the exception
    # is handled in another frame, which is gone afterwards.
    def _goes_on_after_failing_to_open(self, exc: BaseException) -> bool:
        error = _failure(exc)
        return error is not None and self.goes_on_after(error)

    def goes_on_after(self, error: WebSocketError, *, lasted: float | None = None) -> bool:
        """Take note of a failure, and tell whether to try again.

        Args:
            error: What it was. If there is another try, `keep` keeps it.
            lasted: Seconds that the connection did; ``None`` if none came about.
        """
        has_lasted = lasted is not None and lasted >= self._reset_after
        self.failures = 1 if has_lasted else self.failures + 1
        least = call_interruptible(self._retry_delay, error, self.failures)
        refuse_async("retry_delay", least)
        if least is None:
            self.is_over = True
            return False
        most = min(self._first_delay * 2 ** min(self.failures - 1, _MAX_DOUBLINGS), self._max_delay)
        # Full jitter: clients that were cut off together do not come back together.
        self._pause = least + random.uniform(0, most)  # noqa: S311 nothing secret
        self._logger.info("trying again in %.1f s: %s", self._pause, error)
        self.keep(error)
        return True

    def keep(self, error: WebSocketError) -> None:
        """Keep an error that is not raised again as ``last_error``.

        Its traceback refers to frames, and they to its connection, which would stay in memory.
        """
        drop_tracebacks(error)
        self.last_error = error


class Reconnecting(OnlyAsyncFor):
    """An asynchronous iterator over connections; see ``reconnecting``."""

    def __init__(self, schedule: _Schedule) -> None:
        self._schedule = schedule

    def __aiter__(self) -> Reconnecting:
        return self

    async def __anext__(self) -> Reconnection:
        """Return the next connection, which is still to be entered."""
        check_trio()
        await trio.lowlevel.checkpoint()
        if self._schedule.is_over:
            raise StopAsyncIteration
        return Reconnection(self._schedule)


class Reconnection(OnlyAsyncWith, AbstractAsyncContextManager[WebSocketClient]):
    """One connection of the loop, to be entered once."""

    _usage = "async with connection as ws"
    _call = "connection"

    def __init__(self, schedule: _Schedule) -> None:
        self._schedule = schedule
        self._is_entered = False
        self._opened_at = 0.0
        self._block: AbstractAsyncContextManager[WebSocketClient]
        self._client: WebSocketClient

    @property
    def attempt(self) -> int:
        """Which try it is, 1 more than there were failures in a row."""
        return self._schedule.failures + 1

    @property
    def last_error(self) -> WebSocketError | None:
        """The latest failure, without its traceback; ``None`` if there was none yet."""
        return self._schedule.last_error

    @enable_ki_protection
    async def __aenter__(self) -> WebSocketClient:
        """Try until a connection is open; cancelled, nothing is.

        Raises:
            HandshakeError: Another try is not worth it.
            RuntimeError: It was entered already.
        """
        if self._is_entered:
            raise RuntimeError("this connection was entered already; take the next one")
        self._is_entered = True
        self._block, self._client = await self._schedule.open()
        self._opened_at = trio.current_time()
        return self._client

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close the connection; swallow its own end if the loop goes on, or is over in order."""
        lasted = trio.current_time() - self._opened_at
        try:
            # Bounded by close_timeout.
            if await self._block.__aexit__(exc_type, exc, traceback):  # noqa: ASYNC102
                exc = None
        # A nursery of the user's around the connection puts its end into a group.
        except (ConnectionClosed, BaseExceptionGroup) as replaced:
            if self._swallows(replaced, lasted):
                return True
            raise
        return self._swallows(exc, lasted)

    # It has a frame of its own for the reason given at `_goes_on_after_failing_to_open`.
    def _swallows(self, leaves: BaseException | None, lasted: float) -> bool:
        if leaves is None:
            error: WebSocketError | None = self._client.outcome
        else:
            error = _failure(leaves, of=self._client.connection_id)
        if error is not None:
            if self._schedule.goes_on_after(error, lasted=lasted):
                return True
            if isinstance(error, ConnectionClosedOK):
                self._schedule.keep(error)
                return True
        return leaves is None


def _failure(exc: BaseException, *, of: int | None = None) -> WebSocketError | None:
    """Return the failure that an exception stands for, by itself or as all that a group holds.

    Args:
        exc: The exception.
        of: Whose end it has to be; ``None`` for whatever keeps a connection from opening.
    """
    if isinstance(exc, BaseExceptionGroup):
        found = [_failure(each, of=of) for each in exc.exceptions]
        return found[0] if all(found) else None
    if isinstance(exc, ConnectionClosed):
        return exc if of in {None, exc.connection_id} else None
    return exc if isinstance(exc, HandshakeError) and of is None else None
