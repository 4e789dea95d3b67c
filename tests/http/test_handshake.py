"""The opening handshake (RFC 6455 §4.1): what is asked, and which answer is one to it."""

from __future__ import annotations

import base64
import re

import pytest
import wire
from handshake_tables import (
    ACCEPTING,
    CONTINUE,
    EARLY_HINTS,
    FRAMES,
    JUNK,
    NOT_101,
    complete,
    feed,
    handshake,
    outcome_of,
    switching,
    upgrade,
)

from trio_wsclient import InvalidResponse
from trio_wsclient._http.upgrade import HTTP11Upgrade

# The request


def request_lines(shake: HTTP11Upgrade) -> list[str]:
    assert shake.request_data.endswith(b"\r\n\r\n")
    return shake.request_data.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")


def test_request_is_this_one():
    key = re.compile(r"Sec-WebSocket-Key: [A-Za-z0-9+/]{22}==")
    lines = request_lines(handshake())
    assert lines[:4] == [
        "GET /chat HTTP/1.1",
        "Host: example.org",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ]
    assert key.fullmatch(lines[4])
    assert lines[5:] == ["Sec-WebSocket-Version: 13"]


@pytest.mark.parametrize(
    ("url", "first", "host"),
    [
        ("ws://example.org", "GET / HTTP/1.1", "Host: example.org"),
        ("ws://example.org:80/", "GET / HTTP/1.1", "Host: example.org"),
        ("wss://example.org:443/", "GET / HTTP/1.1", "Host: example.org"),
        ("ws://example.org:443/", "GET / HTTP/1.1", "Host: example.org:443"),
        ("ws://[::1]:8080/?a=b", "GET /?a=b HTTP/1.1", "Host: [::1]:8080"),  # E13
        ("ws://bücher.example/ü", "GET /%C3%BC HTTP/1.1", "Host: xn--bcher-kva.example"),
    ],
)
def test_target_and_host_are_those_of_the_url(url: str, first: str, host: str):
    assert request_lines(handshake(url=url))[:2] == [first, host]


def test_each_handshake_has_a_key_of_its_own_of_16_bytes():
    keys = set()
    for _ in range(100):
        line = request_lines(handshake())[4]
        keys.add(base64.b64decode(line.removeprefix("Sec-WebSocket-Key: "), validate=True))
    assert len(keys) == 100
    assert {len(key) for key in keys} == {16}


def test_subprotocols_are_offered_in_order_in_one_field():
    assert "Sec-WebSocket-Protocol: b, a" in request_lines(handshake("b", "a"))


def test_without_subprotocols_none_are_offered():
    assert b"Sec-WebSocket-Protocol" not in handshake().request_data


def test_no_extension_is_offered():
    assert b"Sec-WebSocket-Extensions" not in handshake().request_data


def test_further_fields_follow_as_they_are_and_in_order():
    fields = [("Cookie", "a=1"), ("X-B", ""), ("Cookie", "b=2")]
    lines = request_lines(upgrade(fields=fields))
    assert lines[-3:] == ["Cookie: a=1", "X-B: ", "Cookie: b=2"]


def test_userinfo_is_sent_as_basic_authorization():
    lines = request_lines(handshake(url="ws://user:secret@example.org/"))
    assert "Authorization: Basic dXNlcjpzZWNyZXQ=" in lines
    assert "Host: example.org" in lines
    assert lines[0] == "GET / HTTP/1.1"


def test_authorization_of_the_user_goes_before_the_urls():
    fields = [("authorization", "Bearer token")]
    lines = request_lines(upgrade("ws://user:secret@example.org/", fields=fields))
    assert [line for line in lines if line.lower().startswith("authorization")] == [
        "authorization: Bearer token"
    ]


# Answers that accept


@pytest.mark.parametrize("answer", ACCEPTING.values(), ids=ACCEPTING)
def test_answer_that_agrees_is_accepted(answer: bytes):
    kind, subprotocol, _, trailing_data = outcome_of(answer)
    assert (kind, subprotocol, trailing_data) == ("accepted", None, b"")


def test_headers_of_interim_responses_are_dropped():
    shake = handshake()
    feed(shake, complete(shake, EARLY_HINTS + switching("Set-Cookie: a", "X-Name: J\xf6rg")))
    assert shake.accepted is not None
    assert [name for name, _ in shake.accepted.headers.raw] == [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Set-Cookie",
        "X-Name",
    ]
    assert shake.accepted.headers["x-name"] == "J\xf6rg"


def test_bytes_after_the_answer_are_kept():
    assert outcome_of(switching() + FRAMES)[-1] == FRAMES


def test_many_bytes_after_the_answer_are_kept():
    behind = wire.binary(bytes(range(256)) * 1024)
    assert outcome_of(switching() + behind)[-1] == behind


def test_later_bytes_after_the_answer_are_kept():
    shake = handshake()
    shake.receive_data(complete(shake, switching()) + b"a")
    shake.receive_data(b"b")
    assert shake.accepted is not None
    assert shake.trailing_data == b"ab"


def test_one_of_the_subprotocols_offered_is_chosen():
    answer = switching("Sec-WebSocket-Protocol: b")
    assert outcome_of(answer, "a", "b")[:2] == ("accepted", "b")


def test_server_may_choose_no_subprotocol():
    assert outcome_of(switching(), "a", "b")[:2] == ("accepted", None)


def test_before_the_answer_is_whole_nothing_is_known():
    shake = handshake()
    feed(shake, CONTINUE + switching()[:-1])
    assert not shake.complete
    assert not shake.rejected
    assert shake.accepted is None


# Answers that are none


@pytest.mark.parametrize(("answer", "problem"), NOT_101.values(), ids=NOT_101)
def test_wrong_101_is_rejected(answer: bytes, problem: str):
    kind, text = outcome_of(answer)
    assert kind == "invalid"
    assert str(text).startswith(problem)


@pytest.mark.parametrize(
    "lines",
    [
        ["Sec-WebSocket-Protocol: c"],
        ["Sec-WebSocket-Protocol: A"],
        ["Sec-WebSocket-Protocol: a, b"],
        ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"],
        ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"],
        ["Sec-WebSocket-Protocol:"],
    ],
)
def test_subprotocol_that_was_not_offered_is_rejected(lines: list[str]):
    kind, text = outcome_of(switching(*lines), "a", "b")
    assert kind == "invalid"
    assert str(text).endswith("it has to be exactly one of those offered")


@pytest.mark.parametrize("answer", JUNK.values(), ids=JUNK)
def test_what_is_not_http_is_refused(answer: bytes):
    kind, text = outcome_of(answer)
    assert kind == "invalid"
    assert str(text).startswith("not HTTP/1.1: ")


@pytest.mark.parametrize(
    "answer",
    [
        *(answer for answer, _ in NOT_101.values()),
        *JUNK.values(),
        switching(upgrade="Upgrade: \x1b[2J\x07"),
        switching(upgrade="Upgrade: \x85\x9b2J"),
        switching("X-Name \x1b[2J: a"),
        switching(upgrade="Upgrade: \xe4\xff"),
        switching("Sec-WebSocket-Protocol: \x9b2J"),
        b"\x80\x9b\xff\r\n\r\n",
    ],
)
def test_error_of_an_answer_is_one_printable_line(answer: bytes):
    text = str(outcome_of(answer)[1])
    assert text.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff" * 60_000 + b"\r\n\r\n",
        switching("X-Name " + "a" * 60_000),
        switching(upgrade="Upgrade: " + "\xff" * 60_000),
        switching(*["Upgrade: websocket"] * 200),
    ],
    ids=["junk", "a header", "a value", "many values"],
)
def test_error_of_a_long_answer_is_short(answer: bytes):
    kind, text = outcome_of(answer)
    assert kind == "invalid"
    assert len(str(text)) < 1000


@pytest.mark.parametrize(
    ("url", "tls", "nothing"),
    [
        ("ws://example.org/", "; use wss", "; does the server want wss?"),
        ("wss://example.org/", "", ""),
    ],
)
def test_wss_is_advised_where_the_server_may_want_it(url: str, tls: str, nothing: str):
    """E37."""
    with pytest.raises(InvalidResponse) as caught:
        handshake(url=url).receive_data(b"\x15\x03\x01\x00\x02\x02\x28")
    assert str(caught.value) == f"not HTTP/1.1: a TLS record{tls}"
    with pytest.raises(InvalidResponse) as caught:
        handshake(url=url).receive_data(b"")
    assert str(caught.value) == f"TCP ended without a response{nothing}"


@pytest.mark.parametrize("size", [0, 1, 20, len(switching()) - 1])
def test_answer_that_is_cut_off_is_said_to_be(size: int):
    for before in (b"", CONTINUE):
        shake = handshake()
        how = "before the response was complete" if size or before else "without a response"
        with pytest.raises(InvalidResponse, match=f"TCP ended {how}"):
            feed(shake, before + complete(shake, switching())[:size], b"")
