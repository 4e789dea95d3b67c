"""Which proxy the environment asks for, and for which hosts it asks for none."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from trio_wsclient._errors import ProxyError
from trio_wsclient._http.authority import parse_host_port
from trio_wsclient._net.proxy import Proxy

_P = ParamSpec("_P")
_T = TypeVar("_T")

# The names of the variables, without "_proxy", in the order in which they are asked.
_FOR_WS: Final = ("ws", "http", "socks", "all")
_FOR_WSS: Final = ("wss", "https", "http", "socks", "all")
_SEPARATORS: Final = re.compile(r"[,\s]+")
# IPv6 without brackets has no room for a port, and is not of this form.
_HOST_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\](/[0-9]+)?|[^:]*)(:(?P<port>[0-9]{0,5}))?")


def proxy_from_environment(*, secure: bool, host: str, port: int) -> Proxy | None:
    """Return the proxy for a host; ``None`` to connect directly.

    For ``ws`` the variables are ``ws_proxy`` and ``http_proxy``, for ``wss`` they are
    ``wss_proxy``, ``https_proxy`` and ``http_proxy``; then for both ``socks_proxy`` and
    ``all_proxy``. The first that is set counts. Each may be in lower case or in capitals. In a CGI
    environment ``HTTP_PROXY`` in capitals is ignored, because it could come from a client's header.
    A variable in lower case that is set, but empty, asks for no proxy.

    Args:
        secure: Whether the scheme is ``wss``.
        host: As in ``URL``.
        port: The port.

    Raises:
        ProxyError: A variable has a value that is not the URL of a proxy.
    """
    from urllib.request import getproxies  # noqa: PLC0415 a thread has imported it, see `_connect.route`

    proxies = getproxies()
    if bypasses(proxies.get("no", ""), host, port):
        return None
    for name in _FOR_WSS if secure else _FOR_WS:
        value = proxies.get(name)
        if os.environ.get(f"{name}_proxy") == "":
            return None
        if value:
            try:
                return Proxy(_with_scheme(name, value))
            except ValueError as exc:
                raise ProxyError(f"the variable {name}_proxy: {exc}") from None
    return None


def _with_scheme(name: str, value: str) -> str:
    """Return the URL that a value means: ``host:port`` alone is allowed, as by curl and others."""
    if name == "socks":
        # The settings of macOS have "http" here: the scheme is only how `getproxies` writes them.
        value = value.removeprefix("http://")
    scheme = "socks5h" if name == "socks" else "http"
    return value if "://" in value else f"{scheme}://{value}"


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Tell whether a host is among those of ``no_proxy``.

    Its members are separated by commas or white space: ``*`` for all; a domain, with or without a
    dot or ``*.`` before it, for itself and all below it; an IP address; a network as CIDR. With
    ``:port`` they are for that port only; IPv6 has to be in brackets then. What is none of these is
    for no host. ``localhost`` is a name like any other, as it is for curl.
    """
    return any(_matches(entry, host, port) for entry in _SEPARATORS.split(no_proxy) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    parts = _HOST_PORT.fullmatch(entry)
    if parts is not None:
        entry, only_port = parts["host"], parts["port"]
        if only_port and int(only_port) != port:
            return False
    if entry == "*":
        return True
    address = _parse(ipaddress.ip_address, host)
    network = _parse(ipaddress.ip_network, re.sub(r"[\[\]]", "", entry), strict=False)
    if address is not None or network is not None:
        return address is not None and network is not None and address in network
    try:
        domain, _ = parse_host_port(re.sub(r"^\*?\.", "", entry))
    except ValueError:
        return False
    domain, host = domain.removesuffix("."), host.removesuffix(".")
    return host == domain or host.endswith(f".{domain}")


def _parse(parse: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    try:
        return parse(*args, **kwargs)
    except ValueError:
        return None
