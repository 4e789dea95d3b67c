"""A stream of the user's: whatever it raises, it is closed if no connection is made."""

from __future__ import annotations

import ssl
import threading

import pytest
import trio
import truststore
from scripted_server import Peer, memory_server

from trio_wsclient import HandshakeError, open_websocket_client

BOUND = 10  # seconds for what takes a fraction of one


class Unready(trio.abc.Stream):
    """A stream that can be closed, and nothing else."""

    def __init__(self, error, error_of_closing=None) -> None:
        self.error = error
        self.error_of_closing = error_of_closing
        self.closed = False

    async def send_all(self, data):
        raise self.error

    async def wait_send_all_might_not_block(self):
        raise self.error

    async def receive_some(self, max_bytes=None):
        raise self.error

    async def aclose(self):
        self.closed = True
        if self.error_of_closing is not None:
            raise self.error_of_closing


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize(
    "error",
    [trio.BrokenResourceError("gone"), trio.ClosedResourceError("gone"), OSError("gone")],
    ids=lambda error: type(error).__name__,
)
async def test_stream_that_does_not_work_is_a_handshake_error(client_ssl_context, scheme, error):
    stream = Unready(error)
    with pytest.raises(HandshakeError, match="gone"):
        context = client_ssl_context if scheme == "wss" else None
        async with open_websocket_client(f"{scheme}://server/", stream=stream, ssl_context=context):
            pytest.fail("it is not open")
    assert stream.closed


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_what_else_a_stream_raises_leaves_as_it_is(client_ssl_context, scheme):
    error = KeyError("a bug of the stream")
    stream = Unready(error)
    with pytest.raises(KeyError) as caught:
        context = client_ssl_context if scheme == "wss" else None
        async with open_websocket_client(f"{scheme}://server/", stream=stream, ssl_context=context):
            pytest.fail("it is not open")
    assert caught.value is error
    assert stream.closed


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("error", [trio.BrokenResourceError("gone"), KeyError("gone")], ids=repr)
async def test_why_it_failed_is_not_lost_if_closing_fails_too(client_ssl_context, scheme, error):
    stream = Unready(error, error_of_closing=OSError("cannot be closed"))
    expected = HandshakeError if isinstance(error, trio.BrokenResourceError) else KeyError
    with pytest.raises(expected, match="gone"):
        context = client_ssl_context if scheme == "wss" else None
        async with open_websocket_client(f"{scheme}://server/", stream=stream, ssl_context=context):
            pytest.fail("it is not open")
    assert stream.closed


async def test_users_stream_is_closed_if_tls_fails(client_ssl_context):
    eof = trio.Event()

    async def server(peer: Peer) -> None:
        await peer.send(b"this is not TLS")
        await peer.wait_eof()
        eof.set()

    async with memory_server(server) as stream:
        with pytest.raises(HandshakeError):
            async with open_websocket_client(
                "wss://server/", stream=stream, ssl_context=client_ssl_context
            ):
                pytest.fail("it is not open")
        with trio.fail_after(BOUND):
            await eof.wait()


async def test_users_stream_is_closed_if_tls_is_cancelled(client_ssl_context, autojump_clock):
    eof = trio.Event()

    async def server(peer: Peer) -> None:
        await peer.wait_eof()
        eof.set()

    async with memory_server(server) as stream:
        with trio.move_on_after(1) as scope:
            async with open_websocket_client(
                "wss://server/", stream=stream, ssl_context=client_ssl_context
            ):
                pytest.fail("it is not open")
        assert scope.cancelled_caught
        with trio.fail_after(BOUND):
            await eof.wait()


async def test_context_that_takes_its_time_is_not_waited_for():
    """Truststore's does, in `wrap_bio`."""

    class Slow(truststore.SSLContext):
        def wrap_bio(self, *args: object, **kwargs: object) -> ssl.SSLObject:
            trio.from_thread.run_sync(scope.cancel)
            waits.append(released.wait(BOUND))
            return super().wrap_bio(*args, **kwargs)

    eof, released = trio.Event(), threading.Event()
    waits: list[bool] = []

    async def server(peer: Peer) -> None:
        await peer.wait_eof()
        eof.set()

    async with memory_server(server) as stream:
        with trio.CancelScope() as scope:
            async with open_websocket_client(
                "wss://server/", stream=stream, ssl_context=Slow(ssl.PROTOCOL_TLS_CLIENT)
            ):
                pytest.fail("it is not open")
        assert scope.cancelled_caught
        assert waits == [], "the thread was waited for"
        released.set()
        with trio.fail_after(BOUND):
            await eof.wait()
