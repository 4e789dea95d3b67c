"""Opening and leaving a connection: the only nursery, and which exception leaves it.

Theory of operation
-------------------

``_connect`` opens, without a nursery, so that its errors are never in a group. Then the nursery is
opened for the tasks of the connection, and the block runs inside it.

X1  The exception of the user's block never enters the nursery. The nursery is left with no
    exception in hand, whatever the block has raised; then ``__aexit__`` returns ``False``, and
    Python raises the very same object on, its traceback and context untouched.
X2  The tasks never raise (``_connection``), so whatever comes out of the nursery is a bug of ours:
    ``WebSocketInternalError``. But for Ctrl-C, which Trio may deliver at any wait of the main task.
    If a call has raised that error already, and it leaves the block, it leaves as it is.

The tasks are shielded, so they go on until the stream is closed, also if the block is cancelled.

Leaving goes one of three ways: with Close 1000; with 1011, if the block has raised; or without
waiting (C2), if the block is in a cancelled scope, or was left by Ctrl-C or ``SystemExit``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import NoReturn, Unpack

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._client import WebSocketClient
from trio_wsclient._connect.connector import Connector
from trio_wsclient._connection.keepalive import keepalive_task
from trio_wsclient._errors import WebSocketInternalError
from trio_wsclient._functions import check_awaitable
from trio_wsclient._http.url import URL, parse
from trio_wsclient._interrupts import INTERRUPTS, reduce_interrupts
from trio_wsclient._misuse import OnlyAsyncWith, check_handler, check_trio
from trio_wsclient._observe import Observer
from trio_wsclient._options import ClientOptions, Options, make_options
from trio_wsclient._protocol.closing import CloseFrame


def open_websocket_client(
    url: str, **options: Unpack[ClientOptions]
) -> AbstractAsyncContextManager[WebSocketClient]:
    """Open a WebSocket for the length of a block (RFC 6455).

    Example:
        ::

            async with open_websocket_client("wss://example.org/feed") as ws:
                await ws.send("subscribe")
                async for message in ws:
                    print(message)

    When the block is left, however it is left, the connection is closed within ``close_timeout``:
    with Close 1000, or 1011 if the block has raised. If the block is cancelled, it is closed at
    once. Whatever the block raises leaves it as it is, never in a group. As with any nursery, do
    not ``yield`` out of the block, but from a context manager (PEP 789).

    Cancelled while it opens, it leaves nothing open.

    Args:
        url: A ``ws`` or ``wss`` URL; ``http`` and ``https`` mean the same. Userinfo is sent as
            Basic authorization (RFC 7617).
        **options: See ``ClientOptions``.

    Returns:
        An asynchronous context manager, to be entered once; it gives a ``WebSocketClient``.

    Raises:
        TypeError: An option is unknown or of the wrong type. Raised by the call itself, as are
            the next two.
        ValueError: An option is out of range.
        InvalidURL: The URL is not one of a WebSocket.
        OpenTimeout: It was not open within ``open_timeout``. Raised when the block is entered, as
            are the next three.
        ConnectionRejected: The server answered with another status than 101, or with a redirect
            that was not followed.
        ProxyError: The proxy opened no tunnel.
        HandshakeError: No connection was made: TCP or TLS failed, or RFC 6455 §4.1 forbids the
            response.
        WebSocketInternalError: A bug of this library, raised when the block is left.
    """
    parsed, checked = parse(url), make_options(options)
    checked.check_url(parsed)
    return _Block(parsed, checked)


async def run_websocket_client(
    url: str,
    handler: Callable[[WebSocketClient], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[WebSocketClient] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ClientOptions],
) -> CloseFrame | None:
    """Open a WebSocket, run a function on it, and close it.

    For ``nursery.start_soon``, and for ``nursery.start``, which gets the ``WebSocketClient``. As
    both take no keyword arguments, pass options by ``functools.partial``.

    Args:
        url: See ``open_websocket_client``, also for all that it raises.
        handler: Called with the ``WebSocketClient``; when it returns, the connection is closed.
        task_status: Passed by ``nursery.start``.
        **options: See ``ClientOptions``.

    Returns:
        The server's Close frame; ``None`` if none came.
    """
    check_handler(handler)
    async with open_websocket_client(url, **options) as client:
        task_status.started(client)
        handled = handler(client)
        check_awaitable("handler", handler, handled)
        await handled
    return await client.wait_closed()


class _Block(OnlyAsyncWith, AbstractAsyncContextManager[WebSocketClient]):
    """The block around an open connection."""

    def __init__(self, url: URL, options: Options) -> None:
        self._url = url
        self._options = options
        self._is_entered = False

    @enable_ki_protection
    async def __aenter__(self) -> WebSocketClient:
        check_trio()
        if self._is_entered:
            raise RuntimeError("this block was entered already; open another one")
        self._is_entered = True
        interrupt: BaseException | None = None
        try:
            self._connection, self._client = await Connector(self._url, self._options).open()
        except BaseExceptionGroup as group:
            # trio.open_tcp_stream, when it is cancelled, may raise a group of nothing else.
            interrupt = reduce_interrupts(group)
            if interrupt is group:
                # The traceback of the user's group refers to this frame, so both would be
                # garbage in a cycle if the frame referred to the group.
                del interrupt
                raise
        # Raised in the `except` above, it would have the group as its context: a cycle.
        if interrupt is not None:
            try:
                raise interrupt from None
            finally:
                del interrupt  # Its traceback refers to this frame.
        self._task = trio.lowlevel.current_task()
        self._nurseries = trio.open_nursery(strict_exception_groups=True)
        self._nursery = await self._nurseries.__aenter__()
        self._nursery.start_soon(self._connection.stream_reader.receive_task)
        self._connection.replies.start_with(partial(self._start_reply_task, copy_context()))
        if self._options.ping_interval is not None:
            self._nursery.start_soon(
                keepalive_task,
                self._connection,
                self._options.ping_interval,
                self._options.ping_timeout,
            )
        return self._client

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if trio.lowlevel.current_task() is not self._task:
            await self._abandon()  # noqa: ASYNC102 it does not wait
        ours: list[BaseException] = []
        try:
            try:
                await self._leave(exc)  # noqa: ASYNC102 bounded by close_timeout
            finally:
                await self._connection.closing.close_forcefully()  # noqa: ASYNC102 shielded inside
        # Nothing may keep us from leaving the nursery; what it was is sorted out below.
        except BaseException as error:  # noqa: BLE001, ASYNC103
            ours.append(error)
        if not self._connection.record.stream_closed or self._options.ping_interval is not None:
            self._nursery.cancel_scope.cancel()
            self._connection.closing.expire()
        try:
            # X1 (your exception leaves as it is): with no exception, whatever the block has raised.
            await self._nurseries.__aexit__(None, None, None)  # noqa: ASYNC102
        except BaseException as error:  # noqa: BLE001, ASYNC103
            ours.append(error)
        self._report_closed()
        self._connection.closing.release()
        leaves = self._what_leaves(ours, exc)
        try:
            if leaves is None:
                return False  # X1 (your exception leaves as it is)
            raise leaves
        finally:
            # The traceback of an exception refers to this frame, so both would be garbage in a
            # cycle if the frame referred to the exception.
            del ours, leaves

    def _start_reply_task(self, context: Context) -> None:
        """Start the reply task, in the context of the block whichever task starts it."""
        try:
            context.run(self._nursery.start_soon, self._connection.reply_task)
        except RuntimeError:
            # Trio has closed the nursery, because the task that entered the block ended inside it
            # (see `_abandon`). Others may still use the connection.
            trio.lowlevel.spawn_system_task(self._connection.reply_task, context=context)

    async def _abandon(self) -> NoReturn:
        """Close the connection when another task leaves the block than the one that entered it.

        Trio closes an abandoned async generator in a task of its own. The nursery can't be left
        there: that would break Trio's stack of cancel scopes. Trio reports the nursery when the
        task that entered the block ends.
        """
        await self._connection.close_nowait()
        self._connection.closing.expire()
        raise RuntimeError(
            "another task leaves this block than the one that entered it; if an async generator "
            "yields inside the block, use it in 'async with contextlib.aclosing(...)'"
        )

    def _what_leaves(
        self, ours: list[BaseException], exc: BaseException | None
    ) -> BaseException | None:
        """Return the exception that leaves instead of the user's; ``None`` if that one leaves.

        Args:
            ours: What was raised while the block was left.
            exc: What the block has raised.
        """
        # `receive_task` has raised the bug, unless it had ended before. If a call of the user has
        # raised it, and that leaves the block, it is not added.
        bug = self._connection.closing.bug
        errors = [error for error in _flatten(ours) if error is not bug]
        leaves_already = isinstance(exc, WebSocketInternalError) and exc.__cause__ is bug
        if bug is not None and not leaves_already:
            errors.append(bug)
        if not errors:
            return None
        group = BaseExceptionGroup("while the block was left", errors)
        _, bugs = group.split(INTERRUPTS)
        if bugs is not None:  # X2 (background tasks never raise)
            error = WebSocketInternalError("a bug in trio_wsclient, please report it")
            error.__cause__ = _with_users(bugs, exc)
            return error
        interrupt = reduce_interrupts(group)
        # X1 (your exception leaves as it is): a cancel while closing does not replace it.
        return interrupt if isinstance(interrupt, KeyboardInterrupt) or exc is None else None

    def _report_closed(self) -> None:
        log, closing, client = self._connection.log, self._connection.record, self._client
        log.debug("over; received %s, sent %s", closing.received, closing.sent)

        def notify(observer: Observer) -> None:
            outcome = client.outcome
            assert outcome is not None
            observer.closed(log.connection_id, outcome, client.statistics())

        log.observe(notify)

    async def _leave(self, exc: BaseException | None) -> None:
        # A deadline may have passed without Trio having looked at it. It counts, too.
        is_cancelled = trio.current_effective_deadline() <= trio.current_time()
        if is_cancelled or _has_interrupt(exc):
            await self._connection.close_nowait()
            await trio.lowlevel.checkpoint()
        elif exc is None:
            await self._connection.close(1000)
        else:
            await self._connection.close(1011)


def _has_interrupt(exc: BaseException | None) -> bool:
    """Tell whether it is Ctrl-C or ``SystemExit``, or a nursery's group with one of them."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.subgroup((KeyboardInterrupt, SystemExit)) is not None
    return isinstance(exc, KeyboardInterrupt | SystemExit)


def _flatten(errors: list[BaseException]) -> list[BaseException]:
    """Return exceptions, those in the nursery's own group instead of the group."""
    flat: list[BaseException] = []
    for error in errors:
        flat += error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
    return flat


def _with_users(
    bugs: BaseExceptionGroup[BaseException], exc: BaseException | None
) -> BaseExceptionGroup[BaseException]:
    """Add the user's exception to a group of bugs, unless it is a cancel, which the bug caused."""
    if exc is None or isinstance(exc, trio.Cancelled):
        return bugs
    return BaseExceptionGroup("a bug, and what the block has raised", [*bugs.exceptions, exc])
