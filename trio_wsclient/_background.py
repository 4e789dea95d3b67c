"""A task beside a block, such as the reader of a protocol client: exceptions leave in no group.

A nursery would do the same, but it puts what its tasks and its block raise into a group. Then the
users of a protocol client would have to unpack the exceptions of their own code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NoReturn, TypeVarTuple

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._errors import ConnectionClosed
from trio_wsclient._functions import check_awaitable, refuse_coroutine
from trio_wsclient._interrupts import await_interruptible, call_interruptible

Arguments = TypeVarTuple("Arguments")


def background_task(
    fn: Callable[[*Arguments], Awaitable[Any]], *args: *Arguments
) -> AbstractAsyncContextManager[None]:
    """Run an async function beside a block, for as long as the block lasts.

    It is made for protocol clients, whose task reads while their users' code runs in the block:

    * When the block ends, the task is cancelled. If the task returns before, the block goes on.
    * If the block raises, the task is cancelled, and the same exception leaves.
    * If the task raises, the block is cancelled, and the task's exception leaves.
    * If both raise, ``ExceptionGroup("block and task", [block's, task's])`` leaves. If both are a
      ``ConnectionClosed`` of one connection, the block's leaves alone.

    Otherwise there is no group, unlike a nursery's, and the ``__context__`` of the exceptions stays
    as it was. A group that the function or the block has raised itself leaves as it is.

    If cancelled: both are cancelled. An exception that one of them raises meanwhile leaves alone.

    Args:
        fn: The async function. Let it record how the connection ended, and return: then the request
            that waits raises that alone.
        *args: What ``fn`` is called with.

    Raises:
        TypeError: ``fn`` is not a function, or not async.
    """
    refuse_coroutine("fn", fn)
    if not callable(fn):
        raise TypeError(f"fn has to be an async function, not {type(fn).__name__}")
    return _Background(fn, args)


class _Background(AbstractAsyncContextManager[None]):
    """The block. It is a class, so that Python itself lets the exception of the block go on."""

    def __init__(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self._fn = fn
        self._args = args
        self._error: BaseException | None = None  # what the task has raised
        self._is_entered = False

    @enable_ki_protection
    async def __aenter__(self) -> None:
        if self._is_entered:
            raise RuntimeError("this block was entered already; make another one")
        self._is_entered = True
        self._nurseries = trio.open_nursery(strict_exception_groups=True)
        self._nursery = await self._nurseries.__aenter__()
        self._nursery.start_soon(self._run, name=self._fn)

    @enable_ki_protection
    async def _run(self) -> None:
        try:
            running = call_interruptible(self._fn, *self._args)
            check_awaitable("fn", self._fn, running)
            await await_interruptible(running)
        except trio.Cancelled:
            raise
        # It must not reach the nursery, which would put it into a group.
        except BaseException as exc:
            self._error = _without_cancelled(exc)
            self._nursery.cancel_scope.cancel()
            if self._error is None:
                raise

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._nursery.cancel_scope.cancel()
        block = None if exc is None else _without_cancelled(exc)
        # The nursery knows whose cancel has ended the block. Another exception is not its business.
        is_cancelled = exc is not None and block is None
        leaving: BaseException | None = None
        is_over = False
        try:
            if is_cancelled:
                is_over = bool(
                    await self._nurseries.__aexit__(  # noqa: ASYNC102 the task is cancelled
                        exc_type, exc, traceback
                    )
                )
            else:
                await self._nurseries.__aexit__(None, None, None)  # noqa: ASYNC102
        except BaseException as error:  # noqa: BLE001, ASYNC103 it is sorted out below
            leaving = error
        # What struck while the block was left: a cancel, or Ctrl-C.
        struck = None if leaving is None else _without_cancelled(leaving)
        while isinstance(struck, BaseExceptionGroup) and len(struck.exceptions) == 1:
            struck = struck.exceptions[0]
        task, self._error = self._error, None
        errors = [error for error in (block, struck, task) if error is not None]
        try:
            if _are_one_end(errors):
                errors = errors[:1]
            if not errors:
                if leaving is None or is_cancelled:
                    return is_over
                errors = [_first_cancelled(leaving)]
            if errors == [exc]:
                return False
            _raise_as_it_is(
                errors[0] if len(errors) == 1 else BaseExceptionGroup("block and task", errors)
            )
        finally:
            # Their tracebacks refer to this frame: a cycle, if the frame referred to them.
            del exc, block, leaving, struck, task, errors


def _raise_as_it_is(exc: BaseException) -> NoReturn:
    """Raise an exception; the one that is being handled does not become its context."""
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context
        del exc, context


def _without_cancelled(exc: BaseException) -> BaseException | None:
    """Return an exception, or a group, without what is a cancel; ``None`` if nothing is left."""
    if isinstance(exc, BaseExceptionGroup):
        cancelled, rest = exc.split(trio.Cancelled)
        return exc if cancelled is None else rest
    return None if isinstance(exc, trio.Cancelled) else exc


def _first_cancelled(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def _are_one_end(errors: list[BaseException]) -> bool:
    """Tell whether these are the end of one connection, as several calls have raised it."""
    ids = {error.connection_id if isinstance(error, ConnectionClosed) else None for error in errors}
    return len(errors) > 1 and len(ids) == 1 and None not in ids
