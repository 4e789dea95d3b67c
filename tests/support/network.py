"""A fake of the network: TCP that a test hands out, and names that it knows."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping

import pytest
import trio


class Network:
    """A fake of `trio.open_tcp_stream`: each connection is the next of the outcomes.

    An exception is raised instead. `asked` has host, port and local address of each.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *outcomes: trio.abc.Stream | Exception
    ) -> None:
        self._outcomes = deque(outcomes)
        self.asked: list[tuple[str, int, str | None]] = []
        monkeypatch.setattr(trio, "open_tcp_stream", self)

    async def __call__(
        self, host: str, port: int, *, local_address: str | None = None
    ) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.asked.append((host, port, local_address))
        outcome = self._outcomes.popleft()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Names(trio.abc.HostnameResolver):
    """Knows the addresses of some names; `asked` has the names that were looked up."""

    def __init__(self, addresses: Mapping[str, list[str]]) -> None:
        self._addresses = addresses
        self.asked: list[str] = []
        trio.socket.set_custom_hostname_resolver(self)

    async def getaddrinfo(self, host, port, *_):
        await trio.lowlevel.checkpoint()
        name = host.decode()
        self.asked.append(name)
        if name not in self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self._addresses[name]
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError
