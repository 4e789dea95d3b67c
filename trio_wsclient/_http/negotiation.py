"""Which extensions are in use: what is offered, and what the server accepts (RFC 6455 §9.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

from trio_wsclient._headers import (
    ExtensionElement,
    ExtensionSyntaxError,
    Headers,
    check_field,
    check_token,
    iterate_extensions,
    parse_extensions,
)
from trio_wsclient._http.excerpts import WITHHELD, Excerpts
from trio_wsclient._protocol.deflate import AnyExtension

if TYPE_CHECKING:
    from wsproto.extensions import Extension

_HEADER: Final = "Sec-WebSocket-Extensions"


class NegotiationError(Exception):
    """The server's response does not fit what was offered (RFC 6455 §9.1)."""


def check_extensions(extensions: Iterable[Extension]) -> tuple[Extension, ...]:
    """Check and freeze the extensions that a user has passed.

    Raises:
        TypeError: A member is not an ``Extension`` of wsproto.
        ValueError: One has a name that can't be offered, or stands there twice.
    """
    expected = "extensions has to be a sequence of wsproto.extensions.Extension"
    if not isinstance(extensions, Iterable):
        raise TypeError(f"{expected}, not {type(extensions).__name__}")
    if isinstance(extensions, str):
        raise TypeError(f"{expected}, not str; for permessage-deflate use compression")
    frozen = tuple(extensions)
    for extension in frozen:
        if isinstance(extension, str):
            raise TypeError(f"{expected}, but has a str; for permessage-deflate use compression")
        if not _is_extension(extension):
            raise TypeError(f"{expected}, but has a {type(extension).__name__}")
        check_token(extension.name, f"extensions: {extension.name!r} can't be offered")
    if len(set(map(id, frozen))) != len(frozen):
        raise ValueError("extensions has one object twice")
    return frozen


def _is_extension(value: object) -> TypeGuard[Extension]:
    # The user has imported this to make an extension. Without one, nothing needs it.
    from wsproto.extensions import Extension  # noqa: PLC0415

    return isinstance(value, Extension)


def offer(extensions: Iterable[AnyExtension]) -> str:
    """Return the value of the header that offers the extensions, ``""`` without one.

    Raises:
        ValueError: An extension has parameters that can't be offered.
    """
    offers = []
    for extension in extensions:
        params = extension.offer()
        if params:
            offers.append(f"{extension.name}; {params}" if params is not True else extension.name)
        elif params == "":
            offers.append(extension.name)
    value = ", ".join(offers)
    check_field(_HEADER, value, "extensions")
    parse_extensions(value)
    return value


def negotiate(
    extensions: Sequence[AnyExtension], offered: str, headers: Headers, excerpts: Excerpts
) -> tuple[AnyExtension, ...]:
    """Return the extensions that are in use after the server's response, in their order.

    Those that work without negotiation come first, then the negotiated ones in the order of the
    answer (RFC 6455 §9.1).

    Raises:
        NegotiationError: The response has an extension that was not offered, or one twice, or
            parameters that the extension does not take.
    """
    names = {element.name for element in parse_extensions(offered)}
    waiting = [extension for extension in extensions if extension.name in names]
    negotiated: list[AnyExtension] = []
    for element in _elements(headers, excerpts):
        extension = next((e for e in waiting if e.name == element.name), None)
        if extension is None:
            again = any(e.name == element.name for e in negotiated)
            problem = "accepted twice" if again else "was not offered"
            raise NegotiationError(f"header {_HEADER}: {excerpts.show(element.name)} {problem}")
        waiting.remove(extension)
        try:
            extension.finalize(element.text)
        except Exception as exc:  # noqa: BLE001 the user's extension may raise anything
            shown = excerpts.quote(str(exc) or type(exc).__name__)
            problem = f"{element.name}: {shown or WITHHELD}"
            # A cause is in the traceback, so its text may have no secret either.
            raise NegotiationError(f"header {_HEADER}: {problem}") from exc if shown else None
        negotiated.append(extension)
    without = [e for e in extensions if e not in negotiated and e.name not in names and e.enabled()]
    return (*without, *negotiated)


def _elements(headers: Headers, excerpts: Excerpts) -> Iterator[ExtensionElement]:
    """Yield the extensions that a response accepts: no more of a long list than is asked for."""
    try:
        yield from iterate_extensions(", ".join(headers.get_all(_HEADER)))
    except ExtensionSyntaxError as exc:
        shown = excerpts.show(exc.part)
        raise NegotiationError(f"header {_HEADER}: {exc.problem}: {shown}") from None
