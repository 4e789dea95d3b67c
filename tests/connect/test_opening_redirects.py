"""Redirects are followed on request only, as a stranger, and never into the clear."""

from __future__ import annotations

import logging

import pytest
import trio
import wire
from log_records import KeepingLogger
from redirecting import Redirecting
from scripted_server import Peer, loopback_server, memory_server, tls_of

from trio_wsclient import (
    ConnectionRejected,
    OpenTimeout,
    open_websocket_client,
)

BOUND = 10  # seconds for what takes a fraction of one


async def rejection(url: str, **options: object) -> ConnectionRejected:
    with trio.fail_after(BOUND):
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_client(url, **options):
                pytest.fail("it is not open")
    return caught.value


@pytest.mark.parametrize(
    "status",
    ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
async def test_each_kind_of_redirect_is_followed_on_request(status: str):
    server = Redirecting({"/": "/there?x=1"}, status)
    async with loopback_server(server) as url:
        async with open_websocket_client(url, max_redirects=1) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"
            assert ws.url == f"{url}there?x=1"
            assert ws.redirects == (url,)


async def test_no_redirect_is_followed_by_default():
    async with loopback_server(Redirecting({"/": "/there"})) as url:
        error = await rejection(url)
    assert (error.status_code, error.body) == (302, b"away")
    assert error.problem == "a redirect to '/there': set max_redirects to follow it"
    assert error.problem in str(error)
    assert error.headers["Location"] == "/there"


@pytest.mark.parametrize("status", ["300 Multiple Choices", "304 Not Modified", "305 Use Proxy"])
async def test_other_statuses_are_no_redirects(status: str):
    async with loopback_server(Redirecting({"/": "/there"}, status)) as url:
        error = await rejection(url, max_redirects=5)
    assert error.status_code == int(status[:3])
    assert error.redirects == ()


async def test_loop_ends_with_the_chain_on_the_error():
    server = Redirecting({"/": "/a", "/a": "/"})
    async with loopback_server(server) as url:
        error = await rejection(url, max_redirects=3)
    assert error.redirects == (url, f"{url}a", url)
    assert error.problem == "a redirect to '/', after max_redirects=3 were followed"
    assert error.problem in str(error)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("ftp://example.org/", "a redirect to something other than a WebSocket URL"),
        ("ws://[::1", "a redirect to an invalid URL: "),
        ("", "a redirect without a Location"),
    ],
)
async def test_redirect_to_nowhere_is_a_rejection_that_says_why(location: str, problem: str):
    async with loopback_server(Redirecting({"/": location})) as url:
        error = await rejection(url, max_redirects=5)
    assert error.status_code == 302
    assert error.body == b"away"
    assert error.problem.startswith(problem)
    assert error.problem in str(error)


async def test_redirect_from_wss_to_ws_is_refused(server_ssl_context, client_ssl_context):
    plain = Redirecting({})
    async with loopback_server(plain) as ws_url:
        secure = Redirecting({"/": ws_url})
        async with loopback_server(secure, ssl_context=server_ssl_context) as wss_url:
            error = await rejection(wss_url, max_redirects=5, ssl_context=client_ssl_context)
    assert "wss" in error.problem
    assert plain.requests == []


async def test_http_urls_are_mapped(server_ssl_context, client_ssl_context):
    async with loopback_server(Redirecting({}), ssl_context=server_ssl_context) as wss_url:
        secure = wss_url.replace("wss:", "https:")
        async with loopback_server(Redirecting({"/": secure})) as url:
            async with open_websocket_client(
                url, max_redirects=1, ssl_context=client_ssl_context
            ) as ws:
                assert ws.url == wss_url


async def test_log_names_the_url_of_the_present_hop():
    logger = KeepingLogger(logging.DEBUG)
    async with loopback_server(Redirecting({"/": "/there"})) as url:
        async with open_websocket_client(url, max_redirects=1, logger=logger):
            pass
    urls = [record.url for record in logger.records]
    assert list(dict.fromkeys(urls)) == [url, f"{url}there"]
    assert urls == sorted(urls)


async def test_extra_headers_stay_at_their_origin():
    options = {"extra_headers": {"X-Token": "secret"}, "origin": "null", "max_redirects": 5}
    second = Redirecting({"/": "/again"})
    async with loopback_server(second) as second_url:
        first = Redirecting({"/": "/same", "/same": second_url})
        async with loopback_server(first) as url:
            with_userinfo = url.replace("ws://", "ws://user:password@")
            async with open_websocket_client(with_userinfo, **options) as ws:
                assert ws.redirects == (url, f"{url}same", second_url)
    assert [first.header(n, "X-Token") for n in (0, 1)] == ["secret", "secret"]
    assert all(first.header(n, "Authorization") for n in (0, 1))
    assert [second.header(n, "X-Token") for n in (0, 1)] == [None, None]
    assert [second.header(n, "Authorization") for n in (0, 1)] == [None, None]
    assert [second.header(n, "Origin") for n in (0, 1)] == ["null", "null"]


async def test_callback_says_which_headers_go_to_another_origin():
    asked = []

    def redirect_headers(url: str) -> dict[str, str]:
        asked.append(url)
        return {"X-Token": "for both"}

    second = Redirecting({})
    async with loopback_server(second) as second_url:
        async with loopback_server(Redirecting({"/": second_url})) as url:
            async with open_websocket_client(
                url,
                max_redirects=1,
                extra_headers={"X-Token": "for one"},
                redirect_headers=redirect_headers,
            ):
                pass
    assert asked == [second_url]
    assert second.header(0, "X-Token") == "for both"


@pytest.mark.parametrize("error", [KeyError("mine"), OSError("mine"), trio.BrokenResourceError()])
async def test_what_the_callback_raises_leaves_as_it_is(error: Exception):
    def redirect_headers(url: str) -> dict[str, str]:
        raise error

    server = Redirecting({"/": "ws://localhost:1/"})
    async with loopback_server(server) as url:
        with trio.fail_after(BOUND), pytest.raises(type(error)) as caught:
            async with open_websocket_client(
                url, max_redirects=1, redirect_headers=redirect_headers
            ):
                pytest.fail("it is not open")
    assert caught.value is error


async def test_headers_of_the_handshake_can_not_come_from_the_callback():
    async with loopback_server(Redirecting({"/": "ws://localhost:1/"})) as url:
        with trio.fail_after(BOUND), pytest.raises(ValueError, match="can't be set"):
            async with open_websocket_client(
                url, max_redirects=1, redirect_headers=lambda _: {"Host": "x"}
            ):
                pytest.fail("it is not open")


async def test_one_deadline_covers_all_hops():
    async def silent(peer: Peer) -> None:
        await peer.read_request()
        await peer.wait_eof()

    async with loopback_server(silent) as slow_url:
        async with loopback_server(Redirecting({"/": slow_url})) as url:
            with trio.fail_after(BOUND), pytest.raises(OpenTimeout) as caught:
                async with open_websocket_client(url, max_redirects=1, open_timeout=0.5):
                    pytest.fail("it is not open")
    assert caught.value.phase == "handshake"
    assert caught.value.redirects == (url,)


async def test_server_hostname_is_for_the_first_origin_only(ca, client_ssl_context):
    second = Redirecting({})
    names = {"ssl_context": tls_of(ca, "127.0.0.1")}
    async with loopback_server(second, **names) as second_url:
        first = Redirecting({"/": second_url})
        async with loopback_server(first, ssl_context=tls_of(ca, "first.example")) as url:
            with trio.fail_after(BOUND):
                async with open_websocket_client(
                    url,
                    max_redirects=1,
                    ssl_context=client_ssl_context,
                    server_hostname="first.example",
                ) as ws:
                    assert ws.url == second_url


async def test_endless_body_of_a_redirect_is_not_waited_for():
    async def endless(peer: Peer) -> None:
        request = await peer.read_request()
        if b" /there " in request:
            await peer.send(wire.answer(peer.request))
            await peer.echo()
            return
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 99\r\n\r\n")
        await peer.wait_eof()

    async with loopback_server(endless) as url:
        with trio.fail_after(0.9):  # below the second that a rejection's body is given
            async with open_websocket_client(url, max_redirects=1) as ws:
                assert ws.redirects == (url,)


async def test_stream_can_not_follow_a_redirect():
    async with memory_server(Redirecting({})) as stream:
        with pytest.raises(ValueError, match="one connection"):
            open_websocket_client("ws://server/", stream=stream, max_redirects=1)
