"""A tunnel by SOCKS5 (RFC 1928, RFC 1929) that opens; refused ones are in a module beside."""

from __future__ import annotations

import pytest
import trio
import wire
from canned_stream import CannedStream
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
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_wsclient import ProxyError
from trio_wsclient._net.socks import connect

BEHIND = b"\x05\x00 what the server says"

ANONYMOUS = {
    "a name": (("example.org", 443), REQUEST),
    "a name with a dot": (("example.org.", 443), b"\x05\x01\x00\x03\x0cexample.org.\x01\xbb"),
    "an A-label": (("xn--tda.example", 1), b"\x05\x01\x00\x03\x0fxn--tda.example\x00\x01"),
    "the longest name": (("n" * 255, 65_535), b"\x05\x01\x00\x03\xff" + b"n" * 255 + b"\xff\xff"),
    "IPv4": (("192.0.2.1", 80), b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"),
    "IPv6": (
        ("2001:db8::ff", 8080),
        b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\xff\x1f\x90",
    ),
    "nearly IPv4": (("192.0.2.1.", 80), b"\x05\x01\x00\x03\x0a192.0.2.1.\x00\x50"),
}


@pytest.mark.parametrize(("target", "request_bytes"), ANONYMOUS.values(), ids=ANONYMOUS)
async def test_names_and_addresses_are_asked_for_like_this(
    target: tuple[str, int], request_bytes: bytes
):
    stream = CannedStream(NO_AUTH, BOUND_IPV4)
    await connect(stream, *target, credentials=None)
    assert stream.sent == [GREETING, request_bytes]


CREDENTIALS = {
    "name and password": ((b"name", b"pass"), b"\x01\x04name\x04pass"),
    "no password": ((b"name", b""), b"\x01\x04name\x00"),
    "any bytes": ((b"\xff:", b"\xc3\xbc "), b"\x01\x02\xff:\x03\xc3\xbc "),
    "the longest": ((b"n" * 255, b"p" * 255), b"\x01\xff" + b"n" * 255 + b"\xff" + b"p" * 255),
}


@pytest.mark.parametrize(("credentials", "sent"), CREDENTIALS.values(), ids=CREDENTIALS)
async def test_credentials_are_sent_if_the_proxy_asks(credentials, sent: bytes):
    stream = CannedStream(PASSWORD, WELCOME, BOUND_IPV4)
    await connect(stream, "example.org", 443, credentials=credentials)
    assert stream.sent == [GREETING_WITH_PASSWORD, sent, REQUEST]


async def test_credentials_are_not_sent_to_a_proxy_unasked():
    stream = CannedStream(NO_AUTH, BOUND_IPV4)
    await connect(stream, "example.org", 443, credentials=(b"name", b"pass"))
    assert stream.sent == [GREETING_WITH_PASSWORD, REQUEST]


async def test_nothing_is_sent_before_the_proxy_has_answered_what_was(nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(lambda: connect(ours, "example.org", 443, credentials=(b"name", b"pass")))
    said = [(b"", GREETING_WITH_PASSWORD), (PASSWORD, b"\x01\x04name\x04pass"), (WELCOME, REQUEST)]
    for answer, sent in said:
        for byte in answer:
            await wait_all_tasks_blocked()
            await theirs.send_all(bytes([byte]))
        await wait_all_tasks_blocked()
        assert await theirs.receive_some() == sent
    nursery.cancel_scope.cancel()


async def test_name_that_does_not_fit_is_an_error_before_sending():
    stream = CannedStream(NO_AUTH, BOUND_IPV4)
    with pytest.raises(ProxyError, match="more than 255 bytes does not fit SOCKS5"):
        await connect(stream, "n" * 256, 443, credentials=None)
    assert stream.sent == []


# The answer


@pytest.mark.parametrize(("credentials", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_no_byte_after_the_answer_is_read(credentials, answer: bytes):
    data = answer + BEHIND
    cuts = [[data], wire.cut(data, range(len(data)))]
    cuts += [wire.cut(data, [position]) for position in range(1, len(data))]
    for pieces in cuts:
        stream = CannedStream(*pieces, end=trio.sleep_forever)
        await connect(stream, "example.org", 443, credentials=credentials)
        assert stream.unread == BEHIND
        assert not stream.closed
        await stream.send_all(b"more")
        assert stream.sent[-2:] == [REQUEST, b"more"]


@pytest.mark.parametrize(("credentials", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_answer_is_waited_for_to_its_last_byte(autojump_clock, credentials, answer: bytes):
    for size in range(len(answer)):
        with trio.move_on_after(1000) as scope:
            stream = CannedStream(*wire.cut(answer[:size], [size // 2]), end=trio.sleep_forever)
            await connect(stream, "example.org", 443, credentials=credentials)
        assert scope.cancelled_caught
