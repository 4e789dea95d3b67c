"""From a URL to a stream: TCP to the first address that answers; its end."""

from __future__ import annotations

import socket
import sys

import pytest
import trio
from scripted_server import echo_script, loopback_server

from trio_wsclient import HandshakeError, InvalidURL, open_websocket_client
from trio_wsclient._net import connect

# TCP


class Resolver(trio.abc.HostnameResolver):
    """Finds every name on loopback, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked = []

    async def getaddrinfo(self, host, port, *_):
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def unused_port():
    """Return a port of loopback that was free a moment ago."""
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        return listener.socket.getsockname()[1]


async def test_refused_connection_is_a_handshake_error():
    port = await unused_port()
    with pytest.raises(
        HandshakeError, match=f"no TCP connection to 127.0.0.1 port {port}"
    ) as error:
        async with open_websocket_client(f"ws://127.0.0.1:{port}/"):
            pytest.fail("it is not open")
    assert isinstance(error.value.__cause__, OSError)


class NoSuchName(Resolver):
    """Finds no name at all."""

    async def getaddrinfo(self, *args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("::1", socket.AF_INET6),
        ("localhost", None),
        ("127.1", None),
        ("0x7f000001", None),
    ],
)
def test_address_is_told_from_a_name(host: str, family: int | None):
    assert connect._family(host) == family


async def test_unknown_host_name_is_a_handshake_error():
    trio.socket.set_custom_hostname_resolver(NoSuchName())
    with pytest.raises(HandshakeError, match=r"nowhere\.example .*not known") as error:
        async with open_websocket_client("wss://nowhere.example/"):
            pytest.fail("it is not open")
    assert isinstance(error.value.__cause__, socket.gaierror)


@pytest.mark.parametrize(
    "host", ["a..example", f"{'a' * 64}.example"], ids=["an empty label", "a label of 64"]
)
async def test_name_too_long_for_dns_is_our_error(host):
    with pytest.raises((HandshakeError, InvalidURL)):
        async with open_websocket_client(f"ws://{host}/"):
            pytest.fail("it is not open")


async def test_name_with_an_underscore_is_looked_up_as_it_is():
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    async with (
        loopback_server(echo_script) as url,
        open_websocket_client(url.replace("127.0.0.1", "chat_1.example")) as ws,
    ):
        await ws.send("hello")
        assert await ws.receive() == "hello"
    assert resolver.asked == [b"chat_1.example"]


@pytest.mark.skipif(sys.platform == "darwin", reason="it has no 127.0.0.2")
async def test_connection_comes_from_the_local_address():
    async with (
        loopback_server(echo_script) as url,
        open_websocket_client(url, local_address="127.0.0.2") as ws,
    ):
        assert ws.local_address[0] == "127.0.0.2"


@pytest.mark.parametrize("local_address", ["::1", "192.0.2.1"], ids=["IPv6", "not ours"])
async def test_local_address_that_does_not_fit_is_a_handshake_error(local_address):
    async with loopback_server(echo_script) as url:
        text = f"local_address {local_address} can't be used for 127.0.0.1: "
        with pytest.raises(HandshakeError, match=text):
            async with open_websocket_client(url, local_address=local_address):
                pytest.fail("it is not open")


@pytest.mark.parametrize("local_address", ["a..b", "a\0b", "localhost", ""])
def test_local_address_that_is_none_raises_in_the_call(local_address):
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        open_websocket_client("ws://server/", local_address=local_address)


# Cutting


class Closable(trio.abc.Stream):
    """A stream of which only the closing is of interest."""

    def __init__(self, close) -> None:
        self.close = close
        self.closed = False

    async def send_all(self, data):
        raise NotImplementedError

    async def wait_send_all_might_not_block(self):
        raise NotImplementedError

    async def receive_some(self, max_bytes=None):
        raise NotImplementedError

    async def aclose(self):
        try:
            await self.close()
        finally:
            self.closed = True


async def fails():
    raise OSError("cannot be closed")


@pytest.mark.parametrize("close", [trio.sleep_forever, fails])
@pytest.mark.parametrize("cancelled", [False, True], ids=["at ease", "cancelled"])
async def test_stream_is_cut_without_waiting_and_without_an_error(autojump_clock, close, cancelled):
    stream = Closable(close)
    with trio.CancelScope() as scope:
        if cancelled:
            scope.cancel()
        await connect.close_forcefully(stream)
    assert stream.closed
    assert not scope.cancelled_caught


async def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize("second", [fails, trio.sleep_forever])
async def test_ctrl_c_while_a_stream_is_cut_is_not_lost(second):
    """A stream of two halves closes the second one after it, which is cancelled or fails."""
    halves = Closable(interrupted), Closable(second)
    with pytest.raises(KeyboardInterrupt):
        await connect.close_forcefully(trio.StapledStream(*halves))
    assert [half.closed for half in halves] == [True, True]
