"""The names of subprotocols that a user offers (RFC 6455 §1.9), and which of them may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from trio_wsclient._headers import check_token, is_token

_MIN_TOKEN_SIZE: Final = 8  # characters: a shorter token would protect nothing
_WORD: Final = re.compile(r"[a-z]{0,13}[0-9]{0,2}[a-z]{0,3}")  # such as "chat", "v2" and "k8s"
_ANNOUNCING: Final = frozenset(
    {
        *("access", "apikey", "auth", "authorization", "bearer", "jwt", "key"),
        *("password", "secret", "session", "ticket", "token"),
    }
)


def check_subprotocols(subprotocols: object) -> tuple[str, ...]:
    """Check and freeze the names of subprotocols (RFC 6455 §4.1, item 10).

    Raises:
        TypeError: It is not a sequence of ``str``.
        ValueError: A member is not a token, or is in it twice.
    """
    if isinstance(subprotocols, str):
        shown = repr(subprotocols) if is_public_subprotocol(subprotocols) else "name"
        raise TypeError(f"subprotocols has to be a list: pass [{shown}]")
    if isinstance(subprotocols, bytes) or not isinstance(subprotocols, Iterable):
        kind = type(subprotocols).__name__
        raise TypeError(f"subprotocols has to be a sequence of str, not {kind}")
    names = tuple(subprotocols)
    for index, name in enumerate(names):
        if not isinstance(name, str):
            kind = type(name).__name__
            raise TypeError(f"subprotocols has to be a sequence of str, but it contains {kind}")
        check_token(name, f"subprotocols: item {index} can't be offered")
        if names.count(name) > 1:
            shown = repr(name) if is_public_subprotocol(name) else f"item {index}"
            raise ValueError(f"subprotocols has {shown} twice")
    return names


def is_public_subprotocol(name: str) -> bool:
    """Tell whether a subprotocol has the form of a name, and is not a token of some user.

    Browsers can't set header fields, so some servers take a token as a subprotocol. A name is
    short, or it consists of words in lower case, which are numbered at most, and of which none
    announces a token.
    """
    if not is_token(name):
        return False
    if len(name) < _MIN_TOKEN_SIZE:
        return True
    words = re.split(r"[._+-]", name)
    return _ANNOUNCING.isdisjoint(words) and all(map(_WORD.fullmatch, words))
