"""One HTTP exchange (RFC 9112): when it ends HTTP, when it is refused, and what is kept."""

from __future__ import annotations

import tracemalloc

import h11
import pytest
import wire
from handshake_tables import CONTINUE, EARLY_HINTS, FRAMES, JUNK, REJECTIONS, rejection
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._http.http11 import MAX_HEAD_SIZE, HTTP11Exchange, MalformedResponse


def upgrade() -> HTTP11Exchange:
    headers = [("Host", "example.org"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    return HTTP11Exchange("GET", "/chat", headers)


def connect() -> HTTP11Exchange:
    headers = [("Host", "example.org:443")]
    return HTTP11Exchange("CONNECT", "example.org:443", headers)


EXCHANGES = {"upgrade": upgrade, "CONNECT": connect}
either = pytest.mark.parametrize("begin", EXCHANGES.values(), ids=EXCHANGES)


def outcome(exchange: HTTP11Exchange, *pieces: bytes) -> tuple[object, ...]:
    """Return all that an exchange tells about an answer, for comparing."""
    try:
        for piece in pieces:
            exchange.receive_data(piece)
    except MalformedResponse as exc:
        # h11's words may depend on how the bytes were cut.
        return ("malformed", str(exc).partition(": ")[0])
    facts = (exchange.switched, exchange.rejected, exchange.complete)
    if exchange.response is None:
        return facts
    answer = exchange.response
    head = (answer.status_code, answer.http_version, answer.headers.raw)
    return (*facts, *head, exchange.body, exchange.trailing_data)


# The request


def test_upgrade_is_asked_for_like_this():
    assert upgrade().request_data == (
        b"GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\n\r\n"
    )


def test_tunnel_is_asked_for_like_this():
    assert connect().request_data == (
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
    )


# Answers that end HTTP

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
TUNNELS = {
    "200": rejection("200 Connection established"),
    "200 without a reason": b"HTTP/1.1 200\r\n\r\n",
    "200 of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "204": rejection("204 No Content"),
    "299": rejection("299 Why Not"),
    # RFC 9110 §9.3.6: a client ignores these two.
    "200 with a length": rejection("200 OK", "Content-Length: 1000"),
    "200 with a length of 0": rejection("200 OK", "Content-Length: 0"),
    "200 in chunks": rejection("200 OK", "Transfer-Encoding: chunked"),
    "200 that is to close": rejection("200 OK", "Connection: close", "Proxy-Connection: close"),
    "200 after a 100": CONTINUE + rejection("200 OK"),
    "200 after interim answers": EARLY_HINTS + CONTINUE * 3 + rejection("200 OK"),
}


@pytest.mark.parametrize("behind", [b"", FRAMES, b"\xff" * 100_000], ids=["none", "few", "many"])
@pytest.mark.parametrize("answer", TUNNELS.values(), ids=TUNNELS)
def test_bytes_after_a_2xx_to_connect_are_kept(answer: bytes, behind: bytes):
    exchange = connect()
    exchange.receive_data(answer + behind)
    assert exchange.switched
    assert exchange.complete
    assert not exchange.rejected
    assert exchange.response is not None
    assert exchange.response.status_code // 100 == 2
    assert (exchange.trailing_data, exchange.body) == (behind, b"")


def test_bytes_after_a_101_to_upgrade_are_kept():
    exchange = upgrade()
    exchange.receive_data(EARLY_HINTS + SWITCHING + FRAMES)
    assert exchange.switched
    assert exchange.complete
    assert exchange.trailing_data == FRAMES


@pytest.mark.parametrize(("begin", "answer"), [(upgrade, SWITCHING), (connect, TUNNELS["200"])])
def test_later_bytes_after_a_switch_are_kept(begin, answer: bytes):
    exchange = begin()
    for piece in (answer + b"a", b"b", b"HTTP/1.1 200 OK\r\n\r\n"):
        exchange.receive_data(piece)
    assert exchange.trailing_data == b"abHTTP/1.1 200 OK\r\n\r\n"


def test_version_and_headers_are_those_of_the_last_answer():
    exchange = connect()
    exchange.receive_data(EARLY_HINTS + b"HTTP/1.0 200 OK\r\nVia: a\r\nvia: J\xf6rg\r\n\r\n")
    assert exchange.response is not None
    assert exchange.response.http_version == "1.0"
    assert exchange.response.headers.raw == (("Via", "a"), ("via", "J\xf6rg"))


def test_101_to_connect_is_no_answer():
    with pytest.raises(MalformedResponse, match=r"not HTTP/1\.1: "):
        connect().receive_data(SWITCHING)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "299 Why Not"])
def test_2xx_to_an_upgrade_is_a_rejection(status: str):
    exchange = upgrade()
    exchange.receive_data(rejection(status, "Content-Length: 2", body=b"ok"))
    assert exchange.rejected
    assert not exchange.switched
    assert (exchange.body, exchange.trailing_data) == (b"ok", b"")


# Rejections

CONNECT_REJECTIONS = {
    name: refused for name, refused in REJECTIONS.items() if refused[1][0] not in {200, 204}
} | {
    "407": (
        rejection("407 Proxy Authentication Required", "Content-Length: 2", body=b"no"),
        (407, b"no"),
    ),
    "407 of HTTP/1.0": (b"HTTP/1.0 407 No\r\nContent-Length: 1\r\n\r\nx", (407, b"x")),
}


@pytest.mark.parametrize(
    ("answer", "expected"), CONNECT_REJECTIONS.values(), ids=CONNECT_REJECTIONS
)
def test_another_status_to_connect_is_a_rejection(answer: bytes, expected: tuple[int, bytes]):
    exchange = connect()
    exchange.receive_data(answer)
    assert exchange.rejected
    assert exchange.complete
    assert not exchange.switched
    assert exchange.response is not None
    assert (exchange.response.status_code, exchange.body) == expected
    assert exchange.trailing_data == b""


@either
def test_rejection_is_known_by_its_head_and_completed_by_its_body(begin):
    exchange = begin()
    exchange.receive_data(rejection("403 Forbidden", "Content-Length: 3", body=b"no"))
    assert exchange.rejected
    assert not exchange.complete
    assert exchange.body == b"no"
    exchange.receive_data(b".")
    assert exchange.complete
    assert exchange.body == b"no."


@either
def test_once_a_rejection_is_complete_nothing_more_is_looked_at(begin):
    exchange = begin()
    exchange.receive_data(rejection("403 Forbidden", "Content-Length: 1", body=b"x"))
    exchange.receive_data(b"\xff" * 100)
    exchange.receive_data(b"")
    assert (exchange.body, exchange.trailing_data) == (b"x", b"")


@either
@pytest.mark.parametrize(
    ("body", "kept"),
    [(b"5\r\nno", b"no"), (b"2\r\nnoJUNK", b"no"), (b"JUNK\r\n", b"")],
    ids=["cut off", "broken", "junk"],
)
def test_rejection_stays_one_whatever_its_body_is(begin, body: bytes, kept: bytes):
    exchange = begin()
    exchange.receive_data(rejection("403 Forbidden", "Transfer-Encoding: chunked", body=body))
    exchange.receive_data(b"")
    assert exchange.rejected
    assert exchange.complete
    assert exchange.body == kept


@either
@pytest.mark.parametrize("lines", [[], [f"Content-Length: {2**62}"]], ids=["no length", "long"])
@pytest.mark.parametrize("size", [1000, 65_536, 1_000_000])
def test_of_a_body_without_end_64_kib_are_kept(begin, lines: list[str], size: int):
    exchange = begin()
    exchange.receive_data(rejection("407 No", *lines))
    taken = 0
    while not exchange.complete:
        assert taken < 65_536
        exchange.receive_data(b"x" * size)
        taken += size
    assert exchange.body == b"x" * 65_536


@either
def test_nothing_is_allocated_by_the_length_that_a_rejection_claims(begin):
    exchange = begin()
    tracemalloc.start()
    try:
        exchange.receive_data(rejection("407 No", f"Content-Length: {2**62}", body=b"no"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert exchange.body == b"no"
    assert peak < 1_000_000


# What is no answer


@either
@pytest.mark.parametrize("answer", JUNK.values(), ids=JUNK)
def test_what_is_not_http_is_refused_in_a_printable_line(begin, answer: bytes):
    with pytest.raises(MalformedResponse, match=r"not HTTP/1\.1: ") as caught:
        begin().receive_data(answer)
    assert str(caught.value).isprintable()
    assert isinstance(caught.value.__cause__, h11.RemoteProtocolError | None)


def trickle(exchange: HTTP11Exchange, data: bytes) -> None:
    for piece in wire.cut(data, range(len(data))):
        exchange.receive_data(piece)


@either
@pytest.mark.parametrize(
    ("greeting", "shown"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "'SSH-2.0-OpenSSH_9.6'"),
        (b"220 mail.example ESMTP\r\n", "'220 mail.example ESMTP'"),
        (b"-ERR wrong number of arguments for 'get' command\r\n", "'-ERR wrong number of"),
        (b"J\x00\x00\x00\n8.0.36\x00", r"'J\x00\x00\x00'"),
        (b"HTCPCP/1.0 418", "'HTCPCP/1.0 418'"),
        (b"\x16\x03\x01", "a TLS record"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "a TLS record"),
    ],
    ids=["SSH", "SMTP", "Redis", "MySQL", "almost HTTP", "TLS handshake", "TLS alert"],
)
def test_greeting_of_another_protocol_is_rejected_at_once(begin, greeting: bytes, shown: str):
    """E37: none of them has the blank line that ends a head of HTTP."""
    with pytest.raises(MalformedResponse) as caught:
        begin().receive_data(greeting)
    assert str(caught.value).startswith(f"not HTTP/1.1: {shown}")
    with pytest.raises(MalformedResponse, match=r"not HTTP/1\.1: "):
        trickle(begin(), greeting)


@either
def test_junk_after_an_interim_response_is_called_a_status_line(begin):
    with pytest.raises(MalformedResponse, match=r"not HTTP/1\.1: illegal status line"):
        begin().receive_data(CONTINUE + b"\x16\x03\x01")


@either
@pytest.mark.parametrize("size", [0, 1, 12, 30])
@pytest.mark.parametrize("interim", [b"", CONTINUE], ids=["alone", "after a 100"])
def test_answer_that_is_cut_off_is_said_to_be(begin, size: int, interim: bytes):
    exchange = begin()
    text = "TCP ended without a response"
    if size or interim:
        exchange.receive_data(interim + rejection("200 OK", "X-Name: value")[:size])
        text = "TCP ended before the response was complete"
    with pytest.raises(MalformedResponse, match=text) as caught:
        exchange.receive_data(b"")
    assert isinstance(caught.value.__cause__, EOFError)
    assert "role=" not in repr(caught.value.__cause__)


@either
def test_interim_answers_are_waited_behind(begin):
    exchange = begin()
    exchange.receive_data(CONTINUE + EARLY_HINTS + b"HTTP/1.1 199 Soon\r\n\r\n")
    assert outcome(exchange) == (False, False, False)


# Limits on the head

CUTS = {
    "whole": lambda data: [data],
    "in pieces of 1": lambda data: wire.cut(data, range(len(data))),
    "in pieces of 4096": lambda data: wire.cut(data, range(0, len(data), 4096)),
    "before the last byte": lambda data: wire.cut(data, [len(data) - 1]),
}


def head_of(size: int, interim: bytes) -> bytes:
    shortest = len(interim) + len(rejection("200 OK", "X-Fill: "))
    return interim + rejection("200 OK", "X-Fill: " + "x" * (size - shortest))


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("interim", [b"", EARLY_HINTS * 100], ids=["alone", "after 103s"])
@either
def test_head_may_have_65536_bytes_and_not_one_more(begin, cut, interim: bytes):
    assert MAX_HEAD_SIZE == 65_536
    exchange = begin()
    for piece in cut(head_of(MAX_HEAD_SIZE, interim)):
        exchange.receive_data(piece)
    assert exchange.response is not None
    exchange = begin()
    with pytest.raises(MalformedResponse, match="more than 65536 bytes of response headers"):
        for piece in cut(head_of(MAX_HEAD_SIZE + 1, interim) + b"after it"):
            exchange.receive_data(piece)


# However the bytes are cut

ANSWERS = [
    SWITCHING,
    SWITCHING + FRAMES,
    *TUNNELS.values(),
    *(answer + FRAMES for answer in TUNNELS.values()),
    *(answer for answer, _ in CONNECT_REJECTIONS.values()),
    *JUNK.values(),
    rejection("403 Forbidden", body=b"until TCP ends"),
    rejection("403 Forbidden", "Transfer-Encoding: chunked", body=b"2\r\nnoJUNK"),
    CONTINUE,
]


@settings(deadline=None)
@given(
    st.sampled_from([upgrade, connect]),
    st.sampled_from(ANSWERS),
    st.lists(st.integers(1, 200), max_size=6),
    st.sampled_from([[], [b""]]),
)
def test_cutting_an_answer_anywhere_makes_no_difference(
    begin, answer: bytes, positions: list[int], end: list[bytes]
):
    expected = outcome(begin(), answer, *end)
    assert outcome(begin(), *wire.cut(answer, positions), *end) == expected
    assert outcome(begin(), *wire.cut(answer, range(len(answer))), *end) == expected


class Shown(str):
    """Shows another text than it has, as an ``enum.Enum`` of ``str`` does."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def __format__(self, spec: str) -> str:
        return "shown\r\nX-Injected: 1"


def test_request_has_the_text_that_was_checked():
    exchange = HTTP11Exchange(
        "GET", Shown("/"), [("Host", Shown("h")), (Shown("X-Name"), Shown("value"))]
    )
    assert exchange.request_data == b"GET / HTTP/1.1\r\nHost: h\r\nX-Name: value\r\n\r\n"


# What would make h11 work for long


def test_first_read_is_large_and_later_ones_are_small():
    exchange = upgrade()
    assert exchange.read_size == 1024
    exchange.receive_data(b"H")
    assert exchange.read_size == 256


@either
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("interim", [b"", EARLY_HINTS * 100], ids=["alone", "after 103s"])
def test_head_may_have_256_fields_and_not_one_more(begin, cut, interim: bytes):
    exchange = begin()
    for piece in cut(interim + rejection("403 No", *["A: b"] * 256)):
        exchange.receive_data(piece)
    assert exchange.rejected
    exchange = begin()
    with pytest.raises(MalformedResponse, match="more than 256 response headers"):
        for piece in cut(interim + rejection("403 No", *["A: b"] * 257)):
            exchange.receive_data(piece)


@either
def test_head_with_too_many_fields_is_refused_before_its_end(begin):
    exchange = begin()
    exchange.receive_data(b"HTTP/1.1 403 No\r\n" + b"A:\n" * 256)
    with pytest.raises(MalformedResponse, match="more than 256 response headers"):
        exchange.receive_data(b"A")


@either
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_heads_may_have_2048_commas_and_not_one_more(begin, cut):
    exchange = begin()
    for piece in cut(CONTINUE + rejection("403 No", "A: " + "," * 2048, body=b"," * 3000)):
        exchange.receive_data(piece)
    assert exchange.rejected
    exchange = begin()
    with pytest.raises(MalformedResponse, match="more than 2048 commas"):
        for piece in cut(rejection("403 No", "A: " + "," * 2049)):
            exchange.receive_data(piece)


@pytest.mark.slow
@either
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("space", [b" ", b"\t"])
def test_heads_may_have_16384_spaces_and_not_one_more(begin, cut, space: bytes):
    fixed = (CONTINUE + b"HTTP/1.1 403 No\r\nA:\r\n\r\n").count(b" ")
    for extra in (0, 1):
        value = b"a" + (space + b"a") * (16_384 - fixed + extra)
        head = b"HTTP/1.1 403 No\r\nA:%s\r\n\r\n" % value
        exchange = begin()
        if extra:
            with pytest.raises(MalformedResponse, match="more than 16384 spaces"):
                for piece in cut(CONTINUE + head):
                    exchange.receive_data(piece)
        else:
            for piece in cut(CONTINUE + head):
                exchange.receive_data(piece)
            assert exchange.rejected


FORBIDDEN = [b"\0", b"\v", b"\f", b"\ra"]


@either
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("character", FORBIDDEN)
@pytest.mark.parametrize("place", [b"HTTP/1.1 403 %s\r\n\r\n", b"HTTP/1.1 403 No\r\nA:%s\r\n\r\n"])
def test_control_character_is_refused_before_h11_sees_it(
    begin, cut, character: bytes, place: bytes
):
    """After many spaces h11 would take quadratic time to refuse it: 20 s for 60,000."""
    exchange = begin()
    with pytest.raises(MalformedResponse, match="a control character in the response headers"):
        for piece in cut(place % (b" " * 5_000 + character)):
            exchange.receive_data(piece)


@either
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize(
    "flood",
    [b"0\r\n" + b"a:b\r\n" * 1000, b"0\r\na:" + b" " * 1000, b"1;" + b" " * 1000],
    ids=["trailers", "a long trailer", "a long header of a chunk"],
)
def test_body_ends_where_its_framing_becomes_long(begin, cut, flood: bytes):
    exchange = begin()
    head = rejection("403 No", "Transfer-Encoding: chunked", body=b"2\r\nno\r\n")
    for piece in cut(head + flood):
        exchange.receive_data(piece)
    assert exchange.complete
    assert exchange.body == b"no"


@either
def test_trailers_of_a_body_are_taken(begin):
    exchange = begin()
    body = b"2\r\nno\r\n0\r\nServer-Timing: a\r\n\r\n"
    exchange.receive_data(rejection("403 No", "Transfer-Encoding: chunked", body=body))
    assert exchange.complete
    assert exchange.body == b"no"
