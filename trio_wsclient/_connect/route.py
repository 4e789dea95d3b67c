"""The way to a server: the one that the options ask for."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_wsclient._connect.phases import Phases
from trio_wsclient._errors import HandshakeError, Phase
from trio_wsclient._http.url import URL
from trio_wsclient._net import connect
from trio_wsclient._net.no_proxy import proxy_from_environment
from trio_wsclient._net.proxy import Proxy
from trio_wsclient._net.tunnel import connect_through
from trio_wsclient._options import Options
from trio_wsclient._scheduling import import_in_thread


class Route:
    """The way to the server of one URL.

    Args:
        url: The URL.
        options: The options that say how to connect.
        phases: The phases of the opening.

    Attributes:
        proxy: The proxy that it leads through, once that is known.
    """

    def __init__(self, url: URL, options: Options, phases: Phases) -> None:
        self._url = url
        self._options = options
        self._phases = phases
        self.proxy: Proxy | None = None

    async def connect(
        self, rejected: Callable[[Callable[[], HandshakeError]], None]
    ) -> trio.abc.Stream:
        """Connect to the server, before TLS with it.

        Args:
            rejected: Called when a proxy has refused, and the body of its response may still come.
                It gets a function that makes the error.

        Raises:
            HandshakeError: There is no connection.
        """
        options, url = self._options, self._url
        if options.unix_socket is not None:
            self._phases.enter("connect", "connecting to a unix socket")
            return await connect.connect_unix(options.unix_socket)
        if options.open_stream is not None:
            self._phases.enter("connect", "open_stream connects to %s port %d", url.host, url.port)
            return await connect.connect_by(options.open_stream, url.host, url.port)
        self.proxy = await self._choose_proxy()
        if self.proxy is None:
            self._phases.enter("connect", "connecting to %s port %d", url.host, url.port)
            return await connect.connect_tcp(
                url.host, url.port, local_address=options.local_address
            )
        self._phases.enter("connect", "connecting to the proxy %s", self.proxy)
        return await connect_through(
            self.proxy,
            url.host,
            url.port,
            local_address=options.local_address,
            user_agent=options.user_agent,
            enter=self._enter_proxy,
            rejected=rejected,
        )

    def _enter_proxy(self, phase: Phase) -> None:
        if phase == "proxy_tls":
            self._phases.enter(phase, "TLS with the proxy")
        else:
            self._phases.enter(phase, "asking the proxy for %s", self._url.authority)

    async def _choose_proxy(self) -> Proxy | None:
        proxy = self._options.proxy
        if proxy == "environment":
            self._phases.enter("connect", "asking the environment for a proxy")
            await import_in_thread("urllib.request")
            url = self._url
            return proxy_from_environment(secure=url.secure, host=url.host, port=url.port)
        assert not isinstance(proxy, str)
        return proxy
