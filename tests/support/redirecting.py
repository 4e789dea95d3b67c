"""A server that redirects."""

from __future__ import annotations

import wire
from scripted_server import Peer


class Redirecting:
    """A server that redirects by path, keeps the requests, and accepts any other path."""

    def __init__(self, targets: dict[str, str], status: str = "302 Found") -> None:
        self.targets = targets
        self.status = status
        self.requests: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        request = await peer.read_request()
        self.requests.append(request)
        path = request.split()[1].decode()
        if path in self.targets:
            head = f"HTTP/1.1 {self.status}\r\nLocation: {self.targets[path]}\r\n"
            await peer.send(f"{head}Content-Length: 4\r\n\r\naway".encode())
            assert await peer.wait_eof() == b""
            return
        await peer.send(wire.answer(peer.request))
        await peer.echo()

    def header(self, number: int, name: str) -> str | None:
        lines = self.requests[number].decode().split("\r\n")
        values = dict(line.split(": ", 1) for line in lines if ": " in line)
        return {key.lower(): value for key, value in values.items()}.get(name.lower())
