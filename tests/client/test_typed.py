"""Messages of one type: `receive_text`, `receive_binary` and `TypedChannel`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    TypedChannel,
    UnexpectedMessage,
    open_websocket_client,
)
from trio_wsclient.testing import echo, memory_websocket_pair, open_loopback_server

# receive_text and receive_binary


async def test_receive_text_returns_text(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send("ä")
        assert await ws.receive_text() == "ä"


async def test_receive_binary_returns_bytes(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send(b"\x00")
        assert await ws.receive_binary() == b"\x00"


async def test_receive_text_raises_for_binary_and_goes_on(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send(b"abc")
        await peer.send("text")
        with pytest.raises(UnexpectedMessage) as caught:
            await ws.receive_text()
        assert caught.value.message == b"abc"
        assert (
            str(caught.value) == "received a Binary message of length 3 instead of a Text message"
        )
        assert caught.value.__context__ is None
        assert await ws.receive_text() == "text"


async def test_receive_binary_raises_for_text_and_goes_on(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send("ä")
        await peer.send(b"abc")
        with pytest.raises(UnexpectedMessage) as caught:
            await ws.receive_binary()
        assert caught.value.message == "ä"
        shown = "received a Text message of length 1 instead of a Binary message"
        assert str(caught.value) == shown
        assert await ws.receive_binary() == b"abc"


async def test_receive_text_needs_decoded_text(autojump_clock):
    async with memory_websocket_pair(decode_text=False) as (ws, peer):
        await peer.send("text")
        with pytest.raises(RuntimeError, match="decode_text"):
            await ws.receive_text()
        assert await ws.receive_binary() == b"text"
        await peer.send(b"binary")
        assert await ws.receive_binary() == b"binary"


@pytest.mark.parametrize("method", ["receive_text", "receive_binary"])
async def test_receive_of_one_type_takes_nothing_when_cancelled(autojump_clock, method: str):
    async with memory_websocket_pair() as (ws, peer):
        with trio.move_on_after(1) as scope:
            await getattr(ws, method)()
        assert scope.cancelled_caught
        await peer.send("text")
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(ws, method)()
        assert await ws.receive() == "text"


@pytest.mark.parametrize("method", ["receive_text", "receive_binary"])
async def test_receive_of_one_type_raises_how_it_ended(autojump_clock, method: str):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send_close(4000, "bye")
        with pytest.raises(ConnectionClosedError) as caught:
            await getattr(ws, method)()
        assert caught.value.code == 4000


# TypedChannel


def as_json(ws, **options) -> TypedChannel[object]:
    return TypedChannel(ws, encode=json.dumps, decode=json.loads, **options)


async def test_typed_channel_sends_and_receives_json(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        channel = as_json(ws)
        assert isinstance(channel, trio.abc.Channel)
        await channel.send({"a": [1]})
        assert await peer.receive() == '{"a": [1]}'
        await peer.send("[2]")
        await peer.send(b"[3]")
        assert await channel.receive() == [2]
        assert await channel.receive() == [3]


async def test_typed_channel_iterates_until_a_normal_end(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send("1")
        await peer.send("2")
        await peer.send_close()
        assert [value async for value in as_json(ws)] == [1, 2]
        with pytest.raises(trio.EndOfChannel):
            await as_json(ws).receive()
        with pytest.raises(trio.BrokenResourceError):
            await as_json(ws).send(1)


async def test_decode_failure_is_an_unexpected_message_and_goes_on(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send("{secret")
        await peer.send("1")
        channel = as_json(ws)
        with pytest.raises(UnexpectedMessage) as caught:
            await channel.receive()
        assert caught.value.message == "{secret"
        assert isinstance(caught.value.__cause__, json.JSONDecodeError)
        assert str(caught.value) == "decode raised JSONDecodeError for a Text message of length 7"
        assert await channel.receive() == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, trio.Cancelled])
async def test_decode_lets_what_is_no_exception_through(autojump_clock, error):
    def decode(message: object) -> Iterator[None]:
        if error is trio.Cancelled:
            raise trio.Cancelled._create()
        raise error

    async with memory_websocket_pair() as (ws, peer):
        await peer.send("1")
        channel = TypedChannel(ws, encode=str, decode=decode)
        with pytest.raises(error):
            await channel.receive()


async def test_encode_failure_leaves_bare_and_sends_nothing(autojump_clock):
    error = ValueError("no")

    def encode(value: object) -> str:
        if value == 1:
            raise error
        return str(value)

    async with memory_websocket_pair() as (ws, peer):
        channel = TypedChannel(ws, encode=encode, decode=json.loads)
        with pytest.raises(ValueError, match="no") as caught:
            await channel.send(1)
        assert caught.value is error
        assert error.__context__ is None
        await channel.send(2)
        assert await peer.receive() == "2"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [(False, "a", "a"), (False, b"a", b"a"), (True, "a", "a"), (True, b"a", "a")],
)
async def test_typed_channel_sends_bytes_as_text_on_request(autojump_clock, text, value, expected):
    async with memory_websocket_pair() as (ws, peer):
        await TypedChannel(ws, encode=lambda each: each, decode=str, text=text).send(value)
        assert await peer.receive() == expected


async def test_encode_has_to_return_a_message(autojump_clock):
    async with memory_websocket_pair() as (ws, _):
        for text in (False, True):
            channel = TypedChannel(ws, encode=lambda each: each, decode=str, text=text)
            with pytest.raises(TypeError):
                await channel.send(1)


@pytest.mark.parametrize("name", ["encode", "decode"])
async def test_typed_channel_needs_plain_functions(autojump_clock, name: str):
    async def asynchronous(value: object) -> str:
        return str(value)

    async with memory_websocket_pair() as (ws, peer):
        functions = {"encode": str, "decode": str, name: None}
        with pytest.raises(TypeError, match=f"^{name} has to be a function, not NoneType$"):
            TypedChannel(ws, **functions)
        channel = TypedChannel(ws, **{**functions, name: asynchronous})
        await peer.send("1")
        with pytest.raises(
            TypeError, match=f"^{name} has to be a plain function, not an async one$"
        ):
            await (channel.send("1") if name == "encode" else channel.receive())
        assert peer.messages == []


async def test_closing_a_typed_channel_closes_the_connection(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        async with as_json(ws) as channel:
            await channel.send(None)
        assert (await peer.wait_closed()).code == 1000
        with pytest.raises(ConnectionClosedOK):
            await channel.send(None)


async def test_typed_channel_takes_nothing_when_cancelled(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        channel = as_json(ws)
        with trio.move_on_after(1):
            await channel.receive()
        await peer.send("1")
        assert await channel.receive() == 1


async def test_typed_channel_and_typed_receive_on_sockets():
    async with open_loopback_server(echo) as server, open_websocket_client(server.url) as ws:
        channel = as_json(ws)
        for value in ({"price": 1.5}, "ä" * 100_000, None):
            await channel.send(value)
            assert await channel.receive() == value
        await ws.send("text")
        assert await ws.receive_text() == "text"
        await ws.send(b"\xff")
        assert await ws.receive_binary() == b"\xff"
