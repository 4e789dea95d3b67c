"""Cancelled while it opens: nothing stays open, and nothing but the cancellation comes out."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest
import trio
from scripted_server import Peer, echo_script, loopback_server, memory_server, tls_for
from trio.testing import memory_stream_pair

from trio_wsclient import WebSocketClient, open_websocket_client

BOUND = 30  # seconds for what takes two


class Sockets(trio.abc.SocketFactory):
    """Makes sockets as always, and keeps them in sight."""

    def __init__(self) -> None:
        self.made = []

    def socket(self, family=-1, type=-1, proto=-1):  # noqa: A002
        made = trio.socket.from_stdlib_socket(socket.socket(family, type, proto))
        self.made.append(made)
        return made


class CancelAt(trio.abc.Instrument):
    """Cancels a scope at the n-th moment when a task begins or ends a step.

    At the end of a step the task waits for what comes next; at the beginning that wait is over.
    """

    def __init__(self, moment: int) -> None:
        self.remaining = moment
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            self.scope.cancel()

    after_task_step = before_task_step


async def opens_if_cancelled_at(
    moment: int, opening: AbstractAsyncContextManager[WebSocketClient]
) -> bool:
    """Open, and cancel that at some moment; tell whether it was open before."""
    instrument = CancelAt(moment)
    left: list[BaseException] = []
    with instrument.scope:
        trio.lowlevel.add_instrument(instrument)
        try:
            async with opening:
                instrument.remaining = 0  # From here on no moment is counted.
        except BaseException as exc:
            left.append(exc)
            raise
        finally:
            trio.lowlevel.remove_instrument(instrument)
    assert {type(exc) for exc in left} <= {trio.Cancelled}
    return not instrument.scope.cancel_called


async def serve(peer: Peer) -> None:
    """Echo, and do not mind if the client ends TCP anywhere."""
    with suppress(AssertionError, trio.BrokenResourceError):
        await echo_script(peer)
    await peer.stream.aclose()


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
async def test_cancelled_at_any_moment_of_tcp_every_socket_is_closed(
    server_ssl_context, client_ssl_context, tls
):
    context = server_ssl_context if tls else None
    with trio.fail_after(BOUND):
        async with loopback_server(serve, ssl_context=context) as url:
            sockets = Sockets()
            trio.socket.set_custom_socket_factory(sockets)
            moment, done = 0, False
            while not done:
                moment += 1
                opening = open_websocket_client(url, **tls_for(url, client_ssl_context))
                done = await opens_if_cancelled_at(moment, opening)
                assert all(sock.fileno() == -1 for sock in sockets.made), moment
    assert moment > 10
    assert len(sockets.made) > 5


@asynccontextmanager
async def serving(script: Callable[[Peer], object]):
    """Run a script in memory, and hold the block open until it has ended."""
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script, Peer(server))
        yield client


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_cancelled_at_any_moment_the_users_stream_is_closed(
    server_ssl_context, client_ssl_context, tls
):
    async def server(peer: Peer) -> None:
        tls_stream = trio.SSLStream(
            peer.stream, server_ssl_context, server_side=True, https_compatible=True
        )
        await serve(Peer(tls_stream) if tls else peer)

    moment, done = 0, False
    with trio.fail_after(BOUND):
        while not done:
            moment += 1
            async with serving(server) as stream:  # Ends only if the stream is closed.
                url = "wss://localhost/" if tls else "ws://localhost/"
                opening = open_websocket_client(
                    url,
                    stream=stream,
                    **tls_for(url, client_ssl_context),
                )
                done = await opens_if_cancelled_at(moment, opening)
    assert moment > 10


async def test_cancelled_before_it_begins_nothing_is_opened():
    sockets = Sockets()
    trio.socket.set_custom_socket_factory(sockets)
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_websocket_client("ws://127.0.0.1:1/"):
            pytest.fail("it is not open")
    assert scope.cancelled_caught
    assert all(sock.fileno() == -1 for sock in sockets.made)


@pytest.mark.parametrize("url", ["ws://server/", "wss://server/"])
async def test_cancelled_before_it_begins_the_users_stream_is_closed(url):
    with trio.fail_after(BOUND):
        async with serving(Peer.wait_eof) as stream:
            with trio.CancelScope() as scope:
                scope.cancel()
                async with open_websocket_client(url, stream=stream):
                    pytest.fail("it is not open")
    assert scope.cancelled_caught


@pytest.fixture
def ctrl_c():
    """Have SIGINT mean Ctrl-C also in a run in the background, for which a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_opening_leaves_bare_and_closes_the_stream():
    async def server(peer: Peer) -> None:
        await peer.read_request()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    async def main() -> None:
        async with memory_server(server) as stream:
            with pytest.raises(KeyboardInterrupt):
                async with open_websocket_client("ws://server/", stream=stream):
                    pytest.fail("it is not open")
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")

    trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


# Groups out of trio.open_tcp_stream


async def cancellation() -> trio.Cancelled:
    """Return a cancellation that nobody waits for."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            cancelled = exc
            raise
    return cancelled


async def leaves_opening(monkeypatch, group: BaseException) -> BaseException:
    """Return what leaves the block if `trio.open_tcp_stream` raises a group."""

    async def open_tcp_stream(*_: object, **__: object) -> None:
        raise group

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 whatever it is
        async with open_websocket_client("ws://server/"):
            pytest.fail("it is not open")
    return caught.value


async def test_group_of_nothing_but_cancellations_is_reduced_to_one(monkeypatch):
    first, second, third = [await cancellation() for _ in range(3)]
    inner = BaseExceptionGroup("inner", [first, second])
    left = await leaves_opening(monkeypatch, BaseExceptionGroup("outer", [inner, third]))
    assert left is first
    assert left.__cause__ is None
    assert left.__suppress_context__


async def test_ctrl_c_wins_over_cancels_in_a_group(monkeypatch):
    interrupt = KeyboardInterrupt()
    group = BaseExceptionGroup("", [await cancellation(), interrupt, await cancellation()])
    assert await leaves_opening(monkeypatch, group) is interrupt


async def test_another_group_leaves_as_it_is(monkeypatch):
    group = BaseExceptionGroup("", [await cancellation(), RuntimeError("a bug of Trio's")])
    assert await leaves_opening(monkeypatch, group) is group


async def test_group_of_cancels_is_caught_by_its_scope(monkeypatch):
    async def open_tcp_stream(*_: object, **__: object) -> None:
        group = []
        for _ in range(2):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                group.append(exc)
        raise BaseExceptionGroup("", group)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled) as caught:
            async with open_websocket_client("ws://server/"):
                pytest.fail("it is not open")
        raise caught.value
    assert scope.cancelled_caught
