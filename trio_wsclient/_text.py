"""Text from the peer, made safe to show in an error, in a log or on a terminal.

A server chooses the reason of its Close, the fields of its response and its messages. Printed as
they are, they could forge a line of a log, or make a terminal obey them.
"""

from __future__ import annotations

from typing import Final

_MAX_QUOTE: Final = 200  # characters in an error text: two lines of it


def escape_controls(text: str) -> str:
    r"""Replace each character that is not printable by its escape, such as ``\n`` or ``\x1b``.

    Returns:
        One line, which a terminal shows and does not obey. A backslash stays as it is, so the
        result is for people: the original text can't be restored from it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, max_length: int) -> str:
    """Cut a text to a number of characters, and append ``...`` if that removed something."""
    return text if len(text) <= max_length else f"{text[:max_length]}..."


def quote(text: str) -> str:
    """Make a text fit for an error text: printable, on one line, and not too long."""
    # Only the part that can be shown is escaped, as a server may send a very long text.
    return shorten(escape_controls(text[: _MAX_QUOTE + 1]), _MAX_QUOTE)


def exception_text(exc: BaseException) -> str:
    """Return the text of any exception, or the name of its class if it has none.

    An extension or a stream of the user's may raise an exception that can't be shown.
    """
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 whatever it raises instead, there is no text
        text = ""
    return text or type(exc).__name__


def system_text(exc: BaseException) -> str:
    """Return what the system says of an exception, ``""`` if that is nothing.

    Python lets an ``OSError`` have any object as its ``strerror``.
    """
    text = getattr(exc, "strerror", None)
    return text if isinstance(text, str) else ""
