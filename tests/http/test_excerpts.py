"""What an error quotes of a response: one safe line without a secret of the request."""

from __future__ import annotations

import pytest
from handshake_tables import handshake, rejection, upgrade

from trio_wsclient import Headers, InvalidResponse
from trio_wsclient._http.excerpts import Excerpts
from trio_wsclient._http.handshake import is_about_tls
from trio_wsclient._http.response import Response


def quoted(body: bytes, *fields: tuple[str, str], reason: str = "", sent: str = "") -> str:
    response = Response("1.1", 403, reason, Headers(fields))
    return Excerpts([("X-Key", sent)]).rejection(response, body).removeprefix("HTTP status 403")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", ""),
        (b" \r\n", ""),
        (b"no", ": 'no'"),
        (b"{\n  'error':\t'token  expired'\n}", ": '{ 'error': 'token expired' }'"),
        ("Zugriff verweigert für ü".encode(), ": 'Zugriff verweigert für ü'"),
        (b"\x1b[2J\xff", ": '\\x1b[2J\ufffd'"),
        (b"x" * 100, f": '{'x' * 100}'"),
        (b"x" * 101, f": '{'x' * 100}...'"),
    ],
)
def test_beginning_of_a_body_is_shown_on_one_line(body: bytes, shown: str):
    assert quoted(body) == shown


def test_compressed_body_is_not_shown():
    shown = quoted(b"\x1f\x8b", ("content-encoding", "gzip"))
    assert shown == " (its body has a Content-Encoding, so it is not shown)"
    assert quoted(b"", ("content-encoding", "gzip")) == ""


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("", ""), ("Token expired at noon", " Token expired at noon"), ("\x9b2J", r" \x9b2J")],
)
def test_reason_phrase_is_shown_escaped(reason: str, shown: str):
    assert quoted(b"", reason=reason) == shown


@pytest.mark.parametrize(
    ("sent", "repeated"),
    [
        ("s3cr", "s3cr"),
        ("Bearer s3crets3cret", "s3crets3cret"),
        ("Bearer s3crets3cret", "Bearer s3crets3cret"),
        ("a=b; session=s3crets3cret", "s3crets3cret"),
    ],
)
def test_nothing_that_repeats_a_secret_is_shown(sent: str, repeated: str):
    assert quoted(f"your token {repeated} is old".encode(), sent=sent) == ""
    assert quoted(b"x" * 200 + repeated.encode(), sent=sent) == ""
    assert quoted(b"", reason=f"Not {repeated}", sent=sent) == ""


@pytest.mark.parametrize("sent", ["", "1", "a=b; c=d", "Bearer x"])
def test_short_values_hide_nothing(sent: str):
    assert quoted(b"a b c d 1 x Bearer", sent=sent) == ": 'a b c d 1 x Bearer'"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/there", "'/there'"),
        ("https://other.example/a", "'https://other.example/a'"),
        (
            "https://user:secret@other.example/a?token=secret#secret",
            "'https://other.example/a?...'",
        ),
        ("//user@other.example/#a?b", "'//other.example/'"),
        ("/a\x1b\xff", "'/a\\x1bÿ'"),
        (None, ""),
    ],
)
def test_location_is_shown_without_userinfo_and_query(location: str | None, shown: str):
    fields = [] if location is None else [("Location", location)]
    assert Excerpts().location(Headers(fields)) == shown


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("ws://user:s3cret@example.org/", ()),
        ("ws://example.org/?key=s3cret", ()),
        ("ws://example.org/", [("Cookie", "s3cret")]),
    ],
)
def test_secrets_are_those_of_the_url_and_of_the_headers(url: str, fields):
    shake = upgrade(url, fields=fields)
    sent = shake.request_data.split(b"Basic ")[-1].split(b"\r\n")[0]  # of userinfo the Base64
    secret = sent.decode() if b"Basic" in shake.request_data else "s3cret"
    with pytest.raises(InvalidResponse, match=r"not HTTP/1\.1: \(withheld"):
        shake.receive_data(f"-ERR {secret}\r\n".encode())


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_request_that_comes_back_is_not_quoted(size: int):
    shake = handshake(url="ws://example.org/s3cret")
    with pytest.raises(InvalidResponse, match="the request itself came back"):
        shake.receive_data(shake.request_data[:size])


@pytest.mark.parametrize(
    ("status_code", "body", "is_likely"),
    [
        (400, b"Client sent an HTTP request to an HTTPS server.\n", True),  # Go
        (400, b"<center>The plain HTTP request was sent to HTTPS port</center>", True),  # nginx
        (400, b"speaking plain HTTP to an SSL-enabled server port.<br />", True),  # Apache
        (400, b"bad request", False),
        (400, b"httpsomething", False),
        (403, b"HTTPS", False),
    ],
)
def test_rejection_may_be_about_tls(status_code: int, body: bytes, is_likely: bool):
    assert is_about_tls(Response("1.1", status_code, "", Headers()), body) == is_likely


def test_rejection_has_its_reason_phrase():
    shake = handshake()
    shake.receive_data(rejection("403 Token expired at noon", "Content-Length: 0"))
    assert shake.response is not None
    assert shake.response.reason_phrase == "Token expired at noon"
