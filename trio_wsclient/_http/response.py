"""The head of an HTTP response, whichever version of HTTP it came by."""

from __future__ import annotations

from typing import NamedTuple

from trio_wsclient._headers import Headers


class Response(NamedTuple):
    """The head of a response.

    Attributes:
        http_version: Such as ``"1.1"``.
        status_code: The status.
        reason_phrase: The text after the status in Latin-1, often ``""`` (RFC 9112 §4).
        headers: The header fields, with their values in Latin-1.
    """

    http_version: str
    status_code: int
    reason_phrase: str
    headers: Headers
