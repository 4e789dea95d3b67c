"""What a connection logs from opening to closing (S40), and that no secret is in it."""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Iterator

import pytest
import wire
from handshake_tables import rejection
from log_records import KeepingLogger, facts
from recorder import Recorder, opened
from scripted_server import Peer, echo_script, loopback_server, memory_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    IMPLEMENTATION,
    ConnectionClosedError,
    ConnectionRejected,
    HandshakeError,
    InvalidResponse,
    ProxyError,
    open_websocket_client,
)

FRAMES = 5


# Opening and ending


async def test_connection_logs_how_it_opens_and_ends(autojump_clock):
    logger = KeepingLogger(logging.DEBUG)
    async with opened(echo_script, logger=logger) as (ws, _):
        assert ws.logger is logger
    assert logger.texts(logging.DEBUG) == [
        "asking for ws://server/",
        f"open; extensions: none; declined: none; frames by {IMPLEMENTATION}",
        "over; received 1000 (normal closure), sent 1000 (normal closure)",
    ]
    assert [facts(record).get("phase") for record in logger.records] == [
        "handshake",
        "handshake",
        None,
    ]
    assert {record.url for record in logger.records} == {"ws://server/"}
    assert len({record.connection_id for record in logger.records}) == 1
    assert {record.levelno for record in logger.records} == {logging.DEBUG}


async def test_opening_logs_each_phase_at_its_beginning(server_ssl_context, client_ssl_context):
    logger = KeepingLogger(logging.DEBUG)
    async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
        async with open_websocket_client(url, ssl_context=client_ssl_context, logger=logger):
            pass
    phases = [facts(record).get("phase") for record in logger.records]
    assert phases == ["connect", "tls", "handshake", "handshake", None]


async def test_opening_logs_accepted_and_declined_extensions(autojump_clock):
    async def accept_deflate(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.close_politely()

    for script, text in (
        (accept_deflate, "open; extensions: permessage-deflate; declined: none"),
        (echo_script, "open; extensions: none; declined: permessage-deflate"),
    ):
        logger = KeepingLogger(logging.DEBUG)
        async with opened(script, logger=logger, compression="deflate"):
            pass
        assert f"{text}; frames by {IMPLEMENTATION}" in logger.texts(logging.DEBUG)


async def test_end_without_a_close_is_logged(autojump_clock):
    logger = KeepingLogger(logging.DEBUG)
    server = Recorder()
    async with opened(server, logger=logger) as (ws, _):
        await server.peer.stream.aclose()
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    assert logger.texts(logging.DEBUG)[-1] == "over; received None, sent None"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ConnectionRejected),
        (b"\x1b[2J junk\r\n\r\n", InvalidResponse),
    ],
)
async def test_failed_opening_is_logged_with_its_error(answer, error, autojump_clock):
    async def refuse(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer)

    logger = KeepingLogger(logging.DEBUG)
    async with memory_server(refuse) as stream:
        with pytest.raises(error) as caught:
            async with open_websocket_client("ws://server/", stream=stream, logger=logger):
                pass
    record = logger.records[-1]
    assert logger.texts(logging.DEBUG)[-1] == f"not open: {caught.value}"
    assert record.phase == "handshake"
    assert record.getMessage().isprintable()


async def test_default_logger_is_trio_wsclient(caplog, autojump_clock):
    caplog.set_level(logging.DEBUG, logger="trio_wsclient")
    async with opened(echo_script):
        pass
    assert {record.name for record in caplog.records} == {"trio_wsclient"}
    assert len(caplog.records) == 3


async def test_logger_option_replaces_the_default(caplog, autojump_clock):
    caplog.set_level(FRAMES, logger="trio_wsclient")
    async with opened(echo_script, logger=KeepingLogger(logging.WARNING)):
        pass
    assert caplog.records == []


# Frames


async def test_frames_are_logged_in_both_directions(autojump_clock):
    logger = KeepingLogger(FRAMES)
    async with opened(echo_script, logger=logger, fragment_size=2) as (ws, _):
        await ws.send("abc")
        assert await ws.receive() == "abc"
        await ws.ping(b"p")
    told = [(record.direction, record.opcode, record.length) for record in logger.at(FRAMES)]
    both = [(wire.TEXT, 2), (wire.CONTINUATION, 1), (wire.PING, 1), (wire.CLOSE, 2)]
    assert [frame for frame in told if frame[0] == "sent"] == [("sent", *frame) for frame in both]
    both[2] = (wire.PONG, 1)
    assert [frame for frame in told if frame[0] == "received"] == [
        ("received", *frame) for frame in both
    ]
    assert "sent Text, no flag, 2 bytes: 61 62" in logger.texts(FRAMES)
    assert "received Close, FIN, 2 bytes: 03 e8" in logger.texts(FRAMES)
    ids = {(record.connection_id, record.url) for record in logger.records}
    assert len(ids) == 1


async def test_frames_are_not_logged_above_their_level(autojump_clock):
    logger = KeepingLogger(FRAMES + 1)
    async with opened(echo_script, logger=logger) as (ws, _):
        await ws.send("abc")
        await ws.receive()
    assert {record.levelno for record in logger.records} == {logging.DEBUG}


async def test_frame_that_came_with_the_response_is_logged(autojump_clock):
    async def hello(peer: Peer) -> None:
        await peer.accept(behind=wire.text("first") + wire.text("second")[:4])
        await peer.send(wire.text("second")[4:])
        await peer.close_politely()

    logger = KeepingLogger(FRAMES)
    async with opened(hello, logger=logger) as (ws, _):
        assert [await ws.receive(), await ws.receive()] == ["first", "second"]
    received = [text for text in logger.texts(FRAMES) if text.startswith("received Text")]
    assert received == [
        "received Text, FIN, 5 bytes: 66 69 72 73 74",
        "received Text, FIN, 6 bytes: 73 65 63 6f 6e 64",
    ]


async def test_compressed_frames_are_logged_as_on_the_wire(autojump_clock):
    deflater = zlib.compressobj(wbits=-15)
    payload = deflater.compress(b"abc" * 100) + deflater.flush(zlib.Z_SYNC_FLUSH)
    payload = payload.removesuffix(b"\0\0\xff\xff")
    shown = f"Binary, FIN RSV1, {len(payload)} bytes: {payload.hex(' ')}"

    async def echo(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        frame = await peer.next_frame()
        assert frame is not None
        assert zlib.decompressobj(wbits=-15).decompress(frame.payload) == b"abc" * 100
        assert frame.payload.hex(" ") in logger.texts(FRAMES)[0]
        await peer.send(wire.frame(wire.BINARY, payload, rsv=4))
        await peer.close_politely()

    logger = KeepingLogger(FRAMES)
    async with opened(echo, logger=logger, compression="deflate") as (ws, _):
        await ws.send(b"abc" * 100)
        assert await ws.receive() == b"abc" * 100
    assert logger.texts(FRAMES)[0].startswith("sent Binary, FIN RSV1, ")
    assert f"received {shown}" in logger.texts(FRAMES)


@pytest.mark.parametrize(
    "frame",
    [
        wire.frame(wire.TEXT, b"a\xff", rsv=1),
        wire.frame(wire.TEXT, b"a\xff"),
        wire.binary(b"x" * 2000),
        wire.frame(wire.CLOSE, b"a"),
    ],
    ids=["reserved bit", "not UTF-8", "too big", "bad Close"],
)
async def test_rejected_frame_is_logged_once(frame: bytes, autojump_clock):
    logger, server = KeepingLogger(FRAMES), Recorder()
    async with opened(server, logger=logger, max_message_size=1000) as (ws, _):
        await server.peer.send(frame)
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    told = [record for record in logger.at(FRAMES) if record.direction == "received"]
    assert len(told) == 1
    assert told[0].opcode == frame[0] & 15


# What it costs while it is off


async def test_read_or_write_costs_one_check_when_frames_are_off(autojump_clock):
    logger, server = KeepingLogger(logging.DEBUG), Recorder()
    async with opened(server, logger=logger) as (ws, _):
        await wait_all_tasks_blocked()
        records = len(logger.records)
        for data in (wire.text("a"), wire.binary(b"b") * 100, wire.binary(bytes(60_000))[:999]):
            logger.asked.clear()
            await server.peer.send(data)
            await wait_all_tasks_blocked()
            assert logger.asked == [FRAMES]
        for messages in (["a"], [bytes(60_000)], ["a", "b", "c"]):
            logger.asked.clear()
            await ws.send_many(messages)
            assert logger.asked == [FRAMES]
        assert len(logger.records) == records


# Secrets

USER, PASSWORD, TOKEN, BEARER = "userinfo", "pa55word", "t0ken", "b3arer"
PROXY_USER, PROXY_PASSWORD, PROXY_TOKEN = "pr0xyuser", "pr0xypass", "pr0xytoken"
SECRETS = [
    *(USER, PASSWORD, TOKEN, BEARER, PROXY_USER, PROXY_PASSWORD, PROXY_TOKEN),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    base64.b64encode(f"{PROXY_USER}:{PROXY_PASSWORD}".encode()).decode(),
]


def all_of(record: logging.LogRecord) -> Iterator[str]:
    yield record.getMessage()
    yield repr(record.args)
    yield repr(vars(record))
    for argument in record.args or ():
        yield str(argument)


def assert_no_secret(logger: KeepingLogger) -> None:
    assert logger.records
    for record in logger.records:
        for text in all_of(record):
            assert not [secret for secret in SECRETS if secret in text]


def with_secrets(url: str) -> str:
    return f"{url.replace('//', f'//{USER}:{PASSWORD}@')}chat?key={TOKEN}&{TOKEN}"


@pytest.mark.parametrize("status", ["101", "302", "401", "junk"])
@pytest.mark.parametrize("authorization", [{}, {"Authorization": f"Bearer {BEARER}"}])
async def test_no_record_has_a_secret(status: str, authorization: dict[str, str]):
    requests = []

    async def answer(peer: Peer) -> None:
        if status == "101":
            await peer.accept()
            await peer.close_politely()
            requests.append(peer.request)
            return
        requests.append(await peer.read_request())
        if status == "302" and len(requests) == 1:
            target = f"/there?key={TOKEN}"
        elif status == "302":
            target = f"http://{USER}:{PASSWORD}@127.0.0.1:1/?{TOKEN}={TOKEN}#{TOKEN}"
        else:
            target = f"/{TOKEN}"
        lines = [f"Location: {target}", "Content-Length: 0"]
        await peer.send(b"Junk\r\n\r\n" if status == "junk" else rejection(f"{status} No", *lines))

    logger = KeepingLogger(FRAMES)
    options = {"logger": logger, "extra_headers": authorization, "max_redirects": 1}
    async with loopback_server(answer) as url:
        try:
            async with open_websocket_client(with_secrets(url), **options) as ws:
                repr(ws)
        except HandshakeError:
            assert status != "101"
    assert (BEARER if authorization else "Basic").encode() in requests[0]
    assert f"?key={TOKEN}&{TOKEN} ".encode() in requests[0]
    assert_no_secret(logger)
    # What may be shown is shown: the connection can be found by it.
    assert "/chat?" in logger.records[0].url


@pytest.mark.parametrize("status", ["200 OK", "407 No", "junk"])
async def test_no_record_has_a_secret_of_a_proxy(status: str):
    async def proxy(peer: Peer) -> None:
        request = await peer.read_request()
        assert request.startswith(b"CONNECT example.org:80 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic " in request
        line = f"X-Session: {PROXY_TOKEN}"
        await peer.send(b"Junk\r\n\r\n" if status == "junk" else rejection(status, line))
        if status == "407 No":
            await peer.stream.aclose()
        if status == "200 OK":
            tunnel = Peer(peer.stream)
            await tunnel.accept()
            await tunnel.close_politely()

    logger = KeepingLogger(FRAMES)
    async with loopback_server(proxy) as url:
        through = url.replace("ws://", f"http://{PROXY_USER}:{PROXY_PASSWORD}@")
        options = {"logger": logger, "proxy": through}
        try:
            async with open_websocket_client(with_secrets("ws://example.org/"), **options):
                assert status == "200 OK"
        except ProxyError:
            assert status != "200 OK"
    assert_no_secret(logger)
    assert "proxy" in [facts(record).get("phase") for record in logger.records]
    assert any("127.0.0.1" in record.getMessage() for record in logger.records)


async def test_no_record_has_a_secret_when_connecting_fails():
    logger = KeepingLogger(FRAMES)
    async with loopback_server(echo_script) as url:
        pass
    with pytest.raises(HandshakeError):
        async with open_websocket_client(with_secrets(url), logger=logger):
            pass
    assert_no_secret(logger)
    assert logger.records[-1].phase == "connect"
