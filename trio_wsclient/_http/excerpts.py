"""What a text may quote of a response: one safe line, which repeats no secret of the request.

Error texts end in logs. A server may send back what it was sent, such as a token, in a page that
says what was wrong with it. So there is one rule: **a text quotes what the peer has sent through an
`Excerpts`, and through nothing else.** It holds for errors, their notes and causes, for records of
the log, and for what an observer gets. In this package, and in ``_net.http_connect``, no other
module makes text of the peer fit to be shown. A test checks that.

A text that repeats a secret is withheld completely, and says so. These are the secrets:

* the values of header fields, except ``Origin`` and ``User-Agent``. The name and the password
  of Basic authentication count in clear, too. They may come from the userinfo of the URL;
* the values of the URL's query, and keys without a value;
* the names of subprotocols that do not look like one: some servers take a token there.

A short value is no secret, as any text may have it by chance. The search ignores case and the kind
of white space. It finds a secret also if the server, or the client, has decoded it, or encoded it
for a URL, HTML or JSON. A beginning of a secret is enough, as the text may be cut.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final
from urllib.parse import unquote, unquote_plus

from trio_wsclient._headers import Headers
from trio_wsclient._http.response import Response
from trio_wsclient._http.subprotocols import is_public_subprotocol
from trio_wsclient._text import quote, shorten

# Header fields that say what to do, by status (RFC 9110 §15.5).
_TELLING: Final = {
    401: ("WWW-Authenticate",),
    407: ("Proxy-Authenticate",),
    426: ("Upgrade", "Sec-WebSocket-Version"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
WITHHELD: Final = "(withheld: it repeats a value of the request)"
_MAX_BODY: Final = 100  # characters, also of such a field
_MIN_SECRET: Final = 4  # characters of a whole value: a shorter one may stand anywhere
_MIN_PART: Final = 8  # characters of a part of a value
_COMPARED: Final = 16  # characters: more of a secret need not be there
# Characters of the end of a text. A text may be cut within a secret, or within an escape of it. So
# there, `_MIN_PART` characters of a secret are enough.
_END: Final = 24
# Characters of a text that are searched, of which less than half can be shown. Of a secret that
# begins in the half that is shown, enough is in the other half, even with six characters for each.
_SEARCHED: Final = 512
_SEPARATORS: Final = re.compile(r"[\s,;=&?:/\"]+")
_USERINFO: Final = re.compile(r"//[^/?#]*@")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_AUTHORIZING: Final = frozenset({"authorization", "proxy-authorization"})
_PUBLIC_FIELDS: Final = frozenset({"origin", "user-agent"})


class Excerpts:
    """Parts of a response, fit to be quoted.

    Args:
        fields: The header fields of the request.
        target: Its target: path and query.
        subprotocols: The subprotocols that it offers.
        userinfo: The value of ``Authorization`` that the URL asks for, or ``""``.
        earlier: The excerpts of an earlier request of the same opening. The server may have the
            secrets of that request from a redirect.
    """

    def __init__(
        self,
        fields: Iterable[tuple[str, str]] = (),
        *,
        target: str = "",
        subprotocols: Sequence[str] = (),
        userinfo: str = "",
        earlier: Excerpts | None = None,
    ) -> None:
        self._fields = fields
        self._target = target
        self._subprotocols = subprotocols
        self._userinfo = userinfo
        self._earlier = earlier

    @cached_property  # Few connections have an error that needs it.
    def _secrets(self) -> frozenset[str]:
        found: set[str] = set()
        for name, value in (*self._fields, ("Authorization", self._userinfo)):
            if name.lower() in _AUTHORIZING:
                found.update(_authorization_forms(value))
            elif name.lower() not in _PUBLIC_FIELDS:
                found.update(_forms(value))
        for item in self._target.partition("?")[2].split("&"):
            key, _, value = item.partition("=")
            # Without a value, the key may be a token. Base64 ends in "=", which is no value.
            found.update(_forms(value if value.strip("=") else key))
        for name in self._subprotocols:
            found.update(_subprotocol_forms(name))
        earlier = frozenset() if self._earlier is None else self._earlier._secrets  # noqa: SLF001
        return earlier | {_fold(secret)[:_COMPARED] for secret in found if secret.strip()}

    def quote(self, text: str) -> str:
        """Return a text on one safe line, ``""`` if it repeats a secret."""
        return "" if self._repeats(text) else quote(text)

    def show(self, text: str) -> str:
        """Return a text in quotation marks, or that it is withheld."""
        return WITHHELD if self._repeats(text) else f"'{quote(text)}'"

    def header(self, headers: Headers, name: str) -> str:
        """Return what the header fields of a name are."""
        values = headers.get_all(name)
        if not values:
            return "missing"
        return self.quote(" and ".join(f"'{value}'" for value in values)) or WITHHELD

    def _repeats(self, text: str) -> bool:
        if not text or not self._secrets:
            return False
        import html  # noqa: PLC0415 it takes a millisecond to import

        head = text[:_SEARCHED]
        decoded = unquote(head)
        unescaped = _ESCAPE.sub(_unescape, head)
        as_utf_8 = head.encode("latin-1", "replace").decode("utf-8", "replace")  # of a field
        forms = {head, as_utf_8, decoded, unquote(head, "latin-1"), unquote_plus(head), unescaped}
        forms |= {html.unescape(form) for form in (head, decoded)}
        return any(
            secret in form or (len(secret) > _MIN_PART and secret[:_MIN_PART] in form[-_END:])
            for form in map(_fold, forms)
            for secret in self._secrets
        )

    def rejection(self, response: Response, body: bytes, problem: str = "") -> str:
        """Return what a rejection says: its status, what to do, and the beginning of its body."""
        reason = self.quote(response.reason_phrase)
        is_encoded = "Content-Encoding" in response.headers
        shown = "" if is_encoded else self._body(body)
        telling = [problem] if problem else []
        for name in _TELLING.get(response.status_code, ()):
            value = self.quote(response.headers.get(name, ""))
            if value:
                telling.append(f"{name}: {shorten(value, _MAX_BODY)}")
        if is_encoded and body:
            telling.append("its body has a Content-Encoding, so it is not shown")
        return "".join(
            (
                f"HTTP status {response.status_code}",
                f" {reason}" if reason else "",
                f" ({'; '.join(telling)})" if telling else "",
                f": '{shown}'" if shown else "",
            )
        )

    def _body(self, body: bytes) -> str:
        words = " ".join(body.decode("utf-8", "replace").split())
        return shorten(self.quote(words), _MAX_BODY)

    def location(self, headers: Headers) -> str:
        """Return where a redirect leads, ``""`` if it does not say.

        It is without what may be secret: its userinfo and query.
        """
        location = headers.get("Location", "").partition("#")[0]
        place, mark, _ = location.partition("?")
        return location and self.show(_USERINFO.sub("//", place) + (mark and "?..."))


def _forms(value: str) -> Iterator[str]:
    """Yield what may be repeated of a value: the whole, its parts, and what they mean."""
    for form in {value, unquote(value), unquote(value, "latin-1"), unquote_plus(value)}:
        if len(form) >= _MIN_SECRET:
            yield form
            yield from _long_parts(form)


def _authorization_forms(value: str) -> Iterator[str]:
    """Yield what may be repeated of a value of Authorization (RFC 9110 §11.6.2)."""
    scheme, _, rest = value.partition(" ")
    yield from _forms(rest.lstrip() or scheme)
    if scheme.lower() != "basic":
        return
    credentials = _decode(rest.strip())
    for encoding in ("utf-8", "latin-1"):  # RFC 7617 §2.1: it may be either.
        text = credentials.decode(encoding, "replace")
        name, _, password = text.partition(":")
        yield from (part for part in (text, password or name) if len(part) >= _MIN_SECRET)
        yield from _long_parts(text)


def _long_parts(text: str) -> Iterator[str]:
    return (part for part in _SEPARATORS.split(text) if len(part) >= _MIN_PART)


def _subprotocol_forms(name: str) -> Iterator[str]:
    if is_public_subprotocol(name):
        return
    yield name
    for part in name.split("."):
        if len(part) >= _MIN_PART and not is_public_subprotocol(part):
            yield part
            # Kubernetes takes a token as "base64url.bearer.authorization.k8s.io.<Base64>".
            decoded = _decode(part).decode("latin-1")
            if len(decoded) >= _MIN_PART and decoded.isprintable():
                yield decoded


def _decode(encoded: str) -> bytes:
    """Undo Base64 in either alphabet (RFC 4648 §4, §5); return ``b""`` if it is none."""
    standard = encoded.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        return b""


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def _unescape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code:
        return chr(int(code, 16))
    return " " if escape[3] in "nrt" else str(escape[3])
