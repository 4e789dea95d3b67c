"""From a proxy to a stream that leads to the host behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import trio

from trio_wsclient._errors import HandshakeError, Phase, ProxyError
from trio_wsclient._net import connect, http_connect, socks
from trio_wsclient._net.proxy import Proxy
from trio_wsclient._text import exception_text, system_text


async def connect_through(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    local_address: str | None,
    user_agent: str | None,
    enter: Callable[[Phase], object],
    rejected: Callable[[Callable[[], ProxyError]], None],
) -> trio.abc.Stream:
    """Connect to a host through a proxy; if that fails, nothing stays open.

    Args:
        proxy: Which.
        host: A name or an address, without brackets.
        port: The port.
        local_address: The IP address of this machine to connect from.
        user_agent: The value of User-Agent, if there is to be one.
        enter: Called with the phase that begins, once TCP to the proxy is connected.
        rejected: See ``http_connect``.

    Raises:
        ProxyError: The proxy could not be reached, or did not connect.
    """
    if not proxy.is_socks:
        stream = await _reach(proxy, local_address)
        try:
            if proxy.is_secure:
                enter("proxy_tls")
                stream = await _start_tls(stream, proxy)
            enter("proxy")
            return await http_connect.connect(
                stream, proxy, host, port, user_agent=user_agent, rejected=rejected
            )
        except BaseException:
            await connect.close_forcefully(stream)  # noqa: ASYNC102 shielded inside
            raise
    addresses = [host] if proxy.resolves else await _resolve(host, port)
    while True:
        stream = await _reach(proxy, local_address)
        try:
            enter("proxy")
            address = addresses.pop(0)
            await socks.connect(stream, address, port, credentials=proxy.credentials)
        except socks.AddressError:
            await connect.close_forcefully(stream)  # noqa: ASYNC120 shielded inside
            if not addresses:
                raise
        except BaseException:
            await connect.close_forcefully(stream)  # noqa: ASYNC102 shielded inside
            raise
        else:
            return stream


async def _reach(proxy: Proxy, local_address: str | None) -> trio.abc.Stream:
    try:
        return await connect.connect_tcp(proxy.host, proxy.port, local_address=local_address)
    except HandshakeError as exc:
        raise ProxyError(f"the proxy: {exc}") from exc.__cause__


async def _start_tls(stream: trio.abc.Stream, proxy: Proxy) -> trio.abc.Stream:
    try:
        secured, _ = await connect.start_tls(
            stream,
            ssl_context=proxy.ssl_context,
            server_hostname=proxy.host.removesuffix("."),
            of_proxy=True,
        )
    except HandshakeError as exc:
        raise ProxyError(f"the proxy: {exc}") from exc.__cause__
    return secured


async def _resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order of RFC 6724."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except OSError as exc:
        reason = system_text(exc) or exception_text(exc)
        raise ProxyError(
            f"no address for {host} to give to the proxy: {reason}; to let the proxy look it up, "
            "use socks5h"
        ) from exc
    if not found:  # A resolver that Trio was given by the user may do that.
        raise ProxyError(f"no address for {host} to give to the proxy")
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
