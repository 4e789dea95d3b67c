"""What an error may quote of a response: one safe line, which repeats no secret of the request.

Error texts end in logs. A server may send back what it was sent, such as a token, in a page that
says what was wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from trio_wsclient._headers import Headers
from trio_wsclient._http.response import Response
from trio_wsclient._text import quote, shorten

# Header fields that say what to do, by status (RFC 9110 §15.5).
_TELLING: Final = {
    401: ("WWW-Authenticate",),
    407: ("Proxy-Authenticate",),
    426: ("Upgrade", "Sec-WebSocket-Version"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_MAX_BODY: Final = 100  # characters, also of such a field
_MIN_SECRET: Final = 4  # characters of a whole value: a shorter one may stand anywhere
_MIN_PART: Final = 8  # characters of a part of a value
_SEPARATORS: Final = re.compile(r"[\s,;=&?:/\"]+")
_USERINFO: Final = re.compile(r"//[^/?#]*@")


class Excerpts:
    """Parts of a response, fit to be quoted.

    Args:
        sent: The values of the request that may be secrets.
    """

    def __init__(self, sent: Sequence[str]) -> None:
        self._sent = sent

    @cached_property  # Few connections have an error that needs it.
    def _secrets(self) -> set[str]:
        whole = [value for value in self._sent if len(value) >= _MIN_SECRET]
        parts = (part for value in whole for part in _SEPARATORS.split(value))
        return {*whole, *(part for part in parts if len(part) >= _MIN_PART)}

    def quote(self, text: str) -> str:
        """Return a text on one safe line, ``""`` if it repeats a secret."""
        return "" if any(secret in text for secret in self._secrets) else quote(text)

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
        # The complete body is searched for secrets: one may be cut in two by the shortening.
        return self.quote(words) and shorten(quote(words), _MAX_BODY)

    def location(self, headers: Headers) -> str:
        """Return where a redirect leads, without what may be secret: its userinfo and query."""
        location = headers.get("Location", "").partition("#")[0]
        place, mark, _ = location.partition("?")
        return self.quote(_USERINFO.sub("//", place) + (mark and "?..."))
