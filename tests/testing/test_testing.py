"""The kit for users' tests: a client in memory with a scripted peer, and a server on loopback."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trio
import trio.testing
import wire
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    open_websocket_client,
    reconnecting,
)
from trio_wsclient.testing import (
    Peer,
    Rejection,
    Request,
    echo,
    fixed_randomness,
    memory_websocket_pair,
    open_loopback_server,
)

# The pair


async def test_messages_go_both_ways(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await ws.send("a")
        await ws.send(b"b")
        assert [await peer.receive(), await peer.receive()] == ["a", b"b"]
        await peer.send("ä")
        await peer.send(b"\0")
        assert [await ws.receive(), await ws.receive()] == ["ä", b"\0"]
        assert peer.messages == ["a", b"b"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
async def test_messages_have_any_size(autojump_clock, size: int):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send(bytes(size))
        assert await ws.receive() == bytes(size)
        await ws.send("x" * size)
        assert await peer.receive() == "x" * size


async def test_fragments_go_both_ways(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send("abcde", fragment_size=2)
        frames = ws.frames()
        parts = [await anext(frames) for _ in range(3)]
        assert [(part.payload, part.fin) for part in parts] == [
            (b"ab", False),
            (b"cd", False),
            (b"e", True),
        ]
        for kind, writer in (("text", ws.text_writer()), ("bytes", ws.binary_writer())):
            async with writer:
                await writer.write("ab" if kind == "text" else b"ab")
                await writer.write("cd" if kind == "text" else b"cd")
            assert await peer.receive() == ("abcd" if kind == "text" else b"abcd")


async def test_request_is_known(autojump_clock):
    async with memory_websocket_pair(
        "ws://server/path?x=1",
        headers=[("X-Answer", "2")],
        extra_headers={"X-Ask": "1"},
        subprotocols=["b", "a"],
    ) as (ws, peer):
        assert peer.request.target == "/path?x=1"
        assert peer.request.headers["x-ask"] == "1"
        assert ws.subprotocol == "b"
        assert ws.response_headers["X-Answer"] == "2"


async def test_pings_are_answered_and_kept(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await ws.ping(b"p")
        await peer.ping(b"q")
        await peer.pong(b"heartbeat")
        await ws.pong(b"beat")
        await trio.sleep(1)
        assert peer.pings == [b"p"]
        assert peer.pongs == [b"q", b"beat"]


async def test_peer_may_leave_all_unanswered(autojump_clock):
    async with memory_websocket_pair(answers=False, close_timeout=3) as (ws, peer):
        with trio.move_on_after(60) as scope:
            await ws.ping()
        assert scope.cancelled_caught
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(3)
    assert peer.close_received == CloseFrame(1000)


async def test_leaving_the_block_closes(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        pass
    assert peer.close_received == CloseFrame(1000)
    assert await peer.wait_closed() == CloseFrame(1000)
    assert isinstance(ws.outcome, ConnectionClosedOK)
    with pytest.raises(trio.EndOfChannel):
        await peer.receive()


async def test_messages_are_iterated_until_the_client_closes(autojump_clock):
    async with memory_websocket_pair() as (ws, peer), trio.open_nursery() as nursery:
        received = []

        async def collect() -> None:
            async for message in peer:
                received.append(message)  # noqa: PERF401

        nursery.start_soon(collect)
        await ws.send("a")
        await ws.aclose(3000, "done")
    assert received == ["a"]
    assert peer.close_received == CloseFrame(3000, "done")


@pytest.mark.parametrize(
    ("code", "expected"), [(1000, CloseFrame(1000, "bye")), (None, CloseFrame(1005))]
)
async def test_peer_closes(autojump_clock, code: int | None, expected: CloseFrame):
    async with memory_websocket_pair() as (ws, peer):
        await peer.close(code, "" if code is None else "bye")
        assert [message async for message in ws] == []
        assert await ws.wait_closed() == expected
    assert peer.close_received == CloseFrame(expected.code)


async def test_peer_may_send_a_close_and_wait(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send_close(1013)
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        assert await peer.wait_closed() == CloseFrame(1013)
        await peer.close()


async def test_peer_that_has_closed_ends_tcp_when_the_client_has(autojump_clock):
    async with memory_websocket_pair(close_timeout=10) as (ws, peer):
        await peer.send_close(4000)
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    assert trio.current_time() == 0


async def test_peer_that_stalls_can_close(autojump_clock, nursery):
    async with memory_websocket_pair() as (ws, peer):
        peer.stall()
        nursery.start_soon(ws.send, "unread")
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            await peer.close(1001)
        assert peer.messages == ["unread"]
        assert await ws.wait_closed() == CloseFrame(1001)


async def test_what_the_kit_chooses_itself_can_not_be_asked_for():
    with pytest.raises(ValueError, match="open_loopback_server"):
        async with memory_websocket_pair("wss://server/"):
            pytest.fail("it is not open")
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="stream"):
        async with memory_websocket_pair(stream=ours):
            pytest.fail("it is not open")


async def test_subprotocols_that_can_be_iterated_once_are_offered(autojump_clock):
    async with memory_websocket_pair(subprotocols=iter(["chat"])) as (ws, _):
        assert ws.subprotocol == "chat"


async def test_peer_cuts(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.cut()
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.code == 1006
        await peer.close()


async def test_peer_sends_what_it_likes(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        await peer.send_raw(wire.frame(3, b"x"))
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
    assert caught.value.sent is not None
    assert caught.value.sent.code == 1002
    assert peer.close_received is not None
    assert peer.close_received.code == 1002


async def test_peer_stalls_and_goes_on(autojump_clock):
    async with memory_websocket_pair() as (ws, peer):
        peer.stall()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "a")
            await trio.sleep(5)
            assert peer.messages == []
            assert ws.statistics().seconds_writing == pytest.approx(5)
            peer.go_on()
            assert await peer.receive() == "a"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("g", [ValueError()])]
)
async def test_what_the_block_raises_leaves_it_as_it_is(autojump_clock, error: BaseException):
    with pytest.raises(type(error)) as caught:
        async with memory_websocket_pair():
            raise error
    assert caught.value is error


async def test_block_may_be_cancelled(autojump_clock):
    with trio.move_on_after(5) as scope:
        async with memory_websocket_pair() as (_, peer):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert peer.close_received == CloseFrame(1001)


async def test_client_that_does_not_open_is_told_as_it_is(autojump_clock):
    with pytest.raises(HandshakeError):
        async with memory_websocket_pair(headers=[("Sec-WebSocket-Extensions", "x")]):
            pass


async def test_hour_of_keepalive_takes_no_time(autojump_clock):
    async with memory_websocket_pair(ping_interval=60) as (_, peer):
        await trio.sleep(3600)
        assert 55 <= len(peer.pings) <= 60


# The server


async def test_server_echoes_by_default():
    async with open_loopback_server() as server, open_websocket_client(server.url) as ws:
        assert server.url == f"ws://127.0.0.1:{server.port}/"
        await ws.send("a")
        assert await ws.receive() == "a"


async def test_each_connection_is_closed_after_its_handler():
    async def handler(peer: Peer) -> None:
        await peer.send(f"welcome to {peer.request.target}")

    async with open_loopback_server(handler) as server:
        for path in ("a", "b"):
            async with open_websocket_client(server.url + path) as ws:
                assert [message async for message in ws] == [f"welcome to /{path}"]
                assert await ws.wait_closed() == CloseFrame(1000)


async def test_it_serves_tls(server_ssl_context, client_ssl_context):
    async with open_loopback_server(echo, ssl_context=server_ssl_context) as server:
        assert server.url.startswith("wss://")
        async with open_websocket_client(server.url, ssl_context=client_ssl_context) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"


async def test_who_does_not_trust_it_does_it_no_harm(server_ssl_context):
    async with open_loopback_server(ssl_context=server_ssl_context) as server:
        with pytest.raises(HandshakeError):
            async with open_websocket_client(server.url, ssl_context=ssl.create_default_context()):
                pass


@pytest.mark.parametrize(("offered", "chosen"), [(["x", "b", "a"], "b"), (["x"], None), ([], None)])
async def test_it_chooses_the_preferred_subprotocol_that_it_knows(offered, chosen):
    async with open_loopback_server(subprotocols=["a", "b"]) as server:
        async with open_websocket_client(server.url, subprotocols=offered) as ws:
            assert ws.subprotocol == chosen


async def test_it_refuses(monkeypatch):
    statuses = iter([503, 503, None])

    def refuse(request: Request) -> int | None:
        assert request.target == "/"
        return next(statuses)

    async with open_loopback_server(refuse=refuse) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(server.url):
                pass
        assert caught.value.status_code == 503
        async for connection in reconnecting(server.url, first_delay=0.01):
            async with connection as ws:
                await ws.send("a")
                assert await ws.receive() == "a"
            break


@pytest.mark.parametrize(
    ("headers", "body", "sent"),
    [
        ([("Retry-After", "3")], b"busy", [("Retry-After", "3"), ("Content-Length", "4")]),
        ([("Content-Length", "2")], b"no", [("Content-Length", "2")]),
        ([("transfer-encoding", "chunked")], b"0\r\n\r\n", [("transfer-encoding", "chunked")]),
    ],
)
async def test_rejection_has_headers_and_a_body(headers, body, sent):
    rejection = Rejection(503, headers, body, "Later")
    async with open_loopback_server(refuse=lambda _: rejection) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(server.url):
                pytest.fail("it is open")
    assert (caught.value.status_code, caught.value.reason_phrase) == (503, "Later")
    assert list(caught.value.headers.raw) == sent
    assert caught.value.body == (b"" if "chunked" in str(headers) else body)


async def no_status(request: Request) -> int:
    return 503


@pytest.mark.parametrize(
    ("refuse", "told"),
    [
        (lambda _: "403", "refuse has to return a status, a Rejection or None, not str"),
        (lambda _: True, "refuse has to return a status, a Rejection or None, not bool"),
        (no_status, "refuse has to be a plain function, not an async one"),
    ],
)
async def test_refuse_that_returns_something_else_is_a_type_error(refuse, told: str):
    with pytest.raises(TypeError, match=f"^{told}$"):
        async with open_loopback_server(refuse=refuse) as server:
            with suppress(HandshakeError):
                async with open_websocket_client(server.url):
                    pytest.fail("it is open")
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda peer: peer.send(1), "message has to be str or bytes, not int"),
        (lambda peer: peer.send("a", fragment_size="1"), "fragment_size has to be an int, not str"),
        (lambda peer: peer.ping("a"), "payload has to be bytes, not str"),
        (lambda peer: peer.pong(None), "payload has to be bytes, not NoneType"),
        (lambda peer: peer.send_close("1000"), "code has to be an int, not str"),
        (lambda peer: peer.send_close(True), "code has to be an int, not bool"),
        (lambda peer: peer.close(1000, b"bye"), "reason has to be a str, not bytes"),
        (lambda peer: peer.send_raw("a"), "data has to be bytes, not str"),
    ],
)
async def test_wrong_argument_of_a_peer_is_a_type_error(autojump_clock, use, told: str):
    async with memory_websocket_pair() as (ws, peer):
        with pytest.raises(TypeError, match=f"^{told}$"):
            await use(peer)
        await peer.send("still there")
        assert await ws.receive() == "still there"


async def test_fragments_have_at_least_a_byte(autojump_clock):
    async with memory_websocket_pair() as (_, peer):
        with pytest.raises(ValueError, match=r"^fragment_size has to be at least 1, not 0$"):
            await peer.send("a", fragment_size=0)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Rejection("503"), "status_code has to be an int, not str"),
        (lambda: Rejection(503, body="no"), "body has to be bytes, not str"),
        (lambda: Rejection(503, reason_phrase=b"No"), "reason_phrase has to be a str, not bytes"),
        (lambda: fixed_randomness("abcd").__enter__(), "mask has to be bytes, not str"),
        (lambda: fixed_randomness(nonce=None).__enter__(), "nonce has to be bytes, not NoneType"),
    ],
)
def test_wrong_argument_of_the_kit_is_a_type_error(make, told: str):
    with pytest.raises(TypeError, match=f"^{told}$"):
        make()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"handler": None}, "handler has to be a function, not NoneType"),
        ({"refuse": 503}, "refuse has to be a function, not int"),
    ],
)
async def test_loopback_server_needs_functions(arguments, told: str):
    with pytest.raises(TypeError, match=f"^{told}$"):
        async with open_loopback_server(**arguments):
            pytest.fail("it is open")


async def test_what_a_handler_raises_leaves_the_block_as_it_is():
    error = ValueError("a handler's")

    async def handler(peer: Peer) -> None:
        raise error

    with trio.fail_after(60), pytest.raises(ValueError, match="a handler's") as caught:
        async with open_loopback_server(handler) as server:
            async with open_websocket_client(server.url):
                await trio.sleep_forever()
    assert caught.value is error


async def test_what_block_and_handler_raise_leaves_together():
    async def handler(peer: Peer) -> None:
        raise ValueError("a handler's")

    with trio.fail_after(60), pytest.RaisesGroup(ValueError, KeyError, flatten_subgroups=True):
        async with open_loopback_server(handler) as server:
            try:
                async with open_websocket_client(server.url):
                    await trio.sleep_forever()
            finally:
                raise KeyError


async def test_client_that_has_gone_is_no_error_of_a_handler():
    is_over = trio.Event()

    async def handler(peer: Peer) -> None:
        try:
            while True:
                await peer.send("x" * 100_000)
        finally:
            is_over.set()

    with trio.fail_after(60):
        async with open_loopback_server(handler) as server:
            with trio.move_on_after(0.05):
                async with open_websocket_client(server.url):
                    await trio.sleep_forever()
            await is_over.wait()
            async with open_websocket_client(server.url) as ws:
                assert await ws.receive() == "x" * 100_000


async def test_handler_may_wait_for_a_client_that_has_gone():
    async def handler(peer: Peer) -> None:
        while True:
            await peer.send(await peer.receive())

    with trio.fail_after(60):
        async with open_loopback_server(handler) as server:
            for _ in range(2):
                async with open_websocket_client(server.url) as ws:
                    await ws.send("a")
                    assert await ws.receive() == "a"


async def test_end_of_another_channel_leaves_a_handler():
    async def handler(peer: Peer) -> None:
        raise trio.EndOfChannel

    with trio.fail_after(60), pytest.raises(trio.EndOfChannel):
        async with open_loopback_server(handler) as server:
            async with open_websocket_client(server.url):
                await trio.sleep_forever()


async def test_strangers_do_it_no_harm():
    async with open_loopback_server() as server:
        for data, answer in (
            (b"\x16\x03\x01\r\n\r\n", b""),
            (b"", b""),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", b""),
            (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400 "),
        ):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(data)
                await stream.send_eof()
                with trio.fail_after(60):
                    assert (await stream.receive_some())[:13] == answer
        async with open_websocket_client(server.url) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"


async def test_leaving_the_block_ends_all_handlers():
    ended = []

    async def handler(peer: Peer) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(peer)

    async with open_loopback_server(handler) as server:
        async with open_websocket_client(server.url, close_timeout=0.1):
            pass
    assert len(ended) == 1


# Golden bytes


class Taps(trio.abc.Stream):
    """Keeps what is written."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.written = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize(
    ("arguments", "key", "frame"),
    [
        ({}, b"AAAAAAAAAAAAAAAAAAAAAA==", b"\x81\x82\0\0\0\0hi"),
        (
            {"mask": b"\x01\x01\x01\x01", "nonce": b"\xff" * 16},
            b"/////////////////////w==",
            b"\x81\x82\x01\x01\x01\x01ih",
        ),
    ],
)
async def test_bytes_can_be_the_same_each_time(arguments, key: bytes, frame: bytes):
    async with open_loopback_server() as server:
        for _ in range(2):
            stream = Taps(await trio.open_tcp_stream("127.0.0.1", server.port))
            with fixed_randomness(**arguments):
                async with open_websocket_client(server.url, stream=stream) as ws:
                    await ws.send("hi")
                    assert await ws.receive() == "hi"
                    assert stream.written.endswith(frame)
            assert b"Sec-WebSocket-Key: " + key + b"\r\n" in stream.written


async def test_afterwards_they_are_not(autojump_clock):
    with pytest.raises(ValueError, match="mine"), fixed_randomness():
        raise ValueError("mine")
    keys = set()
    for _ in range(2):
        async with memory_websocket_pair() as (_, peer):
            keys.add(peer.request.headers["Sec-WebSocket-Key"])
    assert len(keys) == 2


@pytest.mark.parametrize("arguments", [{"mask": b"123"}, {"nonce": b""}])
def test_keys_have_their_size(arguments):
    with pytest.raises(ValueError, match="a mask has 4 bytes"), fixed_randomness(**arguments):
        pass
