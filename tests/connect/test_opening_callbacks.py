"""What holds for each function that a user passes: Ctrl-C, its errors, and what it returns."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Generator
from typing import Any

import pytest
import trio
import trio.testing
from opening_notes import Notes
from redirecting import Redirecting
from scripted_server import Peer, loopback_server

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    ProxyError,
    open_websocket_client,
    reconnecting,
)
from trio_wsclient._net import connect

URL = "ws://server/"


async def reject(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await peer.wait_eof()


def is_async(function: Callable[[], object]) -> Callable[..., Any]:
    async def call(*args: object) -> object:
        result = function()
        await trio.lowlevel.checkpoint()
        return result

    return call


def is_partial(function: Callable[[], object]) -> Callable[..., Any]:
    async def call(first: str, *args: object) -> object:
        return await is_async(function)()

    return functools.partial(call, "first")


def is_object(function: Callable[[], object]) -> Callable[..., Any]:
    class Callback:
        async def __call__(self, *args: object) -> object:
            return await is_async(function)()

    return Callback()


def returns_awaitable(function: Callable[[], object]) -> Callable[..., Any]:
    class Later:
        def __await__(self) -> Generator[Any, Any, Any]:
            return is_async(function)().__await__()

    return lambda *args: Later()


def calls_at_once(function: Callable[[], object]) -> Callable[..., Any]:
    """It calls in the plain part of a function that returns an awaitable."""

    def call(*args: object) -> object:
        result = function()
        return is_async(lambda: result)()

    return call


ASYNC_KINDS = pytest.mark.parametrize(
    "kind", [is_async, is_partial, is_object, returns_awaitable, calls_at_once]
)


class Fails(Exception):
    """What the function raises in the end."""


@pytest.fixture
def ctrl_c():
    """Return a function that presses Ctrl-C, and fails if that does not reach it."""

    def press() -> None:
        signal.raise_signal(signal.SIGINT)
        raise Fails

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield press
    signal.signal(signal.SIGINT, former)


# Ctrl-C


@ASYNC_KINDS
@pytest.mark.parametrize("option", ["extra_headers", "open_stream", "on_rejected"])
def test_ctrl_c_reaches_an_async_function(option: str, kind, ctrl_c):
    async def main() -> None:
        async with loopback_server(reject) as url:
            with pytest.raises(KeyboardInterrupt):
                async with open_websocket_client(url, **{option: kind(ctrl_c)}):
                    pytest.fail("it is not open")

    trio.run(main)


@pytest.mark.parametrize("name", ["target", "retry_delay"])
def test_ctrl_c_reaches_the_functions_of_a_loop(name: str, ctrl_c):
    async def main() -> None:
        async with loopback_server(reject) as url:
            loop = (
                reconnecting(ctrl_c)
                if name == "target"
                else reconnecting(url, retry_delay=lambda error, failures: ctrl_c())
            )
            with pytest.raises(KeyboardInterrupt):
                async for connection in loop:
                    async with connection:
                        pytest.fail("it is not open")

    trio.run(main)


async def test_ctrl_c_after_open_stream_closes_its_stream(monkeypatch):
    """Ctrl-C strikes when the function has returned, and its caller does not have the stream."""

    async def strike(awaitable: Any, opened: list[trio.abc.Stream]) -> None:
        await await_interruptible(awaitable, opened)
        raise KeyboardInterrupt

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", server_port)
        streams.append(stream)
        return stream

    streams: list[trio.SocketStream] = []
    await_interruptible = connect.await_interruptible
    monkeypatch.setattr(connect, "await_interruptible", strike)
    async with loopback_server(Peer.wait_eof) as url:
        server_port = int(url.rpartition(":")[2].strip("/"))
        with pytest.raises(KeyboardInterrupt):
            async with open_websocket_client(URL, open_stream=open_stream):
                pytest.fail("it is not open")
    (stream,) = streams
    assert stream.socket.fileno() == -1


# A HandshakeError that a function raises, perhaps of another opening


async def redirect_then_reject(peer: Peer) -> None:
    request = await peer.read_request()
    status = b"302 Found" if b"GET / " in request else b"503 Busy"
    await peer.send(b"HTTP/1.1 %s\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n" % status)
    await peer.wait_eof()


async def test_handshake_errors_of_functions_are_not_changed():
    def fail_there(*args: object) -> dict[str, str]:
        calls.append(None)
        if option == "on_rejected" or len(calls) > 1:
            raise error
        return {}

    async def open_there(host: str, port: int) -> trio.abc.Stream:
        fail_there()
        return await trio.open_tcp_stream(host, port)

    functions = {
        "extra_headers": fail_there,
        "on_rejected": is_async(fail_there),
        "open_stream": open_there,
    }
    async with loopback_server(redirect_then_reject) as url:
        for redirects in ((), ("ws://other.example/",)):
            for option, function in functions.items():
                calls: list[None] = []
                error = HandshakeError("mine")
                if redirects:
                    error.redirects = redirects
                with pytest.raises(HandshakeError) as caught:
                    async with open_websocket_client(url, max_redirects=1, **{option: function}):
                        pytest.fail("it is not open")
                assert caught.value is error
                assert error.redirects == redirects
                assert not hasattr(error, "__notes__")


async def test_rejection_that_on_rejected_raises_again_keeps_its_redirects():
    async def on_rejected(rejected: ConnectionRejected) -> None:
        await trio.lowlevel.checkpoint()
        raise rejected

    async with loopback_server(redirect_then_reject) as url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(url, max_redirects=1, on_rejected=on_rejected):
                pytest.fail("it is not open")
    assert caught.value.redirects == (url,)
    assert caught.value.__notes__ == [f"redirected from {url}"]


# Generators: their bodies run when the result is looked at


def generator_of(function: Callable[[], object]) -> Callable[..., Any]:
    def generate(*args: object) -> Generator[tuple[str, str]]:
        yield "X-A", "b"
        function()

    return generate


async def open_with_generator(
    option: str, function: Callable[[], object], expected: type[BaseException]
) -> BaseException:
    """Open by an option that is, or returns, a generator which calls a function that raises."""
    generate = generator_of(function)
    options = {option: is_async(generate) if option == "on_rejected" else generate}
    script = reject
    if option == "redirect_headers":
        script, options["max_redirects"] = Redirecting({"/": "ws://other.example/"}), 1
    async with loopback_server(script) as url:
        with pytest.raises(expected) as caught:
            async with open_websocket_client(url, **options):
                pytest.fail("it is not open")
    return caught.value


OPTIONS_OF_HEADERS = pytest.mark.parametrize(
    "option", ["extra_headers", "on_rejected", "redirect_headers"]
)


@OPTIONS_OF_HEADERS
def test_ctrl_c_reaches_a_generator(option: str, ctrl_c):
    trio.run(open_with_generator, option, ctrl_c, KeyboardInterrupt)


@OPTIONS_OF_HEADERS
async def test_oserror_of_a_generator_is_as_that_of_the_function(option: str):
    def fail() -> None:
        raise error

    error = OSError(111, "Connection refused")
    if option == "extra_headers":
        leaves = await open_with_generator(option, fail, HandshakeError)
        assert str(leaves) == "extra_headers failed: Connection refused"
        assert leaves.__cause__ is error
    else:
        assert await open_with_generator(option, fail, OSError) is error


# Async functions where plain ones are wanted


async def test_async_redirect_headers_is_a_type_error():
    async def fields(url: str) -> dict[str, str]:
        pytest.fail("it runs")

    async with loopback_server(Redirecting({"/": "ws://other.example/"})) as url:
        with pytest.raises(TypeError) as caught:
            async with open_websocket_client(url, redirect_headers=fields, max_redirects=1):
                pytest.fail("it is not open")
    assert str(caught.value) == "redirect_headers has to be a plain function, not an async one"


async def test_async_retry_delay_is_a_type_error():
    async def function(*args: object) -> float:
        pytest.fail("it runs")

    async with loopback_server(reject) as url:
        with pytest.raises(TypeError) as caught:
            async for connection in reconnecting(url, retry_delay=function):
                async with connection:
                    pytest.fail("it is not open")
    assert str(caught.value) == "retry_delay has to be a plain function, not an async one"


# The deadline


class Blocks:
    """Functions that let the open deadline pass without a cancellation point."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock

    def blocks(self, *args: object) -> None:
        self._clock.jump(7)

    def headers(self, *args: object) -> dict[str, str]:
        self.blocks()
        return {}

    async def async_headers(self, *args: object) -> dict[str, str]:
        return self.headers()

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        self.blocks()
        return stream


@pytest.mark.parametrize(
    "case",
    [
        ("extra_headers", Blocks.headers, "headers"),
        ("extra_headers", Blocks.async_headers, "headers"),
        ("open_stream", Blocks.open_stream, "connect"),
        ("on_rejected", Blocks.async_headers, "headers"),
        ("redirect_headers", Blocks.headers, "handshake"),
        ("check_tls", Blocks.blocks, "tls"),
    ],
    ids=lambda case: f"{case[0]} {case[1].__name__}",
)
async def test_timeout_names_the_phase_of_a_function_that_blocks(
    case, mock_clock, server_ssl_context, client_ssl_context
):
    option, function, phase = case

    async def script(peer: Peer) -> None:
        if option == "redirect_headers":
            await Redirecting({"/": "ws://other.example/"})(peer)
        elif option == "on_rejected":
            await reject(peer)
        else:
            await peer.wait_eof()

    notes = Notes()
    options = {option: functools.partial(function, Blocks(mock_clock)), "observer": notes}
    context = None
    if option == "check_tls":
        context, options["ssl_context"] = server_ssl_context, client_ssl_context
    if option == "redirect_headers":
        options["max_redirects"] = 1
    async with loopback_server(script, ssl_context=context) as url:
        with pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client(url, open_timeout=5, **options):
                pytest.fail("it is not open")
    assert caught.value.phase == phase
    assert list(notes.phases)[-1] == phase


# Errors


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("extra_headers", "extra_headers failed: Input/output error"),
        (
            "open_stream",
            "open_stream made no connection to server port 80: Input/output error",
        ),
    ],
)
async def test_oserror_without_a_text_is_a_handshake_error(option: str, text: str):
    """The `strerror` of an `OSError` may be any object."""

    def fail() -> None:
        raise OSError(5, b"bytes")

    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client(URL, **{option: is_async(fail)}):
            pytest.fail("it is not open")
    assert str(caught.value) == text


@pytest.mark.parametrize("url", ["ws://server/", "wss://server/"])
async def test_oserror_of_a_stream_without_a_text_is_a_handshake_error(url: str):
    class Breaks(ClosableStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            raise OSError(5, b"bytes")

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            raise OSError(5, b"bytes")

    with pytest.raises(HandshakeError, match=r"\[Errno 5\] b'bytes'"):
        async with open_websocket_client(url, stream=Breaks()):
            pytest.fail("it is not open")


async def test_valueerror_of_a_stream_under_tls_leaves_as_it_is():
    class Fails(ClosableStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            raise error

    error, stream = ValueError("mine"), Fails()
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_websocket_client("wss://server/", stream=stream):
            pytest.fail("it is not open")
    assert caught.value is error
    assert stream.is_closed


async def test_oserror_of_a_resolver_without_a_text_is_a_proxy_error():
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object) -> list[Any]:
            await trio.lowlevel.checkpoint()
            raise OSError(5, b"bytes")

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(ProxyError, match=r"\[Errno 5\] b'bytes'"):
        async with open_websocket_client(URL, proxy="socks5://127.0.0.1:1"):
            pytest.fail("it is not open")


# What open_stream returns


class Closable(trio.abc.AsyncResource):
    """An open resource that is not a stream."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.sleep_forever()


class ClosableStream(Closable, trio.abc.Stream):
    """A stream that is never used."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise NotImplementedError


async def test_stream_of_a_plain_open_stream_is_closed():
    stream = ClosableStream()
    with pytest.raises(TypeError, match="open_stream has to be async"):
        async with open_websocket_client(URL, open_stream=lambda host, port: stream):
            pytest.fail("it is not open")
    assert stream.is_closed


async def test_resource_that_is_no_stream_is_closed():
    resource = Closable()
    with pytest.raises(TypeError, match=r"has to return a trio.abc.Stream, not Closable"):
        async with open_websocket_client(URL, open_stream=is_async(lambda: resource)):
            pytest.fail("it is not open")
    assert resource.is_closed
