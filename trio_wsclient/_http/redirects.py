"""Where a redirect leads (RFC 9110 §10.2.2, §15.4), without I/O."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from trio_wsclient._errors import InvalidURL
from trio_wsclient._headers import Headers
from trio_wsclient._http.url import PRINTABLE_ASCII, URL, parse

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
# RFC 3986 appendix B. A fragment is not sent, so it is left out.
_REFERENCE: Final = re.compile(
    r"(?:(?P<scheme>[^:/?#]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?"
)
_MAX_LOCATION: Final = 16_384  # characters: twice the request line that most servers take
# Not C1: in Latin-1 these are bytes of UTF-8.
_UNSENDABLE: Final = re.compile(r"[\x00-\x20\x7f]")


class RedirectRejected(ValueError):
    """A redirect that is not to be followed; the text says why, without showing its URL."""


def follow(url: URL, status_code: int, headers: Headers) -> URL | None:
    """Return the URL that a response redirects to, ``None`` if it is no redirect.

    Args:
        url: Who has sent it.
        status_code: The status of the response.
        headers: Its header fields, their values in Latin-1.

    Raises:
        RedirectRejected: It names no URL of a WebSocket, or leads from ``wss`` to ``ws``.
    """
    if status_code not in _REDIRECTS:
        return None
    reference = _REFERENCE.fullmatch(_location(headers))
    assert reference is not None
    scheme, authority = reference["scheme"], reference["authority"]
    path, query = _escape(reference["path"]), _escape(reference["query"] or "")
    if scheme is None and authority is None:
        return replace(url, target=_resolve(url.target, path, query))
    own_scheme = "wss" if url.secure else "ws"
    scheme = own_scheme if scheme is None else _SCHEMES.get(scheme.lower())
    if scheme is None or authority is None:
        raise RedirectRejected("a redirect to something other than a WebSocket URL")
    if url.secure and scheme == "ws":
        raise RedirectRejected("a redirect from wss to ws, which is never followed")
    try:
        target = parse(f"{scheme}://{_decode(authority)}{_without_dots(path)}{query}")
    except InvalidURL as exc:
        raise RedirectRejected(f"a redirect to an invalid URL: {exc.problem}") from None
    # Userinfo that the server names is used, as browsers do. It is no secret of ours, and leads to
    # nothing that a token in the query would not. Ours stays within its origin.
    if target.authorization is None and target.origin == url.origin:
        return replace(target, authorization=url.authorization)
    return target


def _location(headers: Headers) -> str:
    locations = set(headers.get_all("Location"))
    if len(locations) > 1:
        raise RedirectRejected("a redirect with more than one Location")
    location = "".join(locations)
    if not location:  # An empty one would be the same URL again: browsers take it for none, too.
        raise RedirectRejected("a redirect without a Location")
    if len(location) > _MAX_LOCATION:
        raise RedirectRejected(f"a redirect to a URL of more than {_MAX_LOCATION} characters")
    if _UNSENDABLE.search(location):
        raise RedirectRejected("a redirect to a URL with a space or a control character")
    return location


def _escape(part: str) -> str:
    """Percent-encode what is not ASCII, in UTF-8 or not, as it came (RFC 3987 §3.1)."""
    return quote(part.encode("latin-1"), safe=PRINTABLE_ASCII)


def _decode(authority: str) -> str:
    """Undo Latin-1, so that a host name outside ASCII can be encoded by IDNA."""
    try:
        return authority.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise RedirectRejected("a redirect to an invalid URL: a host that is not UTF-8") from None


def _resolve(base: str, path: str, query: str) -> str:
    """Resolve a reference without an authority (RFC 3986 §5.2.2)."""
    base_path, mark, base_query = base.partition("?")
    if not path:
        return base_path + (query or mark + base_query)
    if not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    return _without_dots(path) + query


def _without_dots(path: str) -> str:
    """Remove the segments ``.`` and ``..`` of a path that is absolute or empty (§5.2.4)."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "".join(f"/{segment}" for segment in kept)
