"""A tunnel by CONNECT that the proxy refuses, or breaks: what the error has, and when it comes."""

from __future__ import annotations

from functools import partial

import h11
import pytest
import trio
import wire
from canned_stream import CannedStream, eof, reset
from handshake_tables import CONTINUE, EARLY_HINTS, JUNK, REJECTIONS, rejection

from trio_wsclient import HandshakeError, Proxy, ProxyError
from trio_wsclient._net import http_connect

BOUND = 10  # seconds for what takes one at most
PROXY = Proxy("http://proxy.example")

connect = partial(http_connect.connect, rejected=lambda _: None)


async def error_over(stream: trio.abc.Stream, proxy: Proxy = PROXY) -> ProxyError:
    """Return the error of a tunnel that does not open; closing the stream is not its business."""
    with trio.fail_after(BOUND), pytest.raises(ProxyError) as caught:
        await connect(stream, proxy, "example.org", 443, user_agent=None)
    assert isinstance(caught.value, HandshakeError)
    assert str(caught.value).isprintable()
    return caught.value


def assert_no_answer(error: ProxyError) -> None:
    assert (error.status_code, error.headers, error.body) == (None, None, b"")


# Rejections

WANTS_AUTHENTICATION = (
    "the proxy wants authentication: HTTP status 407 Proxy Authentication Required "
    "(put name:password@ into its URL; Proxy-Authenticate: Basic, Negotiate)"
)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("407 Proxy Authentication Required", WANTS_AUTHENTICATION),
        ("300 Multiple Choices", "the proxy refused: HTTP status 300 Multiple Choices"),
        ("302 Found", "the proxy refused: HTTP status 302 Found"),
        ("304 Not Modified", "the proxy refused: HTTP status 304 Not Modified"),
        ("400 Bad Request", "the proxy refused: HTTP status 400 Bad Request"),
        ("401 Unauthorized", "the proxy refused: HTTP status 401 Unauthorized"),
        ("403 Forbidden", "the proxy refused: HTTP status 403 Forbidden"),
        ("502 Bad Gateway", "the proxy refused: HTTP status 502 Bad Gateway"),
        ("504 Gateway Timeout", "the proxy refused: HTTP status 504 Gateway Timeout"),
        ("999 \x1b[2J", r"the proxy refused: HTTP status 999 \x1b[2J"),
    ],
)
async def test_another_status_than_2xx_is_an_error_that_has_it(status: str, text: str):
    lines = ("Content-Length: 0", "Proxy-Authenticate: Basic", "proxy-authenticate: Negotiate")
    error = await error_over(CannedStream(rejection(status, *lines)))
    assert str(error) == text
    assert (error.status_code, error.reason_phrase) == (int(status[:3]), status[4:])
    assert error.headers["Proxy-Authenticate"] == "Basic, Negotiate"
    assert error.body == b""


@pytest.mark.parametrize(
    ("userinfo", "scheme", "what"),
    [
        ("", "NTLM", "wants authentication other than Basic"),
        ("n4me:s3cret@", "NTLM", "wants authentication other than Basic"),
        ("n4me:s3cret@", "basic", "does not accept the name and password"),
        ("n4me:s3cret@", "", "does not accept the name and password"),
        ("", "", "wants authentication"),
    ],
)
async def test_rejected_authentication_says_what_the_proxy_wants(userinfo, scheme, what):
    lines = ["Content-Length: 0", *([f"Proxy-Authenticate: {scheme}"] if scheme else [])]
    proxy = Proxy(f"http://{userinfo}proxy.example")
    error = await error_over(CannedStream(rejection("407 No", *lines)), proxy)
    assert str(error).startswith(f"the proxy {what}: HTTP status 407 No")


@pytest.mark.parametrize("status", ["405 No", "501 No"])
async def test_server_without_connect_is_asked_to_be_a_proxy(status: str):
    error = await error_over(CannedStream(rejection(status, "Content-Length: 0")))
    assert str(error) == f"the proxy refused: HTTP status {status} (is it an HTTP proxy?)"


CONNECT_REJECTIONS = {name: case for name, case in REJECTIONS.items() if case[1][0] // 100 != 2}


@pytest.mark.parametrize(
    ("answer", "expected"), CONNECT_REJECTIONS.values(), ids=CONNECT_REJECTIONS
)
async def test_rejection_is_the_same_however_it_is_cut(answer: bytes, expected: tuple[int, bytes]):
    cuts = [[answer], wire.cut(answer, range(len(answer)))]
    cuts += [wire.cut(answer, [position]) for position in range(1, len(answer))]
    for pieces in cuts:
        error = await error_over(CannedStream(*pieces))
        assert (error.status_code, error.body) == expected


async def test_interim_answers_do_not_hide_a_rejection():
    stream = CannedStream(CONTINUE, EARLY_HINTS, rejection("403 No", "Content-Length: 2"), b"no")
    error = await error_over(stream)
    assert (error.status_code, error.body) == (403, b"no")


# The body of a rejection


@pytest.mark.parametrize("end", [eof, reset])
async def test_rejection_stays_one_whatever_becomes_of_its_body(end):
    body = b"the error page"
    for size in range(len(body)):
        answer = rejection("403 No", f"Content-Length: {len(body)}", body=body[:size])
        error = await error_over(CannedStream(answer, end=end))
        assert (error.status_code, error.body) == (403, body[:size])


async def test_body_may_go_on_until_tcp_ends():
    error = await error_over(CannedStream(rejection("403 No"), b"error ", b"page"))
    assert (error.status_code, error.body) == (403, b"error page")


@pytest.mark.parametrize("end", [trio.sleep_forever, eof])
async def test_body_with_broken_chunks_is_kept_up_to_there(autojump_clock, end):
    answer = rejection("403 No", "Transfer-Encoding: chunked", body=b"2\r\nnoJUNK")
    error = await error_over(CannedStream(answer, end=end))
    assert (error.status_code, error.body) == (403, b"no")
    assert trio.current_time() == 0


@pytest.mark.parametrize("lines", [[], [f"Content-Length: {2**62}"]], ids=["no length", "long"])
async def test_endless_body_is_kept_up_to_64_kib_at_once(autojump_clock, lines):
    async def pour() -> bytes:
        return b"x" * 1000

    error = await error_over(CannedStream(rejection("502 No", *lines), end=pour))
    assert (error.status_code, error.body) == (502, b"x" * 65_536)
    assert trio.current_time() == 0


async def drip() -> bytes:
    await trio.sleep(0.3)
    return b"x"


@pytest.mark.parametrize(("end", "body"), [(drip, b"noxxx"), (trio.sleep_forever, b"no")])
async def test_slow_body_is_given_a_second(autojump_clock, end, body: bytes):
    answer = rejection("407 No", "Content-Length: 1000", body=b"no")
    error = await error_over(CannedStream(answer, end=end))
    assert (error.status_code, error.body) == (407, body)
    assert trio.current_time() == 1


async def test_cancel_within_a_rejection_body_leaves_alone(autojump_clock):
    stream = CannedStream(rejection("407 No", "Content-Length: 1000"), end=drip)
    with trio.move_on_after(0.5) as scope:
        await connect(stream, PROXY, "example.org", 443, user_agent=None)
    assert scope.cancelled_caught
    assert trio.current_time() == 0.5


# What is no answer


@pytest.mark.parametrize(
    "answer",
    [
        *JUNK.values(),
        rejection("101 Switching Protocols", "Upgrade: x", "Connection: Upgrade"),
        b"\x05\x00",
        b"<html>\r\n\r\n",
    ],
    ids=[*JUNK, "a 101", "SOCKS5", "HTTP/0.9"],
)
async def test_what_is_not_http_is_an_error_that_says_so(answer: bytes):
    for pieces in ([answer], wire.cut(answer, range(len(answer)))):
        error = await error_over(CannedStream(*pieces, end=trio.sleep_forever))
        assert str(error).startswith("the proxy's response to CONNECT: not HTTP/1.1: ")
        assert isinstance(error.__cause__, h11.RemoteProtocolError | None)
        assert_no_answer(error)


@pytest.mark.parametrize(
    ("url", "advice"), [("http://proxy", "; use https in its URL"), ("https://proxy", "")]
)
async def test_proxy_that_speaks_tls_is_said_to(url: str, advice: str):
    stream = CannedStream(b"\x15\x03\x03\x00\x02\x02\x28")
    with pytest.raises(ProxyError) as caught:
        await connect(stream, Proxy(url), "example.org", 443, user_agent=None)
    expected = "the proxy's response to CONNECT: not HTTP/1.1: a TLS record"
    assert str(caught.value) == expected + advice


async def test_silent_answer_is_waited_for(autojump_clock):
    for answer in (b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", CONTINUE):
        pieces = [answer] if answer else []
        with trio.move_on_after(1000) as scope:
            stream = CannedStream(*pieces, end=trio.sleep_forever)
            await connect(stream, PROXY, "example.org", 443, user_agent=None)
        assert scope.cancelled_caught


WHOLE = CONTINUE + rejection("200 OK", "Via: x")


@pytest.mark.parametrize("size", range(len(WHOLE)))
async def test_tcp_that_ends_before_the_head_does_is_an_error(size: int):
    error = await error_over(CannedStream(*wire.cut(WHOLE[:size], [size // 2])))
    how = "before the response was complete" if size else "without a response"
    assert str(error) == f"the proxy's response to CONNECT: TCP ended {how}"
    assert_no_answer(error)


async def test_head_without_end_is_an_error_at_64_kib():
    async def pour() -> bytes:
        return b"x" * 1000

    error = await error_over(CannedStream(b"HTTP/1.1 200 OK\r\nX: ", end=pour))
    assert "more than 65536 bytes of response headers" in str(error)
    assert_no_answer(error)


@pytest.mark.parametrize(
    "stream",
    [
        lambda: CannedStream(end=reset, writes=0),
        lambda: CannedStream(end=reset),
        lambda: CannedStream(CONTINUE + b"HTTP/1.1 200", end=reset),
    ],
    ids=["at the request", "before an answer", "within the answer"],
)
async def test_reset_is_an_error_with_its_cause(stream):
    error = await error_over(stream())
    assert str(error) == "the proxy broke the connection at CONNECT; is it an HTTP proxy?"
    assert isinstance(error.__cause__, trio.BrokenResourceError)
    assert isinstance(error.__cause__.__cause__, ConnectionResetError)
    assert_no_answer(error)


async def test_what_else_a_stream_raises_leaves_as_it_is():
    async def fail() -> bytes:
        raise ZeroDivisionError

    for answer in (b"HTTP/1.1 200", rejection("403 No")):
        with pytest.raises(ZeroDivisionError):
            await connect(
                CannedStream(answer, end=fail), PROXY, "example.org", 443, user_agent=None
            )


async def test_e35_rejection_counts_though_the_request_was_not_written():
    answer = rejection("403 No", "Content-Length: 2", body=b"no")
    for pieces in ([answer], [answer[:-1]]):
        error = await error_over(CannedStream(*pieces, end=reset, writes=0))
        assert error.status_code == 403
        assert error.body.startswith(b"n")


async def test_response_to_an_unwritten_request_is_an_error():
    error = await error_over(CannedStream(rejection("200 OK"), end=reset, writes=0))
    assert str(error) == "the proxy broke the connection at CONNECT; is it an HTTP proxy?"
