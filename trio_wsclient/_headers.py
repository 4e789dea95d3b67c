"""HTTP header fields of the opening handshake (RFC 9110 §5), as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)  # RFC 9110 §5.6.2


class Headers(Mapping[str, str]):
    """Header fields of a response: names in any case, several values a name.

    As a mapping it gives the values of one name joined by ``", "`` (RFC 9110 §5.3); ``get_all``
    keeps them apart, and ``raw`` has every field as it came, in order.
    """

    __slots__ = ("raw",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.raw: Final = tuple(fields)

    def get_all(self, name: str) -> list[str]:
        """Return the values of each field of that name, in the order in which they came."""
        folded = name.lower()
        return [value for key, value in self.raw if key.lower() == folded]

    def tokens(self, name: str) -> list[str]:
        """Return the members of a comma-separated list, over all fields of that name."""
        members = (member.strip() for value in self.get_all(name) for member in value.split(","))
        return [member for member in members if member]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.raw})

    def __repr__(self) -> str:
        return f"Headers({list(self.raw)!r})"


def is_token(text: str) -> bool:
    """Tell whether the text is a token (RFC 9110 §5.6.2), as names of fields have to be."""
    return bool(text) and _TOKEN.issuperset(text)


def check_field(name: str, value: str) -> None:
    """Check a header field that a user wants to send (RFC 9110 §5.5).

    Raises:
        TypeError: The name or the value is not a ``str``.
        ValueError: One of them has a character that can't stand in a header.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        kinds = f"{type(name).__name__} and {type(value).__name__}"
        raise TypeError(f"a header is a pair of str, not of {kinds}")
    if not is_token(name):
        raise ValueError(f"not a header's name: {name!r}")
    # RFC 9110 §5.5: other than ASCII is obsolete, and a server may read it in any encoding.
    if not value.isascii() or not all(c.isprintable() or c == "\t" for c in value):
        raise ValueError(f"the value of header {name!r} has a character that can't be sent")
    if value != value.strip(" \t"):  # RFC 9110 §5.5: it is not part of the value.
        raise ValueError(f"the value of header {name!r} has white space around it")
