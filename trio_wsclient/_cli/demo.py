"""A conversation to look at: a client, and an echo server of its own on loopback."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_wsclient import open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def demo(show: Callable[[str], None]) -> None:
    """Hold a short conversation, and show each step with its time.

    Args:
        show: Called with a line for each step.
    """
    start = trio.current_time()

    def step(name: str, what: object) -> None:
        show(f"{_milliseconds(trio.current_time() - start):>10}  {name:<9}  {what}")

    async with open_loopback_server() as server:
        step("listening", f"a server for this demo, on 127.0.0.1 port {server.port}")
        async with open_websocket_client(server.url) as ws:
            step("opened", ws.url)
            for message in ("Hello, Trio!", b"\x00\x01\x02"):
                await ws.send(message)
                step("sent", repr(message))
                step("received", repr(await ws.receive()))
            step("ping", f"answered within {_milliseconds(await ws.ping())}")
        step("closed", await ws.wait_closed())


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
