"""A conversation to look at: a client, and an echo server of its own on loopback."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request
from wsproto.utilities import RemoteProtocolError

from trio_wsclient import open_websocket_client


async def demo(show: Callable[[str], None]) -> None:
    """Hold a short conversation, and show each step with its time.

    Args:
        show: Called with a line for each step.
    """
    start = trio.current_time()

    def step(name: str, what: object) -> None:
        show(f"{_milliseconds(trio.current_time() - start):>10}  {name:<9}  {what}")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        step("listening", f"a server for this demo, on 127.0.0.1 port {port}")
        async with open_websocket_client(f"ws://127.0.0.1:{port}/") as ws:
            step("opened", ws.url)
            for message in ("Hello, Trio!", b"\x00\x01\x02"):
                await ws.send(message)
                step("sent", repr(message))
                step("received", repr(await ws.receive()))
            step("ping", f"answered within {_milliseconds(await ws.ping())}")
        step("closed", await ws.wait_closed())
        nursery.cancel_scope.cancel()


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


async def echo(stream: trio.abc.Stream) -> None:
    """Serve one connection: every message goes back, fragment by fragment."""
    server = WSConnection(ConnectionType.SERVER)
    try:
        while server.state is not ConnectionState.CLOSED:
            data = await stream.receive_some()
            if not data:
                return
            server.receive_data(bytes(data))
            for event in server.events():
                match event:
                    case Request():
                        await stream.send_all(server.send(AcceptConnection()))
                    case Message():
                        await stream.send_all(server.send(event))
                    case Ping() | CloseConnection():
                        await stream.send_all(server.send(event.response()))
    except (trio.BrokenResourceError, RemoteProtocolError):
        return  # Interrupted, or a stranger on our port: no concern of the demo.
