"""``extra_headers`` as a function, sync or async: called for each attempt at the URL's origin."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from log_records import KeepingLogger
from opening_notes import Notes
from redirecting import Redirecting
from scripted_server import Peer, echo_script, loopback_server
from strict_server import Connected, StrictServer
from sweep import AtAnyStep, AtOwnStep, Trial, sweep

from trio_wsclient import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    open_websocket_client,
    reconnecting,
)
from trio_wsclient.testing import open_loopback_server

Result = dict[str, str]
Function = Callable[[], Result | Awaitable[Result]]


class Tokens:
    """Gives a new token each time it is asked, in one of several ways."""

    def __init__(self, way: str) -> None:
        self._way = way
        self.given: list[str] = []

    def __call__(self) -> Result | Awaitable[Result]:
        self.given.append(f"token-{len(self.given) + 1}")
        fields = {"X-Token": self.given[-1]}
        return fields if self._way == "sync" else self._later(fields)

    async def _later(self, fields: Result) -> Result:
        await trio.lowlevel.checkpoint()
        return fields


@pytest.fixture(params=["sync", "async"])
def tokens(request) -> Tokens:
    return Tokens(request.param)


# What is sent


async def test_function_is_called_for_the_fields_of_the_request(tokens: Tokens):
    server = Redirecting({})
    async with loopback_server(server) as url:
        async with open_websocket_client(url, extra_headers=tokens):
            pass
    assert server.header(0, "X-Token") == "token-1"
    assert tokens.given == ["token-1"]


@pytest.mark.parametrize(
    "fields",
    [
        {"X-A": "1", "X-B": "2"},
        [("X-A", "1"), ("X-B", "2")],
        (pair for pair in [("X-A", "1"), ("X-B", "2")]),
    ],
    ids=["mapping", "pairs", "generator"],
)
async def test_function_may_return_whatever_extra_headers_may_be(fields: object):
    server = Redirecting({})
    async with loopback_server(server) as url:
        async with open_websocket_client(url, extra_headers=lambda: fields):
            pass
    assert (server.header(0, "X-A"), server.header(0, "X-B")) == ("1", "2")


async def test_fields_of_the_function_go_before_options_and_userinfo():
    server = Redirecting({})
    fields = {"User-Agent": "mine", "Authorization": "Bearer token"}
    async with loopback_server(server) as url:
        with_userinfo = url.replace("ws://", "ws://user:password@")
        async with open_websocket_client(
            with_userinfo, extra_headers=lambda: fields, origin="null"
        ):
            pass
    assert server.header(0, "User-Agent") == "mine"
    assert server.header(0, "Authorization") == "Bearer token"
    assert server.header(0, "Origin") == "null"


# Each attempt


async def test_function_is_called_again_for_a_redirect_at_the_same_origin(tokens: Tokens):
    server = Redirecting({"/": "/there"})
    async with loopback_server(server) as url:
        async with open_websocket_client(url, extra_headers=tokens, max_redirects=1):
            pass
    assert [server.header(n, "X-Token") for n in (0, 1)] == ["token-1", "token-2"]


async def test_function_is_not_called_for_another_origin_nor_back_again(tokens: Tokens):
    first, second = Redirecting({}), Redirecting({})
    async with loopback_server(second) as second_url, loopback_server(first) as url:
        first.targets = {"/": second_url}
        second.targets = {"/": f"{url}back"}
        async with open_websocket_client(url, extra_headers=tokens, max_redirects=2) as ws:
            assert ws.url == f"{url}back"
    assert second.header(0, "X-Token") is None
    assert [first.header(n, "X-Token") for n in (0, 1)] == ["token-1", None]
    assert tokens.given == ["token-1"]


async def test_only_redirect_headers_is_asked_for_another_origin(tokens: Tokens):
    second = Redirecting({"/": "/again"})
    async with loopback_server(second) as second_url:
        async with loopback_server(Redirecting({"/": second_url})) as url:
            async with open_websocket_client(
                url,
                extra_headers=tokens,
                redirect_headers=lambda _: {"X-Token": "for both"},
                max_redirects=2,
            ):
                pass
    assert [second.header(n, "X-Token") for n in (0, 1)] == ["for both", "for both"]
    assert tokens.given == ["token-1"]


async def test_token_that_expires_is_renewed_between_reconnections(tokens: Tokens):
    """The server takes each token once only."""
    taken: set[str] = set()

    async def once(peer: Peer) -> None:
        request = (await peer.read_request()).decode()
        token = request.partition("X-Token: ")[2].partition("\r\n")[0]
        if token in taken:
            await peer.send(b"HTTP/1.1 401 Expired\r\nContent-Length: 0\r\n\r\n")
        else:
            taken.add(token)
            await peer.accept()
        await peer.stream.aclose()

    async with loopback_server(once) as url:
        rounds = reconnecting(url, first_delay=0, extra_headers=tokens)
        async for connection in rounds:
            async with connection as ws:
                if len(taken) == 3:
                    break
                async for _ in ws:
                    pass
    assert tokens.given == ["token-1", "token-2", "token-3"]


# Errors


def raising(error: BaseException, way: str) -> Function:
    async def later() -> Result:
        await trio.lowlevel.checkpoint()
        raise error

    def at_once() -> Result:
        raise error

    return later if way == "async" else at_once


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "by s3cret"), os.strerror(errno.ECONNREFUSED)),
        (FileNotFoundError(errno.ENOENT, "s3cret", "/run/s3cret"), os.strerror(errno.ENOENT)),
        (OSError("https://tokens.example/?secret=s3cret"), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=["errno", "file", "text", "empty"],
)
async def test_oserror_of_the_function_is_a_handshake_error(error: OSError, reason: str, way: str):
    logger = KeepingLogger(logging.DEBUG)
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_client(
            "ws://server/", extra_headers=raising(error, way), logger=logger
        ):
            pytest.fail("it is not open")
    assert str(caught.value) == f"extra_headers failed: {reason}"
    assert caught.value.__cause__ is error
    assert "s3cret" not in "\n".join(logger.texts(logging.DEBUG))


async def test_oserror_of_the_function_is_retried():
    calls: list[None] = []

    async def fetch() -> Result:
        calls.append(None)
        if len(calls) < 3:
            raise ConnectionRefusedError(111, "Connection refused")
        return {}

    async with loopback_server(echo_script) as url:
        async for connection in reconnecting(url, first_delay=0, extra_headers=fetch):
            async with connection:
                assert connection.attempt == 3
                assert str(connection.last_error) == "extra_headers failed: Connection refused"
                break


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("error", [KeyError("mine"), trio.TooSlowError("mine")], ids=repr)
async def test_what_else_the_function_raises_leaves_as_it_is(error: Exception, way: str):
    function = raising(error, way)
    with pytest.raises(type(error)) as caught:
        async with open_websocket_client("ws://server/", extra_headers=function):
            pytest.fail("it is not open")
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None
    with pytest.raises(type(error)) as caught:
        async for connection in reconnecting("ws://server/", extra_headers=function):
            async with connection:
                pytest.fail("it is not open")
    assert caught.value is error


@pytest.mark.parametrize(
    ("result", "error", "problem"),
    [
        (None, TypeError, " has to be a mapping or pairs of str, not NoneType"),
        ("Bearer s3cret", TypeError, " has to be a mapping or pairs of str, not str"),
        ({"X-A": None}, TypeError, ": the value of header 'X-A' has to be str, not NoneType"),
        (
            {"Upgrade": "s3cret"},
            ValueError,
            ": header 'Upgrade' can't be set: the handshake has its own",
        ),
    ],
    ids=["none", "str", "none as value", "upgrade"],
)
async def test_result_that_is_no_header_fields_is_an_error(result, error, problem):
    with pytest.raises(error) as caught:
        async with open_websocket_client("ws://server/", extra_headers=lambda: result):
            pytest.fail("it is not open")
    assert str(caught.value) == f"the result of extra_headers{problem}"


async def test_origin_in_the_result_and_in_options_is_an_error():
    with pytest.raises(
        ValueError, match="origin and extra_headers both have an Origin: pass only one"
    ):
        async with open_websocket_client(
            "ws://server/", origin="null", extra_headers=lambda: {"origin": "null"}
        ):
            pytest.fail("it is not open")


def test_coroutine_instead_of_the_function_is_a_type_error():
    async def fetch() -> Result:
        pytest.fail("it runs")

    with pytest.raises(TypeError) as caught:
        open_websocket_client("ws://server/", extra_headers=fetch())
    assert str(caught.value) == (
        "extra_headers has to be a function: pass 'fetch', not 'fetch(...)'"
    )


async def test_secret_that_the_function_returned_is_not_in_an_error():
    async def echo_request(peer: Peer) -> None:
        request = await peer.read_request()
        length = b"Content-Length: %d" % len(request)
        await peer.send(b"HTTP/1.1 403 Forbidden\r\n%s\r\n\r\n%s" % (length, request))
        await peer.wait_eof()

    logger = KeepingLogger(logging.DEBUG)
    async with loopback_server(echo_request) as url:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(
                url, extra_headers=lambda: {"X-Token": "s3cret-token"}, logger=logger
            ):
                pytest.fail("it is not open")
    assert b"s3cret-token" in caught.value.body
    assert "s3cret-token" not in str(caught.value)
    assert "s3cret-token" not in "\n".join(logger.texts(logging.DEBUG))


# Time


async def test_function_is_under_the_timeout_in_phase_headers(autojump_clock):
    async def slow() -> Result:
        await trio.sleep_forever()
        raise AssertionError

    notes = Notes()
    with pytest.raises(OpenTimeout, match="phase headers") as caught:
        async with open_websocket_client(
            "ws://server/", extra_headers=slow, open_timeout=5, observer=notes
        ):
            pytest.fail("it is not open")
    assert caught.value.phase == "headers"
    assert caught.value.__cause__ is None
    assert notes.phases == pytest.approx({"headers": 5}, abs=0.1)


async def test_phases_begin_with_headers():
    phases: list[str] = []

    class Phases(Notes):
        def opened(self, connection_id: int, url: str, seconds: dict[str, float]) -> None:
            phases.extend(seconds)

    async with open_loopback_server() as server:
        async with open_websocket_client(server.url, extra_headers=dict, observer=Phases()):
            pass
    assert phases == ["headers", "connect", "handshake"]


async def test_ctrl_c_reaches_a_sync_function():
    protected: list[bool] = []

    def fields() -> Result:
        protected.append(trio.lowlevel.currently_ki_protected())
        return {}

    async with open_loopback_server() as server:
        async with open_websocket_client(server.url, extra_headers=fields):
            pass
    assert protected == [False]


async def test_redirect_headers_can_be_interrupted_too():
    protected: list[bool] = []

    def fields(url: str) -> Iterator[tuple[str, str]]:
        protected.append(trio.lowlevel.currently_ki_protected())
        return iter(())

    async with loopback_server(Redirecting({})) as second_url:
        async with loopback_server(Redirecting({"/": second_url})) as url:
            async with open_websocket_client(url, redirect_headers=fields, max_redirects=1):
                pass
    assert protected == [False]


# Cancelled


def asking(server: StrictServer):
    """Return a transport whose client asks a function, which takes several steps."""

    @asynccontextmanager
    async def transport() -> AsyncIterator[Connected]:
        async def fields() -> Result:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            return {}

        async with loopback_server(server) as url:
            yield url, {"extra_headers": fields}

    return transport()


async def opening(trial: Trial) -> None:
    with trio.CancelScope() as scope:
        trial.strike.arm(scope.cancel)
        async with trial.open():
            trial.strike.disarm()
    assert trial.strike.struck or not scope.cancelled_caught
    await trial.ended([], whole=not trial.strike.struck)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [AtOwnStep, AtAnyStep])
def test_cancelled_function_leaves_nothing_open(moment):
    assert sweep(asking, opening, moment) > 5
