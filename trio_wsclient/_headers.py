"""HTTP header fields of the opening handshake, and their grammar, as data.

This module knows the fields (RFC 9110 §5), lists of tokens, and the grammar of
``Sec-WebSocket-Extensions`` (RFC 6455 §9.1). ``_http`` and ``_protocol.extensions`` decide what the
values mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from trio_wsclient._text import shorten

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)  # RFC 9110 §5.6.2

_MAX_PARAMS: Final = 256  # of an extension; permessage-deflate has four
_MAX_SHOWN: Final = 60  # characters of a text in an error text
_MAX_NAME: Final = 30  # characters: of "Access-Control-Request-Headers"


class Headers(Mapping[str, str]):
    """Header fields of a response: a mapping whose names match in any case.

    A server may send several fields of one name. The mapping joins their values by ``", "``
    (RFC 9110 §5.3), and ``get_all`` returns the values one by one. ``raw`` has every field as the
    server sent it, in order.
    """

    __slots__ = ("raw",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.raw: Final = tuple(fields)

    def get_all(self, name: str) -> list[str]:
        """Return the value of each field of that name, in the order received."""
        folded = name.lower()
        return [value for key, value in self.raw if key.lower() == folded]

    def tokens(self, name: str) -> list[str]:
        """Return the members of a comma-separated list, from all fields of that name."""
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
    """Tell whether the text is a token (RFC 9110 §5.6.2); the name of a field has to be one."""
    return bool(text) and _TOKEN.issuperset(text)


def check_token(text: str, problem: str) -> None:
    """Check that a text is a token.

    Args:
        text: The text. An error shows one character of it at most: it may be a credential.
        problem: What an error says first.

    Raises:
        ValueError: It is not a token; the error says why.
    """
    if is_token(text):
        return
    why = "it is empty"
    for index, character in enumerate(text):
        if character not in _TOKEN:
            shown = repr(character) if character.isascii() else "a character that is not ASCII"
            why = f"it has {shown} at index {index}"
            break
    raise ValueError(f"{problem}: {why} (RFC 9110 §5.6.2)")


def shown_name(name: str) -> str:
    """Return the name of a header field for the text of an error, in front of it a space.

    It is ``""`` if the name may be something else: a complete line, or a value in its place.
    """
    return f" {name!r}" if is_token(name) and len(name) <= _MAX_NAME else ""


def check_field(name: str, value: str, option: str) -> None:
    """Check the value of a header field that a user wants to send (RFC 9110 §5.5).

    Args:
        name: The name of the field, a token.
        value: The value of the field.
        option: The option that it comes from, for the text of an error.

    Raises:
        ValueError: The value can't be sent. The text never shows the value, as it may be a secret.
    """
    if value.isascii() and value.isprintable() and value == value.strip():
        return
    shown = f"{option}: the value of header{shown_name(name)}"
    if value != value.strip():  # RFC 9110 §5.5: it is not part of the value.
        raise ValueError(f"{shown} has white space around it: call strip()")
    # RFC 9110 §5.5: characters beyond ASCII are obsolete, and a server may read them in any
    # encoding.
    for index, character in enumerate(value):
        if not character.isascii():  # Not shown: it may be of a password.
            raise ValueError(f"{shown} can't be sent: at index {index} it is not ASCII")
        if not character.isprintable() and character != "\t":
            raise ValueError(f"{shown} can't be sent: at index {index} it has {character!r}")


def check_fields(
    option: str, headers: object, *, own: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Check and freeze the header fields that a user passes by an option.

    Args:
        option: The name of the option, for the text of an error.
        headers: A mapping, or pairs.
        own: The names that can't be set, in lower case, and what to do instead.

    Raises:
        TypeError: It is neither a mapping nor pairs, or a name or value is not a ``str``.
        ValueError: A field belongs to the request itself, or can't be sent.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        kind = type(headers).__name__
        raise TypeError(f"{option} has to be a mapping or pairs of str, not {kind}")
    fields = []
    for index, pair in enumerate(pairs):
        match pair:
            case [str(name), str(value)]:
                # The name is not shown: it may be a complete line, or a value.
                check_token(name, f"{option}: the name in item {index} can't be sent")
                check_field(name, value, option)
            case [str(name), value]:  # Not shown: it may be a credential.
                kind = type(value).__name__
                raise TypeError(
                    f"{option}: the value of header{shown_name(name)} has to be str, not {kind}"
                )
            case [name, _]:
                kind = type(name).__name__
                raise TypeError(f"{option}: the name of a header has to be str, not {kind}")
            case _:
                kind = type(pair).__name__
                size = f" of length {len(pair)}" if isinstance(pair, tuple | list) else ""
                raise TypeError(
                    f"{option} has to be a mapping or pairs of str, but has a {kind}{size}"
                )
        if name.lower() in own:
            advice = own[name.lower()]
            raise ValueError(f"{option}: header {name!r} can't be set{advice and f': {advice}'}")
        fields.append((name, value))
    return tuple(fields)


class ExtensionSyntaxError(ValueError):
    """The value of ``Sec-WebSocket-Extensions`` breaks the grammar.

    Attributes:
        problem: Why it is an error, for its text.
        part: The part of the value that is wrong.
    """

    def __init__(self, problem: str, part: str) -> None:
        super().__init__(f"{problem}: {shorten(part, _MAX_SHOWN)!a}")
        self.problem = problem
        self.part = part


class ExtensionElement(NamedTuple):
    """One extension in ``Sec-WebSocket-Extensions``, offered or accepted.

    Attributes:
        name: The name of the extension.
        params: Its parameters in their order, each with a value or ``None``.
        text: The element as it was in the header, without the white space around it.
    """

    name: str
    params: tuple[tuple[str, str | None], ...]
    text: str


def parse_extensions(value: str) -> list[ExtensionElement]:
    """Parse the value of ``Sec-WebSocket-Extensions``; see ``iterate_extensions``."""
    return list(iterate_extensions(value))


def iterate_extensions(value: str) -> Iterator[ExtensionElement]:
    """Parse the value of ``Sec-WebSocket-Extensions`` (RFC 6455 §9.1), one element at a time.

    Yields:
        The elements in their order. An empty value has none.

    Raises:
        ExtensionSyntaxError: The value breaks the grammar.
    """
    # A comma or semicolon always separates, also between quotes: RFC 6455 §9.1 allows only a token
    # there, and a token has neither.
    elements = (element.strip(" \t") for element in value.split(","))
    # RFC 9110 §5.6.1: empty elements of a list are skipped.
    return (_parse_element(element) for element in elements if element)


def _parse_element(text: str) -> ExtensionElement:
    name, *params = (part.strip(" \t") for part in text.split(";", _MAX_PARAMS + 1))
    if len(params) > _MAX_PARAMS:
        raise ExtensionSyntaxError(f"more than {_MAX_PARAMS} parameters of an extension", name)
    if not is_token(name):
        raise ExtensionSyntaxError("not an extension's name", name)
    return ExtensionElement(name, tuple(map(_parse_param, params)), text)


def _parse_param(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    name, value = name.rstrip(" \t"), value.lstrip(" \t")
    if value.startswith('"') and value.endswith('"'):
        value = value[1:-1]
    if not is_token(name) or (equals and not is_token(value)):
        raise ExtensionSyntaxError("not a parameter of an extension", text)
    return name, value if equals else None
