"""Proxies by HTTP CONNECT and SOCKS5, as scripts for a server; they keep what they received."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress

import trio
from scripted_server import Peer


def as_proxy(url: str, scheme: str = "http", userinfo: str = "") -> str:
    """Return the URL of a proxy that listens where a server of this URL would."""
    return f"{scheme}://{userinfo}{url.partition('//')[2]}"


class HTTPProxy:
    """Opens a tunnel for each CONNECT.

    Args:
        routes: Where targets (``host:port``) are, if not where they say, as URLs of servers.
        answer: What it says when it has connected.
    """

    def __init__(
        self,
        routes: Mapping[str, str] | None = None,
        *,
        answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
    ) -> None:
        self._routes = routes or {}
        self._answer = answer
        self.requests: list[bytes] = []

    @property
    def targets(self) -> list[str]:
        return [request.split()[1].decode() for request in self.requests]

    async def __call__(self, peer: Peer) -> None:
        request = await peer.read_request()
        assert request.startswith(b"CONNECT ")
        self.requests.append(request)
        await _relay(peer, self._routes, self.targets[-1], self._answer)


class SOCKSProxy:
    """Opens a tunnel for each request of SOCKS5 that has the right name and password.

    Args:
        routes: As of an `HTTPProxy`.
        credentials: Name and password; without them it asks for none.
    """

    def __init__(
        self,
        routes: Mapping[str, str] | None = None,
        *,
        credentials: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._routes = routes or {}
        self._credentials = credentials
        self.targets: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        method = 0 if self._credentials is None else 2
        version, count = await _read(peer, 2)
        assert version == 5
        assert method in await _read(peer, count)
        await peer.send(bytes([5, method]))
        if self._credentials is not None:
            (version,) = await _read(peer, 1)
            assert version == 1
            assert (await _read_field(peer), await _read_field(peer)) == self._credentials
            await peer.send(b"\x01\x00")
        assert await _read(peer, 3) == b"\x05\x01\x00"
        host = await self._read_host(peer)
        port = int.from_bytes(await _read(peer, 2), "big")
        self.targets.append(f"{host}:{port}")
        await _relay(peer, self._routes, self.targets[-1], b"\x05\x00\x00\x01" + bytes(6))

    async def _read_host(self, peer: Peer) -> str:
        (kind,) = await _read(peer, 1)
        if kind == 3:
            return (await _read_field(peer)).decode("ascii")
        address = ipaddress.ip_address(await _read(peer, {1: 4, 4: 16}[kind]))
        return f"[{address}]" if kind == 4 else str(address)


async def _read(peer: Peer, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await peer.stream.receive_some(size - len(data))
        assert piece, "the client has ended TCP within what it says"
        data += piece
    return data


async def _read_field(peer: Peer) -> bytes:
    (size,) = await _read(peer, 1)
    return await _read(peer, size)


async def _relay(peer: Peer, routes: Mapping[str, str], target: str, answer: bytes) -> None:
    """Connect, say so, and pass bytes both ways until one side ends; then end the other one."""
    host, _, port = routes.get(target, target).rpartition("//")[2].strip("/").rpartition(":")
    async with peer.stream, await trio.open_tcp_stream(host, int(port)) as upstream:
        await peer.send(answer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, peer.stream, upstream, nursery.cancel_scope)
            nursery.start_soon(_pass_on, upstream, peer.stream, nursery.cancel_scope)


async def _pass_on(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in source:
            await sink.send_all(data)
    scope.cancel()
