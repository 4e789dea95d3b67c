"""The authority of a URL: userinfo, host and port (RFC 3986 §3.2), as data.

The text of no error quotes any of it: there may be a password.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Final
from urllib.parse import unquote_to_bytes

import idna

# unreserved, pct-encoded, sub-delims and colon (RFC 3986 §3.2.1). All else is rejected: where a URL
# has a backslash or a second "@", programs differ about which host it names.
_USERINFO: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*")
_HOST_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_HOST_WITH_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]+):[^:\[\]]*")
# One of the two brackets may be missing.
_BARE_IPV6: Final = re.compile(r"\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]?")
_ASCII_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+")
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")  # what UTS 46 takes for a dot
# Space and controls, C1 and the separators of lines too: none has a place in a request line.
_UNSENDABLE: Final = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029]")
_MAX_LABEL_SIZE: Final = 63  # bytes (RFC 1035 §2.3.4)
_MAX_NAME_SIZE: Final = 253  # bytes: the 255 of RFC 1035 §2.3.4 count a length and the root too


def check_sendable(url: str) -> None:
    """Check that a URL has no character that would end a line or a field.

    Raises:
        ValueError: It has one.
    """
    if found := _UNSENDABLE.search(url):
        raise ValueError(f"it has {found[0]!a} at index {found.start()}, which no URL can have")


def parse_host_port(host_port: str) -> tuple[str, int | None]:
    """Return host and port, if there is one (RFC 3986 §3.2.2 and §3.2.3).

    The host is a name of A-labels (RFC 5890) or an IP address, without brackets.

    Raises:
        ValueError: They are not what they should be.
    """
    parts = _HOST_PORT.fullmatch(host_port)
    if parts is None:
        if _BARE_IPV6.fullmatch(host_port):
            raise ValueError("an IPv6 address has to be between two brackets: [2001:db8::1]")
        if _HOST_WITH_PORT.fullmatch(host_port):
            raise ValueError("the port is not a number")
        raise ValueError("host and port are not of the form host:port")
    host, port = parts["host"], parts["port"]
    if not host:
        raise ValueError("it has no host")
    if not port:  # RFC 3986 §3.2.3: an empty port is the default one.
        return _parse_host(host), None
    if len(port) > 5 or not 1 <= int(port) <= 65535:  # noqa: PLR2004 RFC 9293 §3.1
        raise ValueError("the port has to be 1 to 65535")
    return _parse_host(host), int(port)


def _parse_host(host: str) -> str:
    if host.startswith("["):
        if "%" in host:  # The zone may be written as %25, which RFC 6874 had for a time.
            raise ValueError("the IPv6 address has a zone, which no URL can have (RFC 9844)")
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("there is no IPv6 address in the brackets") from None
    if len(host.removesuffix(".")) > _MAX_NAME_SIZE:  # idna takes long for a longer name.
        raise ValueError(f"the host name has more than {_MAX_NAME_SIZE} characters (RFC 1035)")
    is_ascii = host.isascii()
    if is_ascii and not _ASCII_HOST.fullmatch(host):
        raise ValueError(
            "the host name has a character other than letters, digits, '-', '_' and '.'"
        )
    *labels, last = _DOTS.split(host)
    if last:  # Otherwise a dot ends the name.
        labels.append(last)
    # A label outside ASCII is measured by idna, after it is encoded.
    if not all(labels) or (is_ascii and max(map(len, labels)) > _MAX_LABEL_SIZE):
        raise ValueError(
            f"each part of the host name between dots has to have 1 to {_MAX_LABEL_SIZE} "
            "characters (RFC 1035 §2.3.4)"
        )
    if is_ascii:
        if host.startswith("-") or host.endswith("-"):
            raise ValueError("the host name begins or ends with '-'")
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:  # Its text quotes the name.
        raise ValueError(
            "the host name is not valid in IDNA 2008 (RFC 5891): it may have a symbol or an emoji, "
            "or be too long"
        ) from None


def bracket(host: str) -> str:
    """Put brackets around an IPv6 address (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def parse_userinfo(userinfo: str) -> tuple[bytes, bytes]:
    """Return name and password (RFC 3986 §3.2.1) as RFC 7617 §2 lets them be sent.

    Raises:
        ValueError: They break the grammar, or can't be sent.
    """
    if not _USERINFO.fullmatch(userinfo):
        raise ValueError(
            "the name or password before the last '@' has a character that has to be "
            "percent-encoded, such as '@', '%' or a backslash: use urllib.parse.quote(..., safe='')"
        )
    user, _, password = userinfo.partition(":")
    credentials = (unquote_to_bytes(user), unquote_to_bytes(password))
    if b":" in credentials[0]:
        raise ValueError("the user name has a colon, which can't be sent (RFC 7617 §2)")
    if any(byte < 0x20 or byte == 0x7F for part in credentials for byte in part):  # noqa: PLR2004
        raise ValueError(
            "the user name or password has a control character, which can't be sent (RFC 7617 §2)"
        )
    return credentials


def basic(credentials: tuple[bytes, bytes]) -> str:
    """Return the value of Authorization for a name and a password (RFC 7617 §2)."""
    return "Basic " + base64.b64encode(b":".join(credentials)).decode()
