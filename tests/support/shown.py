"""What programs that print or report an error show of it."""

from __future__ import annotations

from collections.abc import Iterator


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and the earlier errors that a traceback shows with it."""
    while error is not None:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def shown_of(error: BaseException) -> str:
    """Return the texts of an error and of the earlier errors."""
    return "\n".join(
        "\n".join([str(exc), repr(exc), *getattr(exc, "__notes__", ())]) for exc in chain(error)
    )
