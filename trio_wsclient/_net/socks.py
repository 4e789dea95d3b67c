"""A tunnel by SOCKS5 (RFC 1928), with a name and a password where wanted (RFC 1929)."""

from __future__ import annotations

import ipaddress
from typing import Final

import trio

from trio_wsclient._errors import ProxyError, shown_as
from trio_wsclient._net.draining import BROKEN, DrainingStream

_VERSION: Final = 5
_AUTH_VERSION: Final = 1  # RFC 1929 §2
_NO_AUTH, _PASSWORD, _NONE_ACCEPTABLE = 0, 2, 0xFF  # RFC 1928 §3
_CONNECT: Final = 1  # RFC 1928 §4
_IPV4, _NAME, _IPV6 = 1, 3, 4  # RFC 1928 §5
# What a proxy was given that does not support it, and what to do if that is known.
_KINDS: Final = {
    _IPV4: "an IPv4 address",
    _NAME: "a name; to look it up here, use socks5",
    _IPV6: "an IPv6 address",
}
_ADDRESS_SIZES: Final = {_IPV4: 4, _IPV6: 16}  # bytes
_MAX_NAME_SIZE: Final = 255  # bytes

# RFC 1928 §6
_REPLIES: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
# The first bytes of what a proxy of another kind answers.
_OTHERS: Final = {
    b"HT": "speaks HTTP; use http in its URL",
    b"\x15\x03": "speaks TLS; use https in its URL",
    b"\x00\x5b": "speaks SOCKS4, which is not supported",
}
_GENERAL_FAILURE: Final = 1
_UNSUPPORTED_ADDRESS: Final = 8
# With another address it may be otherwise.
_OF_THE_ADDRESS: Final = frozenset({3, 4, 5, 6, _UNSUPPORTED_ADDRESS})


@shown_as(ProxyError)
class UnreachableError(ProxyError):
    """The proxy could not reach the host; later it may."""


@shown_as(ProxyError)
class AddressError(UnreachableError):
    """The proxy could not reach this address; another one of the host may do."""


async def connect(
    stream: trio.abc.Stream, host: str, port: int, *, credentials: tuple[bytes, bytes] | None
) -> None:
    """Have a SOCKS proxy connect to a host; after that the stream leads there.

    Args:
        stream: To the proxy.
        host: An address, or a name that the proxy is to resolve.
        port: The port.
        credentials: Name and password, if there are any.

    Raises:
        AddressError: It could not reach the address.
        UnreachableError: It could not reach the host.
        ProxyError: It did not, for another reason.
    """
    draining = DrainingStream(stream)
    address = _address(host)
    request = bytes([_VERSION, _CONNECT, 0]) + address + port.to_bytes(2, "big")
    advice = "; is it a SOCKS5 proxy?"
    try:
        await _authenticate(draining, credentials)
        advice = ""  # It is one.
        await draining.send_all(request)
        version, reply, _, kind = await _receive_exactly(draining, 4)
        if version != _VERSION:
            raise ProxyError(f"the SOCKS proxy answers the request with version {version}")
        if reply:
            reason = _REPLIES.get(reply, f"reply {reply}, which is not in RFC 1928")
            text = f"the SOCKS proxy refused: {reason}"
            if reply == _UNSUPPORTED_ADDRESS:
                text += f" (it was given {_KINDS[address[0]]})"
            if reply in _OF_THE_ADDRESS:
                raise AddressError(text)
            raise UnreachableError(text) if reply == _GENERAL_FAILURE else ProxyError(text)
        if kind == _NAME:
            (size,) = await _receive_exactly(draining, 1)
        elif kind in _ADDRESS_SIZES:
            size = _ADDRESS_SIZES[kind]
        else:
            raise ProxyError(f"the SOCKS proxy's answer has an address of unknown type {kind}")
        # The address that it connects from, and its port.
        await _receive_exactly(draining, size + 2)
        draining.check_sent()
    except BROKEN as exc:
        raise ProxyError(f"the SOCKS proxy broke the connection{advice}") from exc


async def _authenticate(stream: DrainingStream, credentials: tuple[bytes, bytes] | None) -> None:
    methods = [_NO_AUTH] if credentials is None else [_NO_AUTH, _PASSWORD]
    await stream.send_all(bytes([_VERSION, len(methods), *methods]))
    answer = await _receive_exactly(stream, 2)
    version, method = answer
    if version != _VERSION:
        raise ProxyError(f"not a SOCKS5 proxy: it {_OTHERS.get(answer, f'answers {answer!r}')}")
    if method == _NONE_ACCEPTABLE:
        if credentials:
            raise ProxyError("the SOCKS proxy wants something other than a name and password")
        raise ProxyError("the SOCKS proxy wants authentication; put name:password@ into its URL")
    if method not in methods:
        raise ProxyError(f"the SOCKS proxy chose method {method}, which was not offered")
    if method == _PASSWORD:
        assert credentials is not None
        fields = b"".join(bytes([len(field)]) + field for field in credentials)
        await stream.send_all(bytes([_AUTH_VERSION]) + fields)
        version, status = await _receive_exactly(stream, 2)
        # Proxies are found that give their SOCKS version here, against RFC 1929 §2.
        if version not in {_AUTH_VERSION, _VERSION}:
            raise ProxyError(f"the SOCKS proxy answers authentication with version {version}")
        if status:
            raise ProxyError("the SOCKS proxy refused name and password")


async def _receive_exactly(stream: DrainingStream, size: int) -> bytes:
    """Read exactly ``size`` bytes: the bytes after them are not the proxy's."""
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise ProxyError("the SOCKS proxy ended TCP within its answer") from EOFError()
        data += piece
    return data


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > _MAX_NAME_SIZE:
            raise ProxyError("a host name of more than 255 bytes does not fit SOCKS5") from None
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed  # noqa: PLR2004
