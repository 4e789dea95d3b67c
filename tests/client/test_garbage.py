"""E40: a connection that is over leaves nothing to the cycle collector."""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
import wire
from extensions import Unoffered
from scripted_server import Peer, loopback_server
from situations import reset
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    open_websocket_client,
    reconnecting,
)
from trio_wsclient._connection.queue import ReceiveQueue

N = 20  # connections; the first ones warm up
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
REJECTIONS = {
    "/refuse": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "/refuse?half": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf",
    "/end": b"",
    "/malformed": b"HTTP/1.1 no number\r\n\r\n",
}
# Packages whose objects only the client makes: the server of these tests does without them.
OURS = ("trio_wsclient", "wsproto", "h11")
VIOLATIONS = {
    b"a reserved opcode": wire.frame(3),
    b"not UTF-8": wire.frame(wire.TEXT, b"\xff", fin=False),
    b"cut off": wire.frame(wire.BINARY, b"\xf2\x48\xcd", rsv=4),
}


async def fine(url: str, options: dict[str, object]) -> None:
    async with open_websocket_client(url, **options) as ws:
        await ws.send("x")
        assert await ws.receive() == "x"


async def kept_alive(url: str, options: dict[str, object]) -> None:
    await fine(url, {**options, "ping_interval": 100})


async def compressed(url: str, options: dict[str, object]) -> None:
    async with open_websocket_client(url, compression="deflate", **options) as ws:
        await ws.send("x" * 1_000)
        assert await ws.receive() == "x" * 1_000


async def extended(url: str, options: dict[str, object]) -> None:
    await fine(url, {**options, "extensions": [Unoffered()]})


async def unread(url: str, options: dict[str, object]) -> None:
    async with open_websocket_client(url, **options) as ws:
        await ws.send_many(["a", b"b"])
        async with ws.text_writer() as writer:
            await writer.write("c")
            await writer.write("d")
        await ws.receive()


async def cancelled(url: str, options: dict[str, object]) -> None:
    with trio.CancelScope() as scope:
        async with open_websocket_client(url, **options) as ws:
            async with trio.open_nursery() as nursery:
                for call in (ws.receive, ws.receive, ws.ping, ws.wait_closed):
                    nursery.start_soon(call)
                await trio.lowlevel.checkpoint()
                scope.cancel()


async def cancelled_while_connecting(url: str, options: dict[str, object]) -> None:
    """Trio tries the addresses of a name in a nursery, so the cancel is a group."""

    async def connect(*_: object, **__: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    with pytest.MonkeyPatch.context() as patch, trio.move_on_after(0) as scope:
        patch.setattr(trio, "open_tcp_stream", connect)
        async with open_websocket_client(url, **options):
            pytest.fail("it is not open")
    assert scope.cancelled_caught


async def closed_by_the_server(url: str, options: dict[str, object]) -> None:
    async with open_websocket_client(url, **options) as ws:
        await ws.send("close")
        with suppress(ConnectionClosed):
            await ws.receive()


async def ended_by_tcp(url: str, options: dict[str, object]) -> None:
    with suppress(ConnectionClosed):
        async with open_websocket_client(url, **options) as ws:
            await ws.send("end")
            await ws.receive()


async def reset_while_receiving(url: str, options: dict[str, object]) -> None:
    async def receive() -> None:
        with suppress(ConnectionClosed):
            await ws.receive()

    with suppress(ConnectionClosed):
        async with open_websocket_client(url, **options) as ws, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(receive)
            await ws.send("reset")


async def reset_while_sending(url: str, options: dict[str, object]) -> None:
    with suppress(ConnectionClosed):
        async with open_websocket_client(url, **options) as ws:
            await ws.send("reset")
            while True:
                await ws.send("x" * 1_000)
                await trio.lowlevel.checkpoint()


async def torn(url: str, options: dict[str, object]) -> None:
    with suppress(ConnectionClosed):
        async with open_websocket_client(url, **options) as ws:
            await ws.send("listen no more")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, bytes(20_000_000))  # more than loopback TCP buffers
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await ws.send("x")


async def writer_left_by_an_exception(url: str, options: dict[str, object]) -> None:
    with suppress(ZeroDivisionError):
        async with open_websocket_client(url, **options) as ws, ws.text_writer() as writer:
            await writer.write("half")
            raise ZeroDivisionError


async def no_message_can_be_taken(url: str, options: dict[str, object]) -> None:
    """The error strikes a receiver that is parked, because the background reader reads."""

    def fail(queue: ReceiveQueue) -> str | bytes:
        raise OverflowError("no room to join it")

    async def receive() -> None:
        with pytest.raises(OverflowError):
            await ws.receive()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReceiveQueue, "take_message", fail)
        async with open_websocket_client(url, **options) as ws, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await ws.send("x")


async def violated(url: str, options: dict[str, object], violation: str) -> None:
    with pytest.raises(ConnectionClosedError, match="failed by this side"):
        async with open_websocket_client(url, compression="deflate", **options) as ws:
            await ws.send(violation)
            await ws.receive()


async def reserved_opcode(url: str, options: dict[str, object]) -> None:
    await violated(url, options, "a reserved opcode")


async def not_utf8(url: str, options: dict[str, object]) -> None:
    await violated(url, options, "not UTF-8")


async def cut_deflate(url: str, options: dict[str, object]) -> None:
    await violated(url, options, "cut off")


async def refused(url: str, options: dict[str, object]) -> None:
    with suppress(HandshakeError):
        async with open_websocket_client(f"{url}refuse", **options):
            pytest.fail("it is not open")


async def refused_by_half(url: str, options: dict[str, object]) -> None:
    with pytest.raises(ConnectionRejected):
        async with open_websocket_client(f"{url}refuse?half", **options):
            pytest.fail("it is not open")


async def asked_in_vain(url: str, options: dict[str, object]) -> None:
    async def on_rejected(rejected: ConnectionRejected) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(ConnectionRejected):
        async with open_websocket_client(f"{url}refuse", on_rejected=on_rejected, **options):
            pytest.fail("it is not open")


async def refused_twice(url: str, options: dict[str, object]) -> None:
    async def on_rejected(rejected: ConnectionRejected) -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        return {}

    with pytest.raises(ConnectionRejected):
        async with open_websocket_client(f"{url}refuse", on_rejected=on_rejected, **options):
            pytest.fail("it is not open")


async def asked_for_too_long(url: str, options: dict[str, object]) -> None:
    async def on_rejected(rejected: ConnectionRejected) -> None:
        await trio.sleep_forever()

    with pytest.raises(OpenTimeout):
        async with open_websocket_client(
            f"{url}refuse", on_rejected=on_rejected, open_timeout=0.1, **options
        ):
            pytest.fail("it is not open")


async def failed_function(url: str, options: dict[str, object]) -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("mine")

    for name in ("extra_headers", "open_stream"):
        with pytest.raises(HandshakeError):
            async with open_websocket_client(url, **{name: fail}, **options):
                pytest.fail("it is not open")
    with pytest.raises(OSError, match="mine"):
        async with open_websocket_client(f"{url}refuse", on_rejected=fail, **options):
            pytest.fail("it is not open")


async def failed_in_a_group(url: str, options: dict[str, object]) -> None:
    """A function with a nursery of its own raises a group, which leaves as it is."""

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("mine", [OSError("mine"), ValueError("mine")])

    for path, name in (("", "extra_headers"), ("", "open_stream"), ("refuse", "on_rejected")):
        with pytest.raises(ExceptionGroup, match="mine"):
            async with open_websocket_client(f"{url}{path}", **{name: fail}, **options):
                pytest.fail("it is not open")


async def cut_off_in_the_handshake(url: str, options: dict[str, object]) -> None:
    with pytest.raises(HandshakeError):
        async with open_websocket_client(f"{url}end", **options):
            pytest.fail("it is not open")


async def malformed(url: str, options: dict[str, object]) -> None:
    with pytest.raises(HandshakeError):
        async with open_websocket_client(f"{url}malformed", **options):
            pytest.fail("it is not open")


async def reconnected(url: str, options: dict[str, object]) -> None:
    """The block is left by an exception after the second failure."""
    with suppress(ZeroDivisionError):
        async for connection in reconnecting(url, first_delay=0, **options):
            async with connection as ws:
                if connection.attempt == 3:
                    raise ZeroDivisionError
                await ws.send("end")
                await ws.receive()


async def given_up(url: str, options: dict[str, object]) -> None:
    with suppress(ConnectionRejected):
        async for connection in reconnecting(f"{url}refuse", first_delay=0, **options):
            async with connection:
                pytest.fail("it is not open")


async def given_up_after_a_violation(url: str, options: dict[str, object]) -> None:
    with suppress(ConnectionClosedError):
        async for connection in reconnecting(url, first_delay=0, **options):
            async with connection as ws:
                await ws.send("a reserved opcode")
                await ws.receive()


async def not_reached(url: str, options: dict[str, object]) -> None:
    with suppress(HandshakeError):
        async with open_websocket_client("ws://127.0.0.1:1/"):
            pytest.fail("it is not open")


async def script(peer: Peer) -> None:
    request = await peer.read_request()
    path = request.split()[1].decode()
    if path in REJECTIONS:
        await peer.send(REJECTIONS[path])
        await peer.stream.aclose()
        return
    await peer.accept(*([DEFLATE] if b"permessage-deflate" in request else []))
    with suppress(trio.BrokenResourceError):
        while (frame := await peer.next_frame()) is not None:
            if frame.payload == b"end":
                await peer.stream.aclose()
                return
            if frame.payload == b"reset":
                if isinstance(peer.stream, trio.SSLStream):
                    peer.stream = peer.stream.transport_stream
                await reset(peer)
                return
            if frame.payload == b"listen no more":
                await trio.sleep_forever()
            if frame.payload == b"close":
                await peer.send(wire.close(1011))
            elif frame.payload in VIOLATIONS:
                await peer.send(VIOLATIONS[frame.payload])
            elif frame.opcode == wire.CLOSE:
                await peer.send(wire.close(frame.code))
                await peer.stream.aclose()
                return
            else:
                await peer.send(
                    wire.frame(frame.opcode, frame.payload, fin=frame.fin, rsv=frame.rsv)
                )


@contextmanager
def collector_off() -> Iterator[list[object]]:
    """Yield a list that has the garbage once the block is left."""
    garbage: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def is_ours(item: object) -> bool:
    """Return whether an object is of our classes or functions, or of a library that only we use."""
    if isinstance(item, types.FunctionType):
        return item.__module__.startswith(OURS)
    if isinstance(item, types.FrameType):
        return item.f_globals.get("__name__", "").startswith(OURS)
    if isinstance(item, types.MethodType):
        return is_ours(item.__func__)
    return type(item).__module__.startswith(OURS)


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize(
    "program",
    [
        *(fine, kept_alive, compressed, extended, unread, closed_by_the_server),
        *(cancelled, cancelled_while_connecting),
        *(ended_by_tcp, reset_while_receiving, reset_while_sending),
        *(reserved_opcode, not_utf8, cut_deflate, torn, writer_left_by_an_exception),
        no_message_can_be_taken,
        *(asked_in_vain, refused_twice, asked_for_too_long, failed_function),
        *(
            failed_in_a_group,
            refused,
            refused_by_half,
            malformed,
            cut_off_in_the_handshake,
            not_reached,
        ),
        *(reconnected, given_up, given_up_after_a_violation),
    ],
    ids=lambda program: program.__name__,
)
async def test_e40_connection_that_is_over_leaves_no_garbage(
    program, tls, server_ssl_context, client_ssl_context
):
    options = {"ssl_context": client_ssl_context} if tls else {}
    context = server_ssl_context if tls else None
    async with loopback_server(script, ssl_context=context) as address:
        url = address.replace("127.0.0.1", "localhost")
        for _ in range(3):
            await program(url, options)
        with collector_off() as garbage:
            for _ in range(N):
                await program(url, options)
    ours = Counter(type(item).__name__ for item in garbage if is_ours(item))
    assert ours == {}
