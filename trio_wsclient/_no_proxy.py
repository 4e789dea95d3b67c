"""Which proxy the environment asks for, and for which hosts it asks for none."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.request import getproxies

from trio_wsclient._authority import parse_host_port
from trio_wsclient._errors import ProxyError
from trio_wsclient._proxy import Proxy

_SEPARATORS: Final = re.compile(r"[,\s]+")


def proxy_from_environment(*, secure: bool, host: str, port: int) -> Proxy | None:
    """Return the proxy for a host; ``None`` to connect directly.

    The variables are ``http_proxy`` for ``ws``, ``https_proxy`` and then ``http_proxy`` for
    ``wss``, then ``all_proxy``, in lower case or capitals. In a CGI environment ``HTTP_PROXY`` in
    capitals is ignored, as it could come from a client's header. An empty one asks for none.

    Args:
        secure: Whether the scheme is ``wss``.
        host: As in ``URL``.
        port: The port.

    Raises:
        ProxyError: A variable has a value that is not the URL of a proxy.
    """
    proxies = getproxies()
    if bypasses(proxies.get("no", ""), host, port):
        return None
    for name in ("https", "http", "all") if secure else ("http", "all"):
        value = proxies.get(name)
        if value:
            try:
                # What curl and many others take, too.
                return Proxy(value if "://" in value else f"http://{value}")
            except ValueError as exc:
                raise ProxyError(f"the variable {name}_proxy: {exc}") from None
    return None


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Tell whether a host is among those of ``no_proxy``.

    Its members are separated by commas or white space: ``*`` for all; a domain, with or without a
    dot or ``*.`` before it, for itself and all below it; an IP address; a network as CIDR. With
    ``:port`` they are for that port only. What is none of these is for no host. ``localhost`` is a
    name like any other, as it is for curl.
    """
    return any(_matches(entry, host, port) for entry in _SEPARATORS.split(no_proxy) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            return False
        return address is not None and address in network
    bare = _address(entry)
    if bare is not None:  # IPv6 without brackets has no room for a port.
        return bare == address
    try:
        domain, only_port = parse_host_port(re.sub(r"^\*?\.", "", entry))
    except ValueError:
        return False
    if only_port is not None and only_port != port:
        return False
    entry_address = _address(domain)
    if entry_address is not None or address is not None:
        return entry_address == address
    domain, host = domain.removesuffix("."), host.removesuffix(".")
    return host == domain or host.endswith(f".{domain}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
