"""Connecting again: a loop over connections, with a pause where one did not last.

Nothing is held open between two connections: ``__anext__`` opens nothing, and what ``__aenter__``
has opened is closed by ``__aexit__``, around the user's own block. So the loop may be left at any
time, in any way (PEP 789).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, TypeAlias, Unpack, cast, overload

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._background import background_task
from trio_wsclient._client import WebSocketClient, connection_of
from trio_wsclient._connection.keepalive import silence_task
from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionClosedOK,
    HandshakeError,
    WebSocketError,
    drop_tracebacks,
)
from trio_wsclient._interrupts import await_interruptible, call_interruptible
from trio_wsclient._misuse import OnlyAsyncFor, OnlyAsyncWith, check_trio
from trio_wsclient._net.reasons import system_reasons
from trio_wsclient._open import open_websocket_client
from trio_wsclient._options import ClientOptions, check_seconds, make_options
from trio_wsclient._retry import RetryDelay, RetrySchedule
from trio_wsclient._retry import retry_delay as default_retry_delay

_Block: TypeAlias = AbstractAsyncContextManager[WebSocketClient]
_Open: TypeAlias = Callable[[], _Block]
_MakeURL: TypeAlias = Callable[[], Awaitable[str]]

_FOR_ONE: Final = ("stream", "extensions")  # options that can be used once only


@overload
def reconnecting(
    target: str | _MakeURL,
    /,
    *,
    retry_delay: RetryDelay = ...,
    first_delay: float = ...,
    max_delay: float = ...,
    reset_after: float = ...,
    silence_timeout: float | None = ...,
    **options: Unpack[ClientOptions],
) -> Reconnecting: ...


@overload
def reconnecting(
    target: _Open,
    /,
    *,
    retry_delay: RetryDelay = ...,
    first_delay: float = ...,
    max_delay: float = ...,
    reset_after: float = ...,
    silence_timeout: float | None = ...,
) -> Reconnecting: ...


def reconnecting(
    target: str | _MakeURL | _Open,
    /,
    *,
    retry_delay: RetryDelay = default_retry_delay,
    first_delay: float = 1.0,
    max_delay: float = 60.0,
    reset_after: float = 60.0,
    silence_timeout: float | None = None,
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

    The loop goes on until you leave it, or until an end is not worth a retry. Entering a connection
    tries until it is open. Its block is that of ``open_websocket_client``, except that this
    connection's own ``ConnectionClosed`` does not leave it, alone or in a group of nothing else.
    Any other exception leaves the block and the loop as it is. ``break`` and ``return`` end both.
    For a deadline, put the loop into ``trio.move_on_after``.

    What happens after a round is decided when the loop asks for the next connection:

    * The round ended normally: its block ended without an exception, or with a
      ``ConnectionClosedOK``. The loop goes on, whatever the code. If ``retry_delay`` returns
      ``None``, the loop ends.
    * The connection ended with a ``ConnectionClosedError``. If ``retry_delay`` returns ``None``,
      the loop raises it. Otherwise the loop goes on.

    Before each try but the first, the loop waits for a random time: at most ``first_delay`` after a
    failure, twice that after the second failure in a row, and so on up to ``max_delay``. To that it
    adds what ``retry_delay`` has returned. A try that failed is a failure, and so is a connection
    that ended, unless it ended normally after ``reset_after``.

    Args:
        target: A URL. Or an async function that returns the URL for the next try, for a token in
            the query. Or a function that returns what is to be entered, an async context manager
            that gives a ``WebSocketClient``: for what can be used once only, and for a login that
            is part of opening. An ``OSError`` of a function is a failure.
        retry_delay: Called with the error, and with the number of failures in a row, this one
            included. It returns for how many seconds to wait at least, or ``None`` to give up. A
            round that ended normally comes as ``ConnectionClosedOK``. To count tries::

                lambda error, failures: None if failures > 5 else retry_delay(error, failures)

        first_delay: In seconds, as are the next two, for servers that are back soon.
        max_delay: For a feed that has to be there within seconds of its server's return.
        reset_after: How long a connection has to last for the failures before it to be forgotten;
            shorter for servers that end each connection after some minutes.
        silence_timeout: How long a connection may be without a message, in seconds, while the
            client reads. Then the client fails it, and tries again. For feeds whose server goes on
            answering pings after the feed has died. ``None`` for no limit.
        **options: See ``ClientOptions``; for a URL, and for an async function.

    Returns:
        An asynchronous iterator over connections to be entered, each with the attributes
        ``attempt`` and ``last_error``, from which a session can be resumed.

    Raises:
        TypeError: An argument is of the wrong type. Raised by the call itself, as are the next two.
        ValueError: A number is out of range, or an option can be used for one connection only.
        InvalidURL: The URL is not one of a WebSocket.
        HandshakeError: No connection was made, and a retry is not worth it. Raised when a
            connection is entered.
        ConnectionClosedError: The connection ended, and a retry is not worth it. Raised when the
            loop asks for the next connection.
        RuntimeError: The loop asks for the next connection before the last one was entered.
    """
    delays = {"first_delay": first_delay, "max_delay": max_delay, "reset_after": reset_after}
    for name, value in delays.items():
        check_seconds(name, value, may_be_zero=True)
    if silence_timeout == math.inf:
        silence_timeout = None
    if silence_timeout is not None:
        check_seconds("silence_timeout", silence_timeout, none="no limit")
    if not callable(retry_delay):
        raise TypeError(
            f"retry_delay has to be a function, not {type(retry_delay).__name__}; for the length "
            "of the delays use first_delay and max_delay"
        )
    if not callable(target) and not isinstance(target, str):
        raise TypeError(f"target has to be a URL or a function, not {type(target).__name__}")
    if callable(target) and options and not _is_async(target):
        raise TypeError(
            f"{next(iter(options))} has no effect if the target is a function that is not async: "
            "pass it to open_websocket_client there"
        )
    for name in _FOR_ONE:
        if options.get(name):
            raise ValueError(
                f"{name} can be used for one connection only: instead of a URL pass a function "
                "that calls open_websocket_client"
            )
    checked = make_options(options, "retry_delay", "silence_timeout", *delays)
    # What can be iterated once only is for more than one connection.
    options |= {"extra_headers": checked.extra_headers, "subprotocols": checked.subprotocols}
    open_url = partial(open_websocket_client, **options)
    if not callable(target):
        open_url(target)  # A wrong URL is an error now, not in the loop.
    schedule = RetrySchedule(
        retry_delay, **delays, logger=checked.logger, observer=checked.observer
    )
    return Reconnecting(_Opener(target, open_url, silence_timeout), schedule)


def _is_async(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 that of an object with this method
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


class _Opener(NamedTuple):
    """Makes the block of the next try: of a URL, or of what a function returns."""

    target: str | Callable[[], object]
    open_url: Callable[[str], _Block]
    silence_timeout: float | None

    async def make_block(self) -> _Block:
        """Return what is to be entered for the next try."""
        block = await self._ask_target()
        return block if self.silence_timeout is None else _Watched(block, self.silence_timeout)

    async def _ask_target(self) -> _Block:
        """Call the function, if there is one.

        Raises:
            HandshakeError: The function raised an ``OSError``. What else it raises leaves as it is.
            TypeError: The function returned neither a URL nor a block.
        """
        if isinstance(self.target, str):
            return self.open_url(self.target)
        try:
            made = call_interruptible(self.target)
            if hasattr(made, "__aenter__"):  # first: some blocks can be awaited, too
                return cast("_Block", made)
            if inspect.isawaitable(made):
                made = await await_interruptible(made)
                if isinstance(made, str):
                    return self.open_url(made)
                raise TypeError(f"an async target has to return a URL, not {type(made).__name__}")
        except OSError as exc:
            raise HandshakeError(f"the target failed: {system_reasons(exc)}") from exc
        raise TypeError(
            "the target has to return what open_websocket_client returns, not "
            f"{type(made).__name__}; an async target returns a URL"
        )


class _Watched(AbstractAsyncContextManager[WebSocketClient]):
    """A block whose connection is failed if no message comes for some time."""

    def __init__(self, block: _Block, silence_timeout: float) -> None:
        self._stack = AsyncExitStack()
        self._block = block
        self._silence_timeout = silence_timeout

    @enable_ki_protection
    async def __aenter__(self) -> WebSocketClient:
        ws = await self._stack.enter_async_context(self._block)
        watching = background_task(silence_task, connection_of(ws), self._silence_timeout)
        await self._stack.enter_async_context(watching)
        return ws

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # Bounded by close_timeout.
        return bool(await self._stack.__aexit__(exc_type, exc, traceback))  # noqa: ASYNC102


class _End(NamedTuple):
    """How a round ended, until the loop asks for the next one."""

    error: ConnectionClosed
    lasted: float  # seconds


@dataclass(slots=True)
class _Round:
    """What the loop has to know of its latest round."""

    is_entered: bool = False
    end: _End | None = None


class Reconnecting(OnlyAsyncFor):
    """An asynchronous iterator over connections; see ``reconnecting``."""

    def __init__(self, opener: _Opener, schedule: RetrySchedule) -> None:
        self._opener = opener
        self._schedule = schedule
        self._round = _Round(is_entered=True)

    def __aiter__(self) -> Reconnecting:
        return self

    async def __anext__(self) -> Reconnection:
        """Return the next connection, which is still to be entered.

        Raises:
            ConnectionClosedError: The last one ended, and a retry is not worth it.
            RuntimeError: The last one was not entered.
        """
        check_trio()
        await trio.lowlevel.checkpoint()
        if not self._round.is_entered:
            raise RuntimeError("enter each connection: 'async with connection as ws'")
        end, self._round.end = self._round.end, None
        if end is not None:
            error, lasted = end
            retries = self._schedule.retries_after(error, lasted=lasted)
            try:
                if not retries and not isinstance(error, ConnectionClosedOK):
                    raise error
            finally:
                del end, error  # Its traceback refers to this frame.
        if self._schedule.is_over:
            raise StopAsyncIteration
        self._round = _Round()
        return Reconnection(self._opener, self._schedule, self._round)


class Reconnection(OnlyAsyncWith, AbstractAsyncContextManager[WebSocketClient]):
    """One connection of the loop, to be entered once."""

    _usage = "async with connection as ws"
    _call = "connection"

    def __init__(self, opener: _Opener, schedule: RetrySchedule, this_round: _Round) -> None:
        self._opener = opener
        self._schedule = schedule
        self._round = this_round
        self._opened_at = 0.0
        self._block: _Block
        self._client: WebSocketClient

    @property
    def attempt(self) -> int:
        """Which try it is, 1 more than there were failures in a row."""
        return self._schedule.failures + 1

    @property
    def last_error(self) -> WebSocketError | None:
        """How the latest connection ended, or why the latest try failed; ``None`` at first.

        It has no traceback.
        """
        return self._schedule.last_error

    @enable_ki_protection
    async def __aenter__(self) -> WebSocketClient:
        """Try until a connection is open; cancelled, nothing is.

        Raises:
            HandshakeError: Another try is not worth it.
            RuntimeError: It was entered already.
        """
        if self._round.is_entered:
            raise RuntimeError("this connection was entered already; take the next one")
        self._round.is_entered = True
        self._block, self._client = await self._open()
        self._opened_at = trio.current_time()
        return self._client

    async def _open(self) -> tuple[_Block, WebSocketClient]:
        """Try until a connection is open, or a retry is not worth it."""
        while True:
            await trio.sleep(self._schedule.pause)
            try:
                block = await self._opener.make_block()
                return block, await block.__aenter__()
            except (HandshakeError, ConnectionClosed, BaseExceptionGroup) as exc:
                if not self._retries_after(exc):
                    raise

    # Break a cycle: the traceback of the exception refers to the frame of `_open`. So the exception
    # is handled in another frame, which is gone afterwards.
    def _retries_after(self, exc: BaseException) -> bool:
        error = _failure(exc)
        return error is not None and self._schedule.retries_after(error)

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close the connection, and swallow its own end: the loop decides about that."""
        lasted = trio.current_time() - self._opened_at
        try:
            # Bounded by close_timeout.
            if await self._block.__aexit__(exc_type, exc, traceback):  # noqa: ASYNC102
                exc = None
        # A nursery of the user's around the connection puts its end into a group.
        except (ConnectionClosed, BaseExceptionGroup) as replaced:
            if self._note_end(replaced, lasted):
                return True
            raise
        return self._note_end(exc, lasted)

    # It has a frame of its own for the reason given at `_retries_after`.
    def _note_end(self, leaves: BaseException | None, lasted: float) -> bool:
        """Note how the round ended; return whether what leaves is the end of its connection."""
        own = None if leaves is None else _failure(leaves, of=self._client.connection_id)
        error = own if isinstance(own, ConnectionClosed) else None
        if error is None:
            outcome = self._client.outcome
            error = None if outcome is None else _as_normal(outcome)
        if error is not None:
            drop_tracebacks(error)  # they refer to this connection, and it to the error
            self._round.end = _End(error, lasted)
        return leaves is None or own is not None


def _as_normal(outcome: ConnectionClosed) -> ConnectionClosedOK:
    """Return the end of a connection whose block ended without it, as a normal one."""
    if isinstance(outcome, ConnectionClosedOK):
        return outcome
    normal = ConnectionClosedOK(outcome.received, outcome.sent, outcome.problem)
    normal.closed_by, normal.connection_id = outcome.closed_by, outcome.connection_id
    normal.__cause__ = outcome.__cause__
    return normal


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
