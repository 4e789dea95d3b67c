"""The fast path for a 101, compared with h11: whatever it takes, h11 takes, and means the same."""

from __future__ import annotations

import h11
import pytest
import wire
from handshake_tables import ACCEPTING, CONTINUE, FRAMES, switching
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._headers import check_field
from trio_wsclient._http.http11 import HTTP11Exchange, MalformedResponse
from trio_wsclient._http.plain_101 import parse_plain_101

FIELDS = [("Host", "example.org"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]


def facts(exchange: HTTP11Exchange) -> tuple[object, ...]:
    response = exchange.response
    assert response is not None
    head = (response.http_version, response.status_code, response.reason_phrase)
    return (*head, response.headers.raw, exchange.trailing_data, exchange.switched)


def by_h11(pieces: list[bytes]) -> tuple[object, ...]:
    """Parse a response of at least two pieces, the first of which is one byte."""
    exchange = HTTP11Exchange("GET", "/", FIELDS)
    for piece in pieces:
        exchange.receive_data(piece)
    return facts(exchange)


def check_against_h11(data: bytes, positions: list[int]) -> bool:
    """Compare the two parsers; return whether the fast path has taken the response."""
    if parse_plain_101(data) is None:
        return False
    plain = HTTP11Exchange("GET", "/", FIELDS)
    plain.receive_data(data)
    pieces = wire.cut(data, [1, *positions])
    assert len(pieces[0]) == 1
    assert by_h11(pieces) == facts(plain)
    return True


# What it takes

PLAIN = {
    "usual": switching(),
    "no reason": switching(status="HTTP/1.1 101"),
    "empty reason": switching(status="HTTP/1.1 101 "),
    "reason with spaces": switching(status="HTTP/1.1 101  Web  Socket "),
    "white space around values": switching("A: \t b \t c \t", "D:e", "F:"),
    "every character of a name": switching("!#$%&'*+-.^_`|~09azAZ: 1"),
    "every character of a value": switching("A: " + "".join(map(chr, range(0x20, 0x7F))) + "\tz"),
    "no fields": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "names like those of a body": switching("Content-Length-X: 1", "X-Transfer-Encoding: gzip"),
    "just small enough": switching("A: " + "x" * (8192 - len(switching("A: ")))),
}


@pytest.mark.parametrize(
    "behind", [b"", FRAMES, b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"\xff" * 9000]
)
@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_fast_path_means_the_same_as_h11(data: bytes, behind: bytes):
    parsed = parse_plain_101(data + behind)
    assert parsed is not None
    assert parsed[1] == behind
    assert check_against_h11(data + behind, [])


# What it leaves to h11

OTHER = {
    "another status": switching(status="HTTP/1.1 200 OK"),
    "an interim response first": CONTINUE + switching(),
    "another version": switching(status="HTTP/1.0 101 OK"),
    "too many digits": switching(status="HTTP/1.1 1010"),
    "a reason without a space": switching(status="HTTP/1.1 101Yes"),
    "a tab in the reason": switching(status="HTTP/1.1 101 a\tb"),
    "not ASCII in the reason": switching(status="HTTP/1.1 101 J\xf6rg"),
    "not ASCII in a value": switching("A: J\xf6rg"),
    "a control character in a value": switching("A: b\x01"),
    "Content-Length": switching("Content-Length: 0"),
    "content-length in another case": switching("cONTENT-lENGTH: 0"),
    "Transfer-Encoding": switching("Transfer-Encoding: chunked"),
    "a continuation line": switching("A: b", " c"),
    "a continuation line first": switching(" c", upgrade=None),
    "a space after a name": switching("A : b"),
    "no name": switching(": b"),
    "no colon": switching("A"),
    "ends of lines without CR": switching().replace(b"\r\n", b"\n"),
    "one end without CR": switching().replace(b"\r\n\r\n", b"\r\n\n"),
    "CR in a value": switching("A: b\rc"),
    "too large": switching("A: " + "x" * (8193 - len(switching("A: ")))),
    "an empty line first": b"\r\n" + switching(),
    "nothing": b"",
}


@pytest.mark.parametrize("data", OTHER.values(), ids=OTHER)
def test_fast_path_leaves_anything_else_to_h11(data: bytes):
    assert parse_plain_101(data) is None


def test_fast_path_leaves_an_incomplete_head_to_h11():
    data = switching()
    assert [size for size in range(len(data)) if parse_plain_101(data[:size]) is not None] == []


def test_tunnel_never_takes_the_fast_path():
    exchange = HTTP11Exchange("CONNECT", "example.org:443", [("Host", "example.org:443")])
    with pytest.raises(MalformedResponse, match="not HTTP"):
        exchange.receive_data(switching())


def test_later_read_never_takes_the_fast_path():
    exchange = HTTP11Exchange("GET", "/", FIELDS)
    exchange.receive_data(CONTINUE)
    exchange.receive_data(switching() + FRAMES)
    assert exchange.switched
    assert exchange.trailing_data == FRAMES


# Any response

PARTS = st.one_of(
    st.sampled_from(
        [
            *(b"HTTP/1.1 101", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.0 101 ", b"\r\n"),
            *(b"\n", b"\r", b" ", b"\t", b":", b"A: b", b"Content-Length: 0", b"\r\n\r\n"),
            *(b"Upgrade: websocket\r\n", b"Transfer-Encoding: chunked", b"X-Name:", b"\xe4"),
        ]
    ),
    st.binary(max_size=3),
)
NAMES = st.one_of(
    st.text("-!#$%&'*+.^_`|~09azAZ", min_size=1, max_size=8),
    st.sampled_from(["Connection", "Upgrade", "Set-Cookie", "Expect", "Host", "Content-Length"]),
)
VALUES = st.one_of(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12),
    st.sampled_from(["close", "keep-alive, Upgrade", "100-continue", "\t", " a \t b "]),
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["", " ", " Switching Protocols", " OK ", "  a"]),
    st.lists(st.tuples(NAMES, st.sampled_from(["", " ", "\t "]), VALUES), max_size=6),
    st.binary(max_size=20),
    st.lists(st.integers(1, 200), max_size=5),
)
def test_fast_path_agrees_with_h11_on_any_fields(
    reason: str, fields: list[tuple[str, str, str]], behind: bytes, positions: list[int]
):
    lines = [f"HTTP/1.1 101{reason}", *(f"{n}:{space}{v}" for n, space, v in fields), "", ""]
    is_plain = check_against_h11("\r\n".join(lines).encode() + behind, positions)
    assert is_plain or any(name.lower() == "content-length" for name, _, _ in fields)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([*PLAIN.values(), *OTHER.values(), *ACCEPTING.values()]),
    st.lists(st.tuples(st.integers(0, 250), st.integers(0, 4), PARTS), max_size=3),
    st.lists(st.integers(1, 200), max_size=5),
)
def test_fast_path_agrees_with_h11_on_damaged_responses(
    data: bytes, damages: list[tuple[int, int, bytes]], positions: list[int]
):
    for start, size, part in damages:
        data = data[:start] + part + data[start + size :]
    check_against_h11(data, positions)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, max_size=12), st.lists(st.integers(1, 100), max_size=5))
def test_fast_path_agrees_with_h11_on_any_bytes(parts: list[bytes], positions: list[int]):
    check_against_h11(b"HTTP/1.1 101" + b"".join(parts), positions)


# The request


def is_sendable(field: tuple[str, str]) -> bool:
    try:
        check_field(*field, "extra_headers")
    except ValueError:
        return False
    return True


@settings(deadline=None)
@given(
    st.sampled_from([("GET", "/"), ("GET", "/a?b=c%20d"), ("CONNECT", "example.org:443")]),
    st.lists(
        st.tuples(NAMES, VALUES | st.text(max_size=8)).filter(
            # No option can set these.
            lambda field: is_sendable(field) and field[0] not in {"Host", "Content-Length"}
        ),
        max_size=6,
    ),
)
def test_request_has_the_bytes_that_h11_makes(line: tuple[str, str], fields: list[tuple[str, str]]):
    method, target = line
    headers = [("Host", "example.org"), *fields]
    http = h11.Connection(h11.CLIENT)
    expected = http.send(h11.Request(method=method, target=target, headers=headers))
    assert http.send(h11.EndOfMessage()) == b""
    assert HTTP11Exchange(method, target, headers).request_data == expected
