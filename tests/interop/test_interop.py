"""The client understands servers that others wrote, and they understand it."""

import json
import os
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from wsproto.events import Ping, Pong

from trio_wsclient import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    open_websocket_client,
)

from .capabilities import CRASH_CODES, LEFT_OUT, SERVERS
from .conftest import CASE_TIMEOUT, CLOSE_TIMEOUT, Connect
from .recorded import Recorded
from .running import Server, started
from .servers import REJECTION_BODY, REJECTION_HEADERS, REJECTION_STATUS, SUBPROTOCOL


def test_table_of_capabilities_names_real_cases_and_servers() -> None:
    cases = {name for name, value in globals().items() if callable(value)}
    assert set(LEFT_OUT) <= cases
    assert all(set(reasons) < set(SERVERS) for reasons in LEFT_OUT.values())
    assert set(CRASH_CODES) == set(SERVERS)


# Messages


@pytest.mark.parametrize("text", ["subscribe", "", "Grüße, 世界 👋\x00"])
async def test_text_comes_back_as_text(connect: Connect, text: str) -> None:
    async with connect("/echo") as ws:
        await ws.send(text)
        assert await ws.receive() == text


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"\xff" * 70_000])
async def test_binary_comes_back_as_binary(connect: Connect, data: bytes) -> None:
    async with connect("/echo") as ws:
        await ws.send(data)
        assert await ws.receive() == data


async def test_messages_keep_their_order_and_type(connect: Connect) -> None:
    messages = [str(i) if i % 2 else bytes([i]) for i in range(100)]
    async with connect("/echo") as ws:
        await ws.send_many(messages)
        assert [await ws.receive() for _ in messages] == messages


@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_8_mb_both_ways(connect: Connect, kind: str) -> None:
    """A second message leaves while the first comes back."""
    message = "wörds " * (1 << 20) + "…" * (1 << 19) if kind == "text" else os.urandom(8 << 20)
    async with connect("/echo") as ws, trio.open_nursery() as nursery:

        async def send_both() -> None:
            await ws.send(message)
            await ws.send(message)

        nursery.start_soon(send_both)
        # Not in the assert: a difference of 8 MB takes pytest minutes to explain.
        same = [await ws.receive() == message, await ws.receive() == message]
        assert same == [True, True]


# Fragments


async def test_text_in_fragments_is_one_message(connect: Connect) -> None:
    async with connect("/echo") as ws:
        async with ws.text_writer() as writer:
            for part in ["Grü", "ße, ", "👋"]:
                await writer.write(part)
        assert await ws.receive() == "Grüße, 👋"


async def test_binary_in_fragments_is_one_message(connect: Connect) -> None:
    async with connect("/echo") as ws:
        async with ws.binary_writer() as writer:
            for part in [b"\x00", b"", b"\xff" * 1000]:
                await writer.write(part)
        assert await ws.receive() == b"\x00" + b"\xff" * 1000


async def test_ping_passes_between_fragments(connect: Connect) -> None:
    async with connect("/echo") as ws:
        async with ws.text_writer() as writer:
            await writer.write("one ")
            assert await ws.ping() > 0
            await writer.write("two")
        assert await ws.receive() == "one two"


async def test_message_over_fragment_size_is_one_message(connect: Connect) -> None:
    async with connect("/echo", fragment_size=1000) as ws:
        await ws.send("ä" * 10_000)
        assert await ws.receive() == "ä" * 10_000


async def test_written_parts_arrive_as_fragments(connect: Connect) -> None:
    async with connect("/parts") as ws:
        async with ws.text_writer() as writer:
            for part in ["one ", "two ", "three"]:
                await writer.write(part)
        parts = json.loads(await ws.receive())
        assert [part for part in parts if part] == ["one ", "two ", "three"]


async def test_long_message_is_split_at_fragment_size(connect: Connect) -> None:
    async with connect("/parts", fragment_size=4) as ws:
        await ws.send("0123456789")
        assert json.loads(await ws.receive()) == ["0123", "4567", "89"]


async def test_servers_fragments_are_joined(connect: Connect) -> None:
    """The server goes on only when its ping amid the message was answered."""
    async with connect("/fragments") as ws:
        assert await ws.receive() == "fragmented"


async def test_servers_fragments_can_be_taken_apart(connect: Connect) -> None:
    async with connect("/fragments") as ws:
        frames = []
        async for frame in ws.frames():
            frames.append(frame)
            if frame.fin:
                break
        assert [frame.payload for frame in frames if frame.payload] == [b"frag", b"men", b"ted"]


# Pings


async def test_ping_is_answered_within_some_seconds(connect: Connect) -> None:
    async with connect("/echo") as ws:
        assert 0 < await ws.ping() < CASE_TIMEOUT
        assert 0 < await ws.ping(b"anybody there?") < CASE_TIMEOUT


async def test_unsolicited_pong_does_no_harm(connect: Connect) -> None:
    async with connect("/echo") as ws:
        await ws.pong(b"heartbeat")
        await ws.send("still there?")
        assert await ws.receive() == "still there?"


async def test_server_sees_its_ping_answered(connect: Connect) -> None:
    async with connect("/ping") as ws:
        assert await ws.receive() == "PONG anybody there?"


async def test_keepalives_ping_is_answered_with_its_payload(
    server: Server, scheme: str, ssl_context: ssl.SSLContext
) -> None:
    with trio.fail_after(CASE_TIMEOUT):
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.ports[scheme])
        if scheme == "wss":
            stream = trio.SSLStream(
                stream, ssl_context, server_hostname="127.0.0.1", https_compatible=True
            )
        recorded = Recorded(stream)
        # TLS, if any, is below the record: to the client this is a plain stream.
        async with open_websocket_client(
            server.url("ws", "/quiet"), stream=recorded, close_timeout=CLOSE_TIMEOUT
        ):
            ping = await recorded.first_received(Ping)
            pong = await recorded.first_sent(Pong)
        assert pong.payload == ping.payload


# Opening


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["chat.v9"], None),
        ([SUBPROTOCOL], SUBPROTOCOL),
        (["chat.v9", SUBPROTOCOL], SUBPROTOCOL),
    ],
)
async def test_server_chooses_a_subprotocol(
    connect: Connect, offered: list[str], chosen: str | None
) -> None:
    async with connect("/echo", subprotocols=offered) as ws:
        assert ws.subprotocol == chosen


async def test_rejection_tells_status_headers_and_body(connect: Connect) -> None:
    with pytest.raises(ConnectionRejected) as caught:
        async with connect("/refuse"):
            pytest.fail("the server refuses")
    assert caught.value.status_code == REJECTION_STATUS
    assert {name: caught.value.headers[name] for name in REJECTION_HEADERS} == REJECTION_HEADERS
    assert caught.value.body.decode() == REJECTION_BODY


# Endings


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1000, ConnectionClosedOK),
        (1001, ConnectionClosedOK),
        (1008, ConnectionClosedError),
        (1011, ConnectionClosedError),
        (4000, ConnectionClosedError),
    ],
)
async def test_servers_close_tells_code_and_reason(
    connect: Connect, code: int, outcome: type[ConnectionClosed]
) -> None:
    async with connect(f"/close?code={code}&reason={quote('shard weg, tschüß')}") as ws:
        assert await ws.receive() == "last words"
        with pytest.raises(outcome) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (code, "shard weg, tschüß")
        with pytest.raises(outcome):
            await ws.send("too late")
        close = await ws.wait_closed()
        assert close is not None
        assert (close.code, close.reason) == (code, "shard weg, tschüß")


async def test_iteration_ends_with_the_servers_close(connect: Connect) -> None:
    async with connect("/close?code=1000&reason=bye") as ws:
        assert [message async for message in ws] == ["last words"]


async def test_our_close_is_answered(connect: Connect) -> None:
    async with connect("/echo") as ws:
        await ws.aclose(4001, "enough")
        assert await ws.wait_closed() is not None


async def test_crash_of_the_application_is_an_error(server: Server, connect: Connect) -> None:
    async with connect("/crash") as ws:
        assert await ws.receive() == "last words"
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.code == CRASH_CODES[server.name]


async def test_reset_is_1006(connect: Connect) -> None:
    async with connect("/abort") as ws:
        assert await ws.receive() == "last words"
        await ws.send("go")
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.code == 1006
        assert caught.value.received is None
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


@pytest.mark.parametrize("name", SERVERS)
async def test_killed_server_is_1006(
    name: str, certificate: Path, ssl_context: ssl.SSLContext
) -> None:
    with trio.fail_after(CASE_TIMEOUT), started(name, certificate) as server:
        async with (
            open_websocket_client(server.url("ws", "/echo")) as plain,
            open_websocket_client(server.url("wss", "/echo"), ssl_context=ssl_context) as secure,
        ):
            server.process.kill()
            for ws in [plain, secure]:
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.receive()
                assert caught.value.code == 1006
                assert caught.value.__cause__ is not None
