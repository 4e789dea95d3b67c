"""A tunnel by HTTP CONNECT (RFC 9110 §9.3.6)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trio_wsclient._errors import ProxyError
from trio_wsclient._http.authority import bracket
from trio_wsclient._http.excerpts import Excerpts
from trio_wsclient._http.http11 import (
    BODY_PATIENCE,
    HTTP11Exchange,
    MalformedResponse,
    OtherProtocol,
    SpeaksTLS,
)
from trio_wsclient._net.draining import BROKEN, DrainingStream
from trio_wsclient._net.proxy import Proxy
from trio_wsclient._net.reasons import describe_error
from trio_wsclient._scheduling import import_in_thread

_AUTHENTICATION_REQUIRED: Final = 407
_NO_CONNECT: Final = frozenset({405, 501})  # RFC 9110 §9.1: the server has no such method
_IS_IT_ONE: Final = "is it an HTTP proxy?"


async def connect(
    stream: trio.abc.Stream,
    proxy: Proxy,
    host: str,
    port: int,
    *,
    user_agent: str | None,
    rejected: Callable[[Callable[[], ProxyError]], None],
) -> trio.abc.Stream:
    """Have an HTTP proxy connect to a host; the stream it returns leads there.

    Args:
        stream: To the proxy.
        proxy: What to tell it of who we are.
        host: A name or an address, without brackets.
        port: The port.
        user_agent: As in the options.
        rejected: Called when the head of a rejection has come, with a function that makes the error
            of what there is of its body.

    Raises:
        ProxyError: It did not.
    """
    authority = f"{bracket(host)}:{port}"
    fields = proxy.fields
    if user_agent is not None and all(name.lower() != "user-agent" for name, _ in fields):
        fields = [("User-Agent", user_agent), *fields]
    excerpts = Excerpts(fields)
    exchange = HTTP11Exchange("CONNECT", authority, [("Host", authority), *fields], excerpts)
    draining = DrainingStream(stream)
    await import_in_thread("h11")
    try:
        await draining.send_all(exchange.request_data)
        while exchange.response is None:
            exchange.receive_data(await draining.receive_some(exchange.read_size))
        if exchange.switched:
            draining.check_sent()
    except MalformedResponse as exc:
        advice = _advice(exc, proxy)
        raise ProxyError(f"the proxy's response to CONNECT: {exc}{advice}") from exc.__cause__
    except BROKEN as exc:
        if isinstance(exc.__cause__, ssl.SSLError):
            # With TLS 1.3 a client certificate is refused after the handshake (RFC 8446 §4.4.2.4).
            text = describe_error(exc.__cause__, of_proxy=True)
            text = f"the proxy broke the connection at CONNECT: {text}"
            raise ProxyError(text) from exc.__cause__
        raise ProxyError(f"the proxy broke the connection at CONNECT; {_IS_IT_ONE}") from exc
    if exchange.switched:
        data = exchange.trailing_data
        return PrefixedStream(data, stream) if data else stream
    rejected(lambda: _rejection(exchange, excerpts, proxy))
    with suppress(*BROKEN), trio.move_on_after(BODY_PATIENCE):
        while not exchange.complete:
            exchange.receive_data(await draining.receive_some(exchange.read_size))
    raise _rejection(exchange, excerpts, proxy)


def _advice(exc: MalformedResponse, proxy: Proxy) -> str:
    if isinstance(exc, SpeaksTLS):
        return "" if proxy.is_secure else "; use https in its URL"
    if isinstance(exc, OtherProtocol):
        is_socks = exc.came.startswith(b"\x05")  # RFC 1928 §3
        return "; use socks5h in its URL" if is_socks else "; is the port right?"
    return ""


def _rejection(exchange: HTTP11Exchange, excerpts: Excerpts, proxy: Proxy) -> ProxyError:
    response = exchange.response
    assert response is not None
    what, problem = "refused", ""
    if response.status_code == _AUTHENTICATION_REQUIRED:
        schemes = response.headers.get("Proxy-Authenticate", "").lower()
        what = "wants authentication"
        if schemes and "basic" not in schemes:
            what = "wants authentication other than Basic"
        elif proxy.credentials is not None:
            what = "does not accept the name and password"
        elif schemes:
            problem = "put name:password@ into its URL"
    elif response.status_code in _NO_CONNECT:
        problem = _IS_IT_ONE
    return ProxyError(
        f"the proxy {what}: {excerpts.rejection(response, exchange.body, problem)}",
        response.status_code,
        response.headers,
        exchange.body,
        response.reason_phrase,
    )


class PrefixedStream(trio.abc.Stream):
    """A stream of which some bytes have been read already: they come first.

    Args:
        data: Those bytes.
        stream: All else.
    """

    def __init__(self, data: bytes, stream: trio.abc.Stream) -> None:
        self._data = data
        self.stream: Final = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._data:
            return await self.stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._data) if max_bytes is None else max_bytes
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()
