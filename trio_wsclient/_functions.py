"""Checks of the functions that a user passes, and of what they return."""

from __future__ import annotations

import inspect


def refuse_coroutine(name: str, value: object) -> None:
    """Check that a value is not a coroutine: its function was called instead of passed.

    Args:
        name: The name of the parameter.
        value: What was passed for it.

    Raises:
        TypeError: It is a coroutine.
    """
    if inspect.iscoroutine(value):
        value.close()  # Python would warn that it was never awaited.
        function = value.__name__
        raise TypeError(f"{name} has to be a function: pass '{function}', not '{function}(...)'")


def refuse_async(name: str, result: object) -> None:
    """Check that what a function has returned is not a coroutine.

    Raises:
        TypeError: It is one, so the function is async, and its body would never run.
    """
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{name} has to be a plain function, not an async one")


def check_function(name: str, value: object, *, kind: str) -> None:
    """Check an option that may be a function.

    Args:
        name: The name of the option.
        value: Its value.
        kind: What it has to be, for the text of an error.

    Raises:
        TypeError: It is neither ``None`` nor callable.
    """
    refuse_coroutine(name, value)
    if value is not None and not callable(value):
        raise TypeError(f"{name} has to be None or {kind}, not {type(value).__name__}")


def check_awaitable(name: str, function: object, result: object) -> None:
    """Check what a function has returned that has to be async.

    Raises:
        TypeError: It can't be awaited, so the function is not async.
    """
    if not inspect.isawaitable(result):
        called, kind = getattr(function, "__name__", name), type(result).__name__
        raise TypeError(f"{name} has to be async: {called} returned {kind}, which can't be awaited")
