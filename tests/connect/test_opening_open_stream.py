"""``open_stream``: a function of the user's that connects, for each attempt."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from log_records import KeepingLogger
from redirecting import Redirecting
from scripted_server import Peer, echo_script, loopback_server, memory_server
from strict_server import Connected, StrictServer
from sweep import AtAnyStep, AtOwnStep, Trial, sweep

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    open_websocket_client,
    reconnecting,
    run_websocket_client,
)
from trio_wsclient._net.sockets import EagerSocketStream
from trio_wsclient._net.tls import EagerTLSStream

BOUND = 10  # seconds for what takes a fraction of one

OpenStream = Callable[[str, int], Awaitable[trio.abc.Stream]]


def port_of(url: str) -> int:
    return int(url.split(":")[2].partition("/")[0])


def to(url: str, asked: list[tuple[str, int]] | None = None) -> OpenStream:
    """Return a function that connects to another server than the one it is asked for."""

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        if asked is not None:
            asked.append((host, port))
        return await trio.open_tcp_stream("127.0.0.1", port_of(url))

    return open_stream


def raising(error: BaseException) -> OpenStream:
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    return open_stream


# What it is asked for


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("ws://server.example/", "server.example", 80),
        ("http://server.example:8080/", "server.example", 8080),
        ("ws://user:password@bücher.example:1/", "xn--bcher-kva.example", 1),
        ("ws://[::1]:2/", "::1", 2),
        ("ws://192.0.2.7:3/", "192.0.2.7", 3),
    ],
)
async def test_open_stream_is_asked_for_host_and_port(url: str, host: str, port: int):
    asked: list[tuple[str, int]] = []
    async with loopback_server(echo_script) as server:
        async with open_websocket_client(url, open_stream=to(server, asked)) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert ws.remote_address == ("127.0.0.1", port_of(server))
    assert asked == [(host, port)]


async def test_tls_runs_over_a_stream_that_was_opened(server_ssl_context, client_ssl_context):
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as server:
        asked: list[tuple[str, int]] = []
        async with open_websocket_client(
            "wss://localhost/", open_stream=to(server, asked), ssl_context=client_ssl_context
        ) as ws:
            assert ws.tls is not None
            assert ws.tls.server_hostname == "localhost"
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert isinstance(ws._connection._stream, EagerTLSStream)
    assert asked == [("localhost", 443)]


async def test_socket_stream_is_adopted():
    async with loopback_server(echo_script) as server:
        async with open_websocket_client("ws://server/", open_stream=to(server)) as ws:
            assert isinstance(ws._connection._stream, EagerSocketStream)


async def test_other_stream_is_used_as_it_is():
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        return stream

    async with memory_server(echo_script) as stream:
        async with open_websocket_client("ws://server/", open_stream=open_stream) as ws:
            assert ws._connection._stream is stream
            assert ws.remote_address is None
            assert ws.tls is None
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_tls_that_open_stream_has_started_is_told(server_ssl_context, client_ssl_context):
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        return trio.SSLStream(
            await to(server)(host, port),
            client_ssl_context,
            server_hostname="localhost",
            https_compatible=True,
        )

    async with loopback_server(echo_script, ssl_context=server_ssl_context) as server:
        async with open_websocket_client("ws://server/", open_stream=open_stream) as ws:
            assert ws.tls is not None
            assert ws.tls.server_hostname == "localhost"


async def test_stream_that_was_opened_is_closed_if_the_handshake_fails():
    gone = trio.Event()

    async def refuse(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await peer.wait_eof()
        gone.set()

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        return stream

    async with memory_server(refuse) as stream:
        with pytest.raises(ConnectionRejected):
            async with open_websocket_client("ws://server/", open_stream=open_stream):
                pytest.fail("it is not open")
        with trio.fail_after(BOUND):
            await gone.wait()


# Each attempt


async def test_open_stream_is_called_for_each_redirect():
    asked: list[tuple[str, int]] = []
    target = Redirecting({"/": "/again", "/again": "ws://other.example:81/there"})
    async with loopback_server(target) as server:
        async with open_websocket_client(
            "ws://server.example/", open_stream=to(server, asked), max_redirects=2
        ) as ws:
            assert ws.url == "ws://other.example:81/there"
    assert asked == [("server.example", 80)] * 2 + [("other.example", 81)]


async def test_open_stream_is_called_in_each_round_of_a_loop():
    asked: list[tuple[str, int]] = []

    async def once(peer: Peer) -> None:
        if len(asked) < 3:
            await peer.stream.aclose()
        else:
            await echo_script(peer)

    async with loopback_server(once) as server:
        async for connection in reconnecting(
            "ws://server/", first_delay=0, open_stream=to(server, asked)
        ):
            async with connection:
                break
    assert len(asked) == 3


async def test_oserror_of_open_stream_is_retried():
    calls: list[int] = []

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        calls.append(port)
        if len(calls) < 3:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return await to(server)(host, port)

    async with loopback_server(echo_script) as server:
        async for connection in reconnecting(
            "ws://server/", first_delay=0, open_stream=open_stream
        ):
            async with connection:
                assert connection.attempt == 3
                assert "Network is unreachable" in str(connection.last_error)
                break


# Errors


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ECONNREFUSED, "wants s3cret"), os.strerror(errno.ECONNREFUSED)),
        (OSError(4711, "s3cret"), "OSError"),
        (OSError("s3cret", "s3cret"), "OSError"),
        (socket.gaierror(socket.EAI_NONAME, "s3cret"), "name look-up failed (EAI_NONAME)"),
        (socket.gaierror(4711, "s3cret"), "name look-up failed (unknown reason)"),
        (ssl.SSLError(1, "s3cret"), "SSLError"),
        (OSError("the tunnel\r\nby http://bob:s3cret@proxy is closed"), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=[
        *("errno", "unknown errno", "errno that is text", "gaierror", "unknown gaierror"),
        *("ssl", "text", "empty"),
    ],
)
async def test_oserror_of_open_stream_is_a_handshake_error(error: OSError, reason: str):
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client("ws://server/", open_stream=raising(error)):
            pytest.fail("it is not open")
    assert str(caught.value) == f"open_stream made no connection to server port 80: {reason}"
    assert caught.value.__cause__ is error


async def test_error_of_trios_own_function_is_named():
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", unused)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        unused = listener.getsockname()[1]
    with pytest.raises(HandshakeError, match=r"port 80: .*[Rr]efused$"):
        async with open_websocket_client("ws://server/", open_stream=open_stream):
            pytest.fail("it is not open")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("mine"),
        trio.BrokenResourceError("mine"),
        trio.TooSlowError("mine"),
        ExceptionGroup("mine", [OSError("mine")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_else_open_stream_raises_leaves_as_it_is(error: Exception):
    for open_it in (open_websocket_client, once_of_a_loop):
        with pytest.raises(type(error)) as caught:
            async with open_it("ws://server/", open_stream=raising(error)):
                pytest.fail("it is not open")
        assert caught.value is error
        assert error.__context__ is error.__cause__ is None


@asynccontextmanager
async def once_of_a_loop(url: str, **options: object) -> AsyncIterator[None]:
    async for connection in reconnecting(url, **options):
        async with connection:
            yield
        return


@pytest.mark.parametrize("result", [None, object(), ("127.0.0.1", 80)])
async def test_open_stream_has_to_return_a_stream(result: object):
    async def open_stream(host: str, port: int) -> object:
        return result

    with pytest.raises(TypeError) as caught:
        async with open_websocket_client("ws://server/", open_stream=open_stream):
            pytest.fail("it is not open")
    kind = type(result).__name__
    assert str(caught.value) == f"open_stream has to return a trio.abc.Stream, not {kind}"


async def test_open_stream_has_to_be_async():
    def open_stream(host: str, port: int) -> None:
        pass

    with pytest.raises(TypeError) as caught:
        async with open_websocket_client("ws://server/", open_stream=open_stream):
            pytest.fail("it is not open")
    assert str(caught.value) == (
        "open_stream has to be async: open_stream returned NoneType, which can't be awaited"
    )


async def test_closed_stream_of_open_stream_is_a_handshake_error():
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        stream = await to(server)(host, port)
        await stream.aclose()
        return stream

    async with loopback_server(lambda peer: peer.wait_eof()) as server:
        with pytest.raises(HandshakeError):
            async with open_websocket_client("ws://server/", open_stream=open_stream):
                pytest.fail("it is not open")


async def test_open_stream_is_under_the_timeout_in_phase_connect(autojump_clock):
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    logger = KeepingLogger(logging.DEBUG)
    with pytest.raises(OpenTimeout) as caught:
        await run_websocket_client(
            "ws://server/", trio.sleep, open_stream=open_stream, open_timeout=5, logger=logger
        )
    assert caught.value.phase == "connect"
    assert trio.current_time() == pytest.approx(5, abs=0.1)
    assert logger.texts(logging.DEBUG)[0] == "open_stream connects to server port 80"


# Cancelled


@asynccontextmanager
async def through_open_stream(server: StrictServer) -> AsyncIterator[Connected]:
    async with loopback_server(server) as url:
        yield "ws://server/", {"open_stream": to(url)}


async def opening(trial: Trial) -> None:
    with trio.CancelScope() as scope:
        trial.strike.arm(scope.cancel)
        async with trial.open():
            trial.strike.disarm()
    assert trial.strike.struck or not scope.cancelled_caught
    await trial.ended([], whole=not trial.strike.struck)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [AtOwnStep, AtAnyStep])
def test_cancelled_open_stream_leaves_nothing_open(moment):
    assert sweep(through_open_stream, opening, moment) > 5
