"""``on_rejected``: a function of the user's that says how to repeat a request, once."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from log_records import KeepingLogger
from opening_notes import Notes
from proxy_variables import set_proxy_variables
from redirecting import Redirecting
from scripted_proxy import HTTPProxy, as_proxy
from scripted_server import Peer, loopback_server, memory_server
from strict_server import Connected, StrictServer
from sweep import AtAnyStep, AtOwnStep, Trial, sweep
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    ProxyError,
    open_websocket_client,
    reconnecting,
)

BOUND = 10  # seconds for what takes a fraction of one

Result = dict[str, str] | None


class Guarded:
    """A server that wants a header, and says so in the body of a rejection."""

    def __init__(self, wanted: str = "Authorization: Token", path: str = "/") -> None:
        self._wanted = wanted.encode()
        self._path = path.encode()
        self.requests: list[bytes] = []
        self.open_connections = 0

    async def __call__(self, peer: Peer) -> None:
        self.open_connections += 1
        self.requests.append(await peer.read_request())
        if self._wanted in peer.request:
            await peer.accept()
            await peer.echo()
        else:
            await peer.send(
                b"HTTP/1.1 401 Who are you?\r\nWWW-Authenticate: Token\r\n"
                b"Content-Length: 9\r\n\r\ntry again"
            )
            assert await peer.wait_eof() == b""
        self.open_connections -= 1

    def header(self, number: int, name: str) -> list[str]:
        lines = self.requests[number].decode().split("\r\n")
        start = f"{name}: ".lower()
        return [line[len(start) :] for line in lines if line.lower().startswith(start)]


class Answer:
    """An ``on_rejected`` that returns something, and keeps what it was asked about."""

    def __init__(self, result: object) -> None:
        self._result = result
        self.asked: list[ConnectionRejected] = []

    async def __call__(self, rejected: ConnectionRejected) -> object:
        self.asked.append(rejected)
        await trio.lowlevel.checkpoint()
        return self._result


TOKEN = {"Authorization": "Token"}


# What it is asked, and what comes of it


async def test_request_is_repeated_with_the_fields_returned():
    server, answer = Guarded(), Answer(TOKEN)
    async with loopback_server(server) as url:
        with trio.fail_after(BOUND):
            async with open_websocket_client(f"{url}feed?a=b", on_rejected=answer) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
                assert ws.redirects == ()
        (rejected,) = answer.asked
        assert rejected.url == f"{url}feed?a=b"
    assert rejected.status_code == 401
    assert rejected.reason_phrase == "Who are you?"
    assert rejected.headers["WWW-Authenticate"] == "Token"
    assert rejected.body == b"try again"
    assert [server.header(n, "Authorization") for n in (0, 1)] == [[], ["Token"]]


async def test_fields_replace_those_of_the_same_name():
    server = Guarded()
    fields = [
        *(("Authorization", "Token"), ("user-agent", "mine"), ("ORIGIN", "x")),
        *(("X-Twice", "1"), ("X-Twice", "2")),
    ]
    async with loopback_server(server) as url:
        async with open_websocket_client(
            url.replace("ws://", "ws://user:password@"),
            extra_headers=[("X-Twice", "0"), ("X-Kept", "0"), ("authorization", "old")],
            origin="null",
            on_rejected=Answer(fields),
        ):
            pass
    expected = {
        "Authorization": ["Token"],
        "User-Agent": ["mine"],
        "Origin": ["x"],
        "X-Twice": ["1", "2"],
        "X-Kept": ["0"],
    }
    assert {name: server.header(1, name) for name in expected} == expected


async def test_no_fields_are_one_more_attempt_as_well():
    """A function for ``extra_headers`` may have a new token then."""
    tokens = iter(["Old", "Token"])
    server = Guarded()
    async with loopback_server(server) as url:
        async with open_websocket_client(
            url,
            extra_headers=lambda: {"Authorization": next(tokens)},
            on_rejected=Answer({}),
        ):
            pass
    assert [server.header(n, "Authorization") for n in (0, 1)] == [["Old"], ["Token"]]


async def test_none_raises_the_rejection_that_was_shown():
    server, answer = Guarded(), Answer(None)
    async with loopback_server(server) as url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(url, on_rejected=answer):
                pytest.fail("it is not open")
    assert answer.asked == [caught.value]
    assert len(server.requests) == 1


async def test_second_rejection_is_raised():
    server, answer = Guarded(), Answer({"Authorization": "wrong"})
    async with loopback_server(server) as url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(url, on_rejected=answer):
                pytest.fail("it is not open")
    assert len(answer.asked) == 1
    assert answer.asked[0] is not caught.value
    assert caught.value.__context__ is None
    assert len(server.requests) == 2


async def test_first_connection_is_closed_before_it_is_asked():
    async def on_rejected(rejected: ConnectionRejected) -> Result:
        with trio.fail_after(BOUND):
            while server.open_connections:
                await wait_all_tasks_blocked(0.01)
        return TOKEN

    server = Guarded()
    async with loopback_server(server) as url:
        async with open_websocket_client(url, on_rejected=on_rejected):
            pass


# Redirects


async def test_redirect_that_is_followed_is_no_rejection():
    answer = Answer(TOKEN)
    async with loopback_server(Redirecting({"/": "/there"})) as url:
        async with open_websocket_client(url, max_redirects=1, on_rejected=answer):
            pass
    assert answer.asked == []


async def test_redirect_that_is_not_followed_is_a_rejection():
    answer = Answer(None)
    async with loopback_server(Redirecting({"/": "/there"})) as url:
        with pytest.raises(ConnectionRejected, match="set max_redirects"):
            async with open_websocket_client(url, on_rejected=answer):
                pytest.fail("it is not open")
    assert [rejected.status_code for rejected in answer.asked] == [302]


class RedirectingTo(Guarded):
    """A guarded server that redirects from `/`, before or after the guard."""

    def __init__(self, target: str, *, guard: bool) -> None:
        super().__init__()
        self.target = target
        self._guard = guard

    async def __call__(self, peer: Peer) -> None:
        request = await peer.read_request()
        if b"GET / " not in request or (self._guard and self._wanted not in request):
            await super().__call__(peer)
            return
        self.requests.append(request)
        head = f"HTTP/1.1 307 Away\r\nLocation: {self.target}\r\nContent-Length: 0\r\n\r\n"
        await peer.send(head.encode())
        assert await peer.wait_eof() == b""


async def test_it_is_asked_after_a_redirect_at_the_same_origin():
    server, answer = RedirectingTo("/there", guard=False), Answer(TOKEN)
    async with loopback_server(server) as url:
        async with open_websocket_client(url, max_redirects=1, on_rejected=answer) as ws:
            assert ws.redirects == (url,)
        (rejected,) = answer.asked
        assert rejected.url == f"{url}there"
        assert rejected.redirects == (url,)


async def test_its_fields_stay_for_a_redirect_at_the_same_origin():
    server, answer = RedirectingTo("/there", guard=True), Answer(TOKEN)
    async with loopback_server(server) as url:
        async with open_websocket_client(url, max_redirects=1, on_rejected=answer):
            pass
    values = [server.header(number, "Authorization") for number in range(3)]
    assert values == [[], ["Token"], ["Token"]]


async def test_its_fields_do_not_go_to_another_origin():
    second, answer = Redirecting({}), Answer({**TOKEN, "Cookie": "s3cret"})
    async with loopback_server(second) as second_url:
        async with loopback_server(RedirectingTo(second_url, guard=True)) as url:
            async with open_websocket_client(url, max_redirects=1, on_rejected=answer):
                pass
    assert second.header(0, "Authorization") is None
    assert second.header(0, "Cookie") is None


async def test_it_is_not_asked_about_another_origin():
    answer = Answer(TOKEN)
    async with loopback_server(Guarded()) as second_url:
        async with loopback_server(Redirecting({"/": second_url})) as url:
            with pytest.raises(ConnectionRejected) as caught:
                async with open_websocket_client(url, max_redirects=1, on_rejected=answer):
                    pytest.fail("it is not open")
        assert caught.value.url == second_url
    assert answer.asked == []


async def test_it_is_not_asked_about_a_proxy():
    async def refuse(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
        await peer.wait_eof()

    answer = Answer(TOKEN)
    async with loopback_server(refuse) as proxy_url:
        with pytest.raises(ProxyError):
            async with open_websocket_client(
                "ws://server/", proxy=as_proxy(proxy_url, "http"), on_rejected=answer
            ):
                pytest.fail("it is not open")
    assert answer.asked == []


async def test_request_is_repeated_through_the_proxy(monkeypatch):
    proxy = HTTPProxy()
    async with loopback_server(Guarded()) as url, loopback_server(proxy) as proxy_url:
        set_proxy_variables(monkeypatch, ws_proxy=as_proxy(proxy_url, "http"))
        async with open_websocket_client(url, proxy="environment", on_rejected=Answer(TOKEN)) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this platform has no unix sockets")
async def test_it_is_asked_about_what_a_unix_socket_rejects(tmp_path, monkeypatch):
    # Relative, as a Unix socket's path has 107 bytes at most, and `tmp_path` may have more.
    monkeypatch.chdir(tmp_path)
    server, answer = Guarded(), Answer(TOKEN)
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind("s")
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            trio.serve_listeners,
            lambda stream: server(Peer(stream)),
            [trio.SocketListener(listener)],
        )
        async with open_websocket_client("ws://localhost/", unix_socket="s", on_rejected=answer):
            pass
        nursery.cancel_scope.cancel()
    assert len(server.requests) == 2


async def test_it_is_asked_once_in_each_round_of_a_loop():
    answer = Answer(TOKEN)

    async with loopback_server(Guarded()) as url:
        rounds = 0
        async for connection in reconnecting(url, first_delay=0, on_rejected=answer):
            async with connection as ws:
                rounds += 1
                if rounds == 3:
                    break
                await ws.aclose(1012)
    assert len(answer.asked) == 3


# Errors


@pytest.mark.parametrize("error", [KeyError("mine"), OSError("mine")], ids=repr)
async def test_what_it_raises_leaves_as_it_is(error: Exception):
    async def on_rejected(rejected: ConnectionRejected) -> Result:
        await trio.lowlevel.checkpoint()
        raise error

    async with loopback_server(Guarded()) as url:
        with pytest.raises(type(error)) as caught:
            async with open_websocket_client(url, on_rejected=on_rejected):
                pytest.fail("it is not open")
        assert caught.value is error
        with pytest.raises(type(error)) as caught:
            async for connection in reconnecting(url, on_rejected=on_rejected):
                async with connection:
                    pytest.fail("it is not open")
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None


@pytest.mark.parametrize(
    ("result", "error", "problem"),
    [
        (True, TypeError, " has to be a mapping or pairs of str, not bool"),
        ("Bearer s3cret", TypeError, " has to be a mapping or pairs of str, not str"),
        ({"X-A": 1}, TypeError, ": the value of header 'X-A' has to be str, not int"),
        (
            {"Upgrade": "s3cret"},
            ValueError,
            ": header 'Upgrade' can't be set: the handshake has its own",
        ),
    ],
    ids=["bool", "str", "int as value", "upgrade"],
)
async def test_result_that_is_no_header_fields_is_an_error(result, error, problem):
    async with loopback_server(Guarded()) as url:
        with pytest.raises(error) as caught:
            async with open_websocket_client(url, on_rejected=Answer(result)):
                pytest.fail("it is not open")
    assert str(caught.value) == f"the result of on_rejected{problem}"


async def test_it_has_to_be_async():
    def on_rejected(rejected: ConnectionRejected) -> Result:
        return TOKEN

    async with loopback_server(Guarded()) as url:
        with pytest.raises(TypeError) as caught:
            async with open_websocket_client(url, on_rejected=on_rejected):
                pytest.fail("it is not open")
    assert str(caught.value) == (
        "on_rejected has to be async: on_rejected returned dict, which can't be awaited"
    )


async def test_stream_can_not_repeat_a_request():
    async with memory_server(Guarded()) as stream:
        with pytest.raises(ValueError, match=r"on_rejected can't repeat .* it is one connection"):
            open_websocket_client("ws://server/", stream=stream, on_rejected=Answer(TOKEN))


async def test_secret_that_it_returned_is_not_in_an_error():
    class Echoing(Guarded):
        async def __call__(self, peer: Peer) -> None:
            request = await peer.read_request()
            length = b"Content-Length: %d" % len(request)
            await peer.send(b"HTTP/1.1 403 Forbidden\r\n%s\r\n\r\n%s" % (length, request))
            await peer.wait_eof()

    logger = KeepingLogger(logging.DEBUG)
    async with loopback_server(Echoing()) as url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(
                url, on_rejected=Answer({"Authorization": "Token s3cret"}), logger=logger
            ):
                pytest.fail("it is not open")
    assert b"s3cret" in caught.value.body
    assert "s3cret" not in str(caught.value)
    texts = logger.texts(logging.DEBUG)
    assert "asking on_rejected about status 403" in texts
    assert "s3cret" not in "\n".join(texts)


# Time


async def test_it_is_under_the_timeout_in_phase_headers(autojump_clock):
    async def slow(rejected: ConnectionRejected) -> Result:
        await trio.sleep_forever()
        raise AssertionError

    notes = Notes()
    async with loopback_server(Guarded()) as url:
        with pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client(url, on_rejected=slow, open_timeout=5, observer=notes):
                pytest.fail("it is not open")
    assert caught.value.phase == "headers"
    assert isinstance(caught.value.__cause__, ConnectionRejected)
    assert list(notes.phases) == ["connect", "handshake", "headers"]


async def test_timeout_of_the_repeat_is_not_the_first_rejection():
    async def once(peer: Peer) -> None:
        await peer.read_request()
        if b"Authorization" not in peer.request:
            await peer.send(b"HTTP/1.1 401 Who?\r\nContent-Length: 0\r\n\r\n")
        await peer.wait_eof()

    async with loopback_server(once) as url:
        with trio.fail_after(BOUND), pytest.raises(OpenTimeout) as caught:
            async with open_websocket_client(url, on_rejected=Answer(TOKEN), open_timeout=0.5):
                pytest.fail("it is not open")
    assert caught.value.phase == "handshake"
    assert caught.value.__cause__ is None


async def test_failure_of_the_repeat_is_its_own_error():
    async def once(peer: Peer) -> None:
        await peer.read_request()
        if b"Authorization" not in peer.request:
            await peer.send(b"HTTP/1.1 401 Who?\r\nContent-Length: 0\r\n\r\n")
        await peer.stream.aclose()

    async with loopback_server(once) as url:
        with pytest.raises(HandshakeError, match="TCP ended without a response") as caught:
            async with open_websocket_client(url, on_rejected=Answer(TOKEN)):
                pytest.fail("it is not open")
    assert not isinstance(caught.value, ConnectionRejected)


# Cancelled


@asynccontextmanager
async def guarded(server: StrictServer) -> AsyncIterator[Connected]:
    """Reject the first connection, and have the server serve the second one."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            await server(peer)
            return
        with suppress(AssertionError, trio.BrokenResourceError):  # The client was cancelled.
            await peer.read_request()
            await peer.send(b"HTTP/1.1 401 Who?\r\nContent-Length: 0\r\n\r\n")
            await peer.wait_eof()
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        yield url, {"on_rejected": Answer(TOKEN)}


async def opening(trial: Trial) -> None:
    with trio.CancelScope() as scope:
        trial.strike.arm(scope.cancel)
        async with trial.open():
            trial.strike.disarm()
    assert trial.strike.struck or not scope.cancelled_caught
    await trial.ended([], whole=not trial.strike.struck)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [AtOwnStep, AtAnyStep])
def test_cancelled_on_rejected_leaves_nothing_open(moment):
    assert sweep(guarded, opening, moment) > 5
