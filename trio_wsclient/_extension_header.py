"""The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1), as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trio_wsclient._headers import is_token
from trio_wsclient._text import shorten

_MAX_SHOWN: Final = 60  # characters of the server's that are quoted in an error


@dataclass(frozen=True, slots=True)
class ExtensionElement:
    """An extension in the header, offered or accepted.

    Attributes:
        name: Which.
        params: Its parameters, each with a value or ``None``, in their order.
        text: The element as it stands in the header.
    """

    name: str
    params: tuple[tuple[str, str | None], ...]
    text: str


def parse_extensions(value: str) -> list[ExtensionElement]:
    """Parse the header's value.

    Raises:
        ValueError: It does not follow the grammar.
    """
    # No comma or semicolon can stand in a quoted value: RFC 6455 §9.1 wants a token in the quotes.
    elements = (element.strip(" \t") for element in value.split(","))
    # RFC 9110 §5.6.1: empty elements of a list are skipped.
    return [_parse_element(element) for element in elements if element]


def _parse_element(text: str) -> ExtensionElement:
    name, *params = (part.strip(" \t") for part in text.split(";"))
    if not is_token(name):
        raise ValueError(f"not an extension's name: {shorten(name, _MAX_SHOWN)!a}")
    return ExtensionElement(name, tuple(map(_parse_param, params)), text)


def _parse_param(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    name, value = name.rstrip(" \t"), value.lstrip(" \t")
    if value.startswith('"') and value.endswith('"'):
        value = value[1:-1]
    if not is_token(name) or (equals and not is_token(value)):
        raise ValueError(f"not a parameter of an extension: {shorten(text, _MAX_SHOWN)!a}")
    return name, value if equals else None
