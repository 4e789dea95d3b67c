"""What a type checker makes of the public API: checked by mypy and pyright, never run.

An ``ignore`` is a claim too: both are told to complain about one that is not needed.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal, assert_type

import trio

from trio_wsclient import (
    ClientOptions,
    ClientStatistics,
    CloseFrame,
    ConnectionClosed,
    ConnectionRejected,
    DataFrame,
    Frames,
    Headers,
    InvalidURL,
    MessageWriter,
    Opcode,
    OpenTimeout,
    ProxyError,
    TLSInfo,
    TypedChannel,
    UnexpectedMessage,
    WebSocketClient,
    background_task,
    open_websocket_client,
    reconnecting,
    run_websocket_client,
)


async def sending(ws: WebSocketClient) -> None:
    await ws.send("text")
    await ws.send(b"binary")
    await ws.send(bytearray())
    await ws.send(memoryview(b""))
    await ws.send(1)  # type: ignore[arg-type]
    await ws.send(None)  # type: ignore[arg-type]
    await ws.send_text("text")
    await ws.send_text(b"{}")
    await ws.send_text({})  # type: ignore[arg-type]
    await ws.send_binary("text")
    await ws.send_binary(bytearray())
    await ws.send_many(["text", b"binary", bytearray(), memoryview(b"")])
    await ws.send_many(str(number) for number in range(3))
    await ws.send_many([1])  # type: ignore[list-item]


async def writing(ws: WebSocketClient) -> None:
    assert_type(ws.text_writer(), MessageWriter[str])
    async with ws.text_writer() as text:
        assert_type(text, MessageWriter[str])
        await text.write("part")
        await text.write(b"part")  # type: ignore[arg-type]
    async with ws.binary_writer() as binary:
        await binary.write(b"part")
        await binary.write(bytearray())
        await binary.write(memoryview(b""))
        await binary.write("part")  # type: ignore[arg-type]


async def receiving(ws: WebSocketClient) -> None:
    assert_type(await ws.receive(), str | bytes)
    assert_type(ws.receive_nowait(), str | bytes)
    text: str = await ws.receive_text()
    binary: bytes = await ws.receive_binary()
    del text, binary
    assert_type(await ws.receive_batch(), list[str | bytes])
    assert_type(await ws.receive_batch(10), list[str | bytes])
    assert_type(await ws.receive_batch(max_messages=None), list[str | bytes])
    async for message in ws:
        assert_type(message, str | bytes)
    assert_type(ws.frames(), Frames)
    async for frame in ws.frames():
        assert_type(frame, DataFrame)
        assert_type(frame.opcode, Opcode)
        assert_type(frame.payload, bytes)
        assert_type(frame.fin, bool)
    iterator: AsyncIterator[DataFrame] = ws.frames()
    assert_type(await anext(iterator), DataFrame)


@dataclass
class Event:
    number: int

    def to_json(self) -> bytes:
        return b"%d" % self.number

    @classmethod
    def from_json(cls, message: str | bytes) -> Event:
        return cls(int(message))

    @classmethod
    def from_binary(cls, message: bytes) -> Event:
        return cls(message[0])


async def typed(ws: WebSocketClient) -> None:
    channel = TypedChannel(ws, encode=Event.to_json, decode=Event.from_json, text=True)
    assert_type(channel, TypedChannel[Event])
    assert_type(await channel.receive(), Event)
    await channel.send(Event(1))
    await channel.send("text")  # type: ignore[arg-type]
    async for event in channel:
        assert_type(event, Event)
    as_channel: trio.abc.Channel[Event] = channel
    values: TypedChannel[object] = TypedChannel(ws, encode=json.dumps, decode=json.loads)
    TypedChannel(ws, encode=Event.to_json, decode=Event.from_binary)
    del as_channel, values
    try:
        await channel.receive()
    except UnexpectedMessage as exc:
        assert_type(exc.message, str | bytes)


async def make_url() -> str:
    return "wss://example.org/?token=1"


async def looping() -> None:
    async for connection in reconnecting(make_url, ping_interval=20):
        async with connection as ws:
            assert_type(ws, WebSocketClient)
    reconnecting(lambda: open_websocket_client("ws://example.org/"))
    reconnecting("ws://example.org/", retry_delay=lambda error, failures: None)
    reconnecting(later_nothing)  # type: ignore[arg-type]


async def in_the_background(ws: WebSocketClient, number: int) -> None: ...


async def backgrounds(ws: WebSocketClient) -> None:
    async with background_task(in_the_background, ws, 1) as nothing:
        assert_type(nothing, None)
    background_task(in_the_background, ws)  # type: ignore[arg-type]
    background_task(headers)  # type: ignore[arg-type]


async def pinging_and_closing(ws: WebSocketClient) -> None:
    assert_type(await ws.ping(), float)
    assert_type(await ws.ping(b"payload"), float)
    await ws.ping("payload")  # type: ignore[arg-type]
    await ws.pong()
    await ws.pong(payload=memoryview(b""))
    await ws.aclose()
    await ws.aclose(1001, "going")
    await ws.aclose(code=4000, reason="done")
    await ws.aclose("1000")  # type: ignore[arg-type]
    assert_type(await ws.wait_closed(), CloseFrame | None)


def about(ws: WebSocketClient) -> None:
    assert_type(ws.url, str)
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.extensions, tuple[str, ...])
    assert_type(ws.response_headers, Headers)
    assert_type(ws.response_headers["server"], str)
    assert_type(ws.response_headers.get("server"), str | None)
    assert_type(ws.response_headers.get_all("set-cookie"), list[str])
    assert_type(ws.response_headers.raw, tuple[tuple[str, str], ...])
    assert_type(ws.local_address, object)
    assert_type(ws.remote_address, object)
    assert_type(ws.tls, TLSInfo | None)
    if ws.tls is not None:
        assert_type(ws.tls.peer_certificate, bytes)
        assert_type(ws.tls.alpn_protocol, str | None)
        ws.tls.version = "TLSv1.3"  # type: ignore[misc]
    assert_type(ws.latency, float | None)
    assert_type(ws.logger, logging.Logger)
    assert_type(ws.statistics(), ClientStatistics)
    assert_type(ws.statistics().bytes_sent, int)
    ws.url = "ws://example.org/"  # type: ignore[misc]


def is_a_channel(ws: WebSocketClient) -> None:
    channel: trio.abc.Channel[str | bytes] = ws
    sender: trio.abc.SendChannel[str | bytes] = ws
    receiver: trio.abc.ReceiveChannel[str | bytes] = ws
    resource: trio.abc.AsyncResource = ws
    text_sender: trio.abc.SendChannel[str] = ws
    text_receiver: trio.abc.ReceiveChannel[str] = ws  # type: ignore[assignment]
    number_sender: trio.abc.SendChannel[int] = ws  # type: ignore[assignment]
    del channel, sender, receiver, resource, text_sender, text_receiver, number_sender


def check_tls(tls: TLSInfo) -> None:
    assert_type(tls.cipher, str)


async def async_check_tls(tls: TLSInfo) -> None:
    await trio.sleep(len(tls.version))


def headers() -> list[tuple[str, str]]:
    return []


async def later_headers() -> dict[str, str]:
    return {}


async def later_nothing() -> None: ...


async def on_rejected(rejected: ConnectionRejected) -> dict[str, str] | None:
    assert_type(rejected.url, str)
    return {} if rejected.status_code == 401 else None


async def other_on_rejected(rejected: ConnectionRejected) -> bool:
    return rejected.status_code == 401


def sync_on_rejected(rejected: ConnectionRejected) -> dict[str, str]:
    return {"X-Status": str(rejected.status_code)}


async def open_stream(host: str, port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream(host, port)


def sync_open_stream(host: str, port: int) -> None: ...


async def opening(context: ssl.SSLContext, stream: trio.abc.Stream) -> None:
    assert_type(
        open_websocket_client("ws://example.org/"), AbstractAsyncContextManager[WebSocketClient]
    )
    async with open_websocket_client(
        "wss://example.org/",
        open_timeout=None,
        close_timeout=1,
        ping_interval=20.0,
        ping_timeout=None,
        max_message_size=None,
        max_frame_size=65536,
        max_buffered_bytes=65536,
        decode_text=False,
        fragment_size=65536,
        subprotocols=["a", "b"],
        extra_headers={"Cookie": "a=1"},
        on_rejected=on_rejected,
        origin="https://example.org",
        user_agent=None,
        ssl_context=context,
        server_hostname="example.org",
        check_tls=check_tls,
        stream=stream,
        open_stream=trio.open_tcp_stream,
        local_address="127.0.0.1",
        logger=logging.getLogger(),
    ) as ws:
        assert_type(ws, WebSocketClient)
    open_websocket_client("ws://example.org/", open_stream=open_stream)
    open_websocket_client("ws://example.org/", extra_headers=headers)
    open_websocket_client("ws://example.org/", extra_headers=later_headers)
    open_websocket_client("ws://example.org/", extra_headers=lambda: {"Cookie": "a=1"})
    open_websocket_client("ws://example.org/", subprotocols=("a",), extra_headers=[("A", "b")])
    options: ClientOptions = {"open_timeout": 5, "decode_text": True}
    open_websocket_client("ws://example.org/", **options)


def opening_wrongly() -> None:
    open_websocket_client()  # type: ignore[call-arg]
    open_websocket_client(b"ws://example.org/")  # type: ignore[arg-type]
    open_websocket_client("ws://example.org/", timeout=5)  # type: ignore[call-arg]
    open_websocket_client("ws://example.org/", open_timeout="5")  # type: ignore[arg-type]
    open_websocket_client("ws://example.org/", close_timeout=None)  # type: ignore[arg-type]
    open_websocket_client("ws://example.org/", max_buffered_bytes=None)  # type: ignore[arg-type]
    open_websocket_client("ws://example.org/", fragment_size=0.5)  # type: ignore[arg-type]
    open_websocket_client("ws://example.org/", extra_headers=5)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", extra_headers=later_nothing)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", extra_headers=on_rejected)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", on_rejected=sync_on_rejected)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", on_rejected=other_on_rejected)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", open_stream=sync_open_stream)  # type: ignore[arg-type]
    open_websocket_client("ws://e/", open_stream=handler)  # type: ignore[arg-type]
    open_websocket_client("wss://e/", check_tls=async_check_tls)  # type: ignore[arg-type]
    open_websocket_client("wss://e/", check_tls=lambda _: True)  # type: ignore[arg-type]
    options: ClientOptions = {"timeout": 5}  # type: ignore[typeddict-unknown-key]
    del options


async def handler(ws: WebSocketClient) -> None:
    await ws.send("hello")


async def other_handler(ws: str) -> None:
    await trio.sleep(len(ws))


async def running() -> None:
    assert_type(await run_websocket_client("ws://example.org/", handler), CloseFrame | None)
    await run_websocket_client("ws://example.org/", handler, open_timeout=5, origin=None)
    await run_websocket_client("ws://example.org/", handler, timeout=5)  # type: ignore[call-arg]
    await run_websocket_client("ws://example.org/", other_handler)  # type: ignore[arg-type]
    await run_websocket_client("ws://example.org/")  # type: ignore[call-arg]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_websocket_client, "ws://example.org/", handler)
        nursery.start_soon(partial(run_websocket_client, "ws://e/", handler, close_timeout=1))
        await nursery.start(run_websocket_client, "ws://example.org/", handler)


def catching(
    closed: ConnectionClosed,
    rejected: ConnectionRejected,
    timeout: OpenTimeout,
    invalid: InvalidURL,
    proxy: ProxyError,
) -> None:
    assert_type(closed.received, CloseFrame | None)
    assert_type(closed.sent, CloseFrame | None)
    assert_type(closed.code, int)
    assert_type(closed.reason, str)
    assert_type(closed.problem, str)
    assert_type(rejected.status_code, int)
    assert_type(rejected.headers, Headers)
    assert_type(rejected.body, bytes)
    assert_type(timeout.seconds, float)
    assert_type(
        timeout.phase, Literal["headers", "connect", "proxy_tls", "proxy", "tls", "handshake"]
    )
    assert_type(invalid.url, str)
    assert_type(invalid.problem, str)
    assert_type(proxy.status_code, int | None)
    CloseFrame(1000).code = 1001  # type: ignore[misc]
