"""The observer's call for an opening that fails: when it comes, and with what."""

from __future__ import annotations

import logging

import pytest
import trio
from log_records import KeepingLogger
from opening_notes import Notes
from scripted_server import Peer, echo_script, loopback_server, memory_server

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    open_websocket_client,
    reconnecting,
)

URL = "ws://user:password@server/path?token=secret"
SHOWN = "ws://server/path?token=..."


async def end(peer: Peer) -> None:
    await peer.read_request()
    await peer.stream.aclose()


async def refuse(peer: Peer) -> None:
    await peer.read_request()
    await trio.sleep(2)
    await peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await peer.wait_eof()


async def test_opening_failed_gets_the_error_and_the_phases(autojump_clock):
    notes = Notes()
    async with memory_server(refuse) as stream:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(URL, stream=stream, observer=notes):
                pytest.fail("it is not open")
    assert notes.errors == [caught.value]
    assert notes.urls == [SHOWN]
    assert notes.phases == pytest.approx({"handshake": 2}, abs=0.01)
    assert notes.opened_ids == []


async def test_opening_failed_gets_a_timeout_in_its_phase(autojump_clock):
    async def silent(peer: Peer) -> None:
        await peer.wait_eof()

    notes = Notes()
    async with memory_server(silent) as stream:
        with pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client(URL, stream=stream, observer=notes, open_timeout=5):
                pytest.fail("it is not open")
    assert notes.errors == [caught.value]
    assert notes.phases == pytest.approx({"handshake": 5}, abs=0.01)


async def test_opening_failed_names_the_url_of_the_last_redirect():
    async def redirect(peer: Peer) -> None:
        request = await peer.read_request()
        status = b"302 Found" if b"GET / " in request else b"404 Not Found"
        await peer.send(b"HTTP/1.1 %s\r\nLocation: /a?b=c\r\nContent-Length: 0\r\n\r\n" % status)
        await peer.wait_eof()

    notes = Notes()
    async with loopback_server(redirect) as url:
        with pytest.raises(ConnectionRejected):
            async with open_websocket_client(url, max_redirects=1, observer=notes):
                pytest.fail("it is not open")
    assert notes.urls == [f"{url}a?b=..."]
    assert len(notes.failed_ids) == 1


async def test_opening_failed_gets_a_cancel(autojump_clock):
    notes = Notes()
    async with memory_server(Peer.wait_eof) as stream:
        with trio.move_on_after(1) as scope:
            async with open_websocket_client(URL, stream=stream, observer=notes):
                pytest.fail("it is not open")
    assert scope.cancelled_caught
    assert [type(error) for error in notes.errors] == [trio.Cancelled]


async def test_opening_failed_gets_one_cancel_of_a_group(monkeypatch):
    """`trio.open_tcp_stream` may raise such a group."""

    async def cancelled() -> BaseException:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as exc:
                return exc
        raise AssertionError

    async def connect(*args: object, **kwargs: object) -> None:
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("", [BaseExceptionGroup("", [one])])

    notes = Notes()
    one = await cancelled()
    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    with pytest.raises(trio.Cancelled) as caught:
        async with open_websocket_client(URL, observer=notes):
            pytest.fail("it is not open")
    assert caught.value is one
    assert notes.errors == [one]


async def test_each_opening_of_a_loop_is_reported_once():
    async def once(peer: Peer) -> None:
        if len(notes.failed_ids) < 2:
            await peer.stream.aclose()
        else:
            await echo_script(peer)

    notes = Notes()
    async with loopback_server(once) as url:
        async for connection in reconnecting(url, first_delay=0, observer=notes):
            async with connection as ws:
                break
    assert len({*notes.failed_ids, *notes.opened_ids}) == 3
    assert notes.opened_ids == [ws.connection_id]
    assert all(isinstance(error, HandshakeError) for error in notes.errors)


async def test_opening_failed_that_raises_is_logged_and_the_error_leaves():
    class Raises(Notes):
        def opening_failed(self, *args: object) -> None:
            raise KeyError("a bug of the observer")

    logger = KeepingLogger(logging.DEBUG)
    async with memory_server(end) as stream:
        with pytest.raises(HandshakeError) as caught:
            async with open_websocket_client(URL, stream=stream, observer=Raises(), logger=logger):
                pytest.fail("it is not open")
    assert isinstance(caught.value.__cause__, EOFError)
    assert logger.texts(logging.ERROR) == ["the observer has raised"]


class RaisesOnClose(trio.abc.Stream):
    """A user's stream whose `aclose` raises what is no `Exception`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""

    async def aclose(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), BaseExceptionGroup("mine", [SystemExit(1)])],
    ids=lambda error: type(error).__name__,
)
async def test_opening_failed_gets_what_closing_raised(error: BaseException):
    notes = Notes()
    with pytest.raises(type(error)) as caught:
        async with open_websocket_client(URL, stream=RaisesOnClose(error), observer=notes):
            pytest.fail("it is not open")
    assert notes.errors == [caught.value]


def test_wrong_arguments_are_not_reported():
    notes = Notes()
    with pytest.raises(ValueError, match="invalid WebSocket URL"):
        open_websocket_client("ws://", observer=notes)
    assert notes.failed_ids == []
