"""The fast path for the usual response to an upgrade: one regular expression instead of h11.

Nearly every server answers by a 101 in plain ASCII, which arrives in one read. The regular
expression is strict: h11 accepts whatever it matches, and means the same by it. A test compares the
two. h11 parses every other response, from its first byte on.
"""

from __future__ import annotations

import re
from typing import Final

from trio_wsclient._headers import Headers
from trio_wsclient._http.response import Response

_MAX_SIZE: Final = 8192  # bytes of a head: far below the limit of `http11`

# A field of the head (RFC 9112 §5). The quantifiers are possessive, so no server can make this try
# the same bytes again and again. h11 checks the two fields that say how long a body is.
_FIELD: Final = (
    rb"(?!(?i:Content-Length|Transfer-Encoding):)"
    rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++:[ \t]*+"
    rb"(?:[!-~]++(?:[ \t]++[!-~]++)*+)?+[ \t]*+\r\n"
)
_HEAD: Final = re.compile(rb"HTTP/1\.1 101(?: ([ -~]*+))?+\r\n((?:" + _FIELD + rb")*+)\r\n")


def parse_plain_101(data: bytes) -> tuple[Response, bytes] | None:
    """Parse a response that begins a connection.

    Returns:
        The head and the bytes after it; ``None`` if h11 has to parse the response.
    """
    head = _HEAD.match(data, 0, _MAX_SIZE)
    if head is None:
        return None
    reason, lines = head.groups(b"")
    fields = []
    for line in lines.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        fields.append((name, value.strip(" \t")))
    return Response("1.1", 101, reason.decode("ascii"), Headers(fields)), data[head.end() :]
