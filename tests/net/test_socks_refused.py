"""A tunnel by SOCKS5 that the proxy refuses, or breaks: each error says what happened."""

from __future__ import annotations

import pickle

import pytest
import trio
import wire
from canned_stream import CannedStream, reset
from shown import shown_of
from socks_tables import (
    ANSWERS,
    BOUND_IPV4,
    GREETING,
    GREETING_WITH_PASSWORD,
    NO_AUTH,
    PASSWORD,
    REQUEST,
    WELCOME,
)

from trio_wsclient import HandshakeError, ProxyError
from trio_wsclient._net.socks import AddressError, UnreachableError, connect

BOUND = 10  # seconds for what takes no time
CREDENTIALS = (b"n4me", b"s3cret")


async def error_over(
    stream: trio.abc.Stream, credentials: tuple[bytes, bytes] | None = None
) -> ProxyError:
    """Return the error of a tunnel that does not open; closing the stream is not its business."""
    with trio.fail_after(BOUND), pytest.raises(ProxyError) as caught:
        await connect(stream, "example.org", 443, credentials=credentials)
    error = caught.value
    assert isinstance(error, HandshakeError)
    assert (error.status_code, error.headers, error.body) == (None, None, b"")
    assert str(error).isprintable()
    assert not [secret for secret in ("n4me", "s3cret") if secret in shown_of(error)]
    return error


async def errors_over(
    answer: bytes, credentials: tuple[bytes, bytes] | None = None
) -> tuple[str, type[ProxyError], list[bytes]]:
    """Return text, type and what was sent, which are the same however the answer is cut.

    After the answer the proxy is silent: the client checks the answer as soon as it can.
    """
    outcomes = []
    for pieces in ([answer], wire.cut(answer, range(len(answer)))):
        stream = CannedStream(*pieces, end=trio.sleep_forever)
        error = await error_over(stream, credentials)
        outcomes.append((str(error), type(error), stream.sent))
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


# Rejections


@pytest.mark.parametrize(
    ("reply", "text", "kind"),
    [
        (1, "general failure", UnreachableError),
        (2, "not allowed by its rules", ProxyError),
        (3, "network unreachable", AddressError),
        (4, "host unreachable", AddressError),
        (5, "connection refused", AddressError),
        (6, "TTL expired", AddressError),
        (7, "command not supported", ProxyError),
        (
            8,
            "address type not supported (it was given a name; to look it up here, use socks5)",
            AddressError,
        ),
        (9, "reply 9, which is not in RFC 1928", ProxyError),
        (255, "reply 255, which is not in RFC 1928", ProxyError),
    ],
)
@pytest.mark.parametrize("rest", [b"", b"\x00", bytes(6)], ids=["alone", "torn", "whole"])
async def test_socks_reply_is_named_in_the_error(
    reply: int, text: str, kind: type[ProxyError], rest: bytes
):
    answer = NO_AUTH + bytes([5, reply, 0, 1]) + rest
    expected = (f"the SOCKS proxy refused: {text}", kind, [GREETING, REQUEST])
    assert await errors_over(answer) == expected


@pytest.mark.parametrize(
    ("host", "kind"), [("192.0.2.1", "an IPv4 address"), ("2001:db8::1", "an IPv6 address")]
)
async def test_refused_address_type_is_named(host: str, kind: str):
    stream = CannedStream(NO_AUTH + b"\x05\x08\x00\x01")
    with pytest.raises(AddressError, match=rf"not supported \(it was given {kind}\)$"):
        await connect(stream, host, 443, credentials=None)


def test_error_of_the_address_is_a_proxy_error_that_pickles():
    error = pickle.loads(pickle.dumps(AddressError("why")))
    assert isinstance(error, ProxyError)
    assert str(error) == "why"


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        (None, "the SOCKS proxy wants authentication; put name:password@ into its URL"),
        (CREDENTIALS, "the SOCKS proxy wants something other than a name and password"),
    ],
)
async def test_proxy_may_take_no_method_that_is_offered(credentials, text: str):
    greeting = GREETING if credentials is None else GREETING_WITH_PASSWORD
    assert await errors_over(b"\x05\xff", credentials) == (text, ProxyError, [greeting])


@pytest.mark.parametrize(
    ("credentials", "method"), [(None, 1), (None, 2), (None, 254), (CREDENTIALS, 1)]
)
async def test_method_that_was_not_offered_is_not_gone_into(credentials, method: int):
    greeting = GREETING if credentials is None else GREETING_WITH_PASSWORD
    text = f"the SOCKS proxy chose method {method}, which was not offered"
    assert await errors_over(bytes([5, method]), credentials) == (text, ProxyError, [greeting])


@pytest.mark.parametrize("status", [1, 2, 255])
@pytest.mark.parametrize("version", [1, 5])
async def test_once_name_and_password_are_refused_nothing_is_asked_for(version: int, status: int):
    text, kind, sent = await errors_over(PASSWORD + bytes([version, status]), CREDENTIALS)
    assert (text, kind) == ("the SOCKS proxy refused name and password", ProxyError)
    assert sent == [GREETING_WITH_PASSWORD, b"\x01\x04n4me\x06s3cret"]


# What is no answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HT", "not a SOCKS5 proxy: it speaks HTTP; use http in its URL"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            "not a SOCKS5 proxy: it speaks HTTP; use http in its URL",
        ),
        (b"\x00\x5a" + bytes(6), "not a SOCKS5 proxy: it answers b'\\x00Z'"),
        (b"\x00\x5b" + bytes(6), "not a SOCKS5 proxy: it speaks SOCKS4, which is not supported"),
        (b"\x04\x00", "not a SOCKS5 proxy: it answers b'\\x04\\x00'"),
        (b"\x15\x03\x01\x00\x02", "not a SOCKS5 proxy: it speaks TLS; use https in its URL"),
        (NO_AUTH + b"\x04" + BOUND_IPV4[1:], "the SOCKS proxy answers the request with version 4"),
        (NO_AUTH + b"\x00\x05\x00\x01", "the SOCKS proxy answers the request with version 0"),
        (
            NO_AUTH + b"\x05\x00\x00\x00",
            "the SOCKS proxy's answer has an address of unknown type 0",
        ),
        (
            NO_AUTH + b"\x05\x00\x00\x02\xff",
            "the SOCKS proxy's answer has an address of unknown type 2",
        ),
        (
            NO_AUTH + b"\x05\x00\x00\xff",
            "the SOCKS proxy's answer has an address of unknown type 255",
        ),
    ],
    ids=repr,
)
async def test_what_is_not_socks5_is_an_error_that_says_so(answer: bytes, text: str):
    assert (await errors_over(answer))[:2] == (text, ProxyError)


@pytest.mark.parametrize("version", [0, 2, 4, 72])
async def test_verdict_on_a_password_has_one_of_two_versions(version: int):
    text, kind, sent = await errors_over(PASSWORD + bytes([version, 0]), CREDENTIALS)
    assert text == f"the SOCKS proxy answers authentication with version {version}"
    assert kind is ProxyError
    assert REQUEST not in sent


# What is cut off


@pytest.mark.parametrize(("credentials", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_tcp_that_ends_within_the_answer_is_an_error(credentials, answer: bytes):
    for size in range(len(answer)):
        error = await error_over(CannedStream(answer[:size]), credentials)
        assert str(error) == "the SOCKS proxy ended TCP within its answer"
        assert type(error) is ProxyError


@pytest.mark.parametrize(("credentials", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_reset_within_the_answer_is_an_error_with_its_cause(credentials, answer: bytes):
    is_one = len(NO_AUTH) if credentials is None else len(PASSWORD + WELCOME)  # from this size on
    for size in range(len(answer)):
        error = await error_over(CannedStream(answer[:size], end=reset), credentials)
        advice = "" if size >= is_one else "; is it a SOCKS5 proxy?"
        assert str(error) == f"the SOCKS proxy broke the connection{advice}"
        assert isinstance(error.__cause__, trio.BrokenResourceError)
        assert isinstance(error.__cause__.__cause__, ConnectionResetError)


@pytest.mark.parametrize("writes", [0, 1, 2])
async def test_reset_at_a_write_is_an_error_with_its_cause(writes: int):
    stream = CannedStream(PASSWORD, WELCOME, BOUND_IPV4, writes=writes)
    error = await error_over(stream, CREDENTIALS)
    assert str(error) == "the SOCKS proxy broke the connection"
    assert isinstance(error.__cause__, trio.BrokenResourceError)
    assert len(stream.sent) == writes


@pytest.mark.parametrize(
    ("answer", "writes", "text"),
    [
        (NO_AUTH + b"\x05\x02\x00\x01" + bytes(6), 1, "the SOCKS proxy refused: not allowed"),
        (b"\x05\xff", 0, "the SOCKS proxy wants authentication"),
    ],
)
async def test_e35_rejection_counts_though_a_write_has_failed(
    answer: bytes, writes: int, text: str
):
    error = await error_over(CannedStream(answer, end=reset, writes=writes))
    assert str(error).startswith(text)
