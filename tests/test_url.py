"""URLs (RFC 6455 §3): what is read out of one, and what is refused before any I/O."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import InvalidURL
from trio_wsclient._url import URL, parse


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "target"),
    [
        ("ws://example.org", False, "example.org", 80, "/"),
        ("wss://example.org", True, "example.org", 443, "/"),
        ("WSS://Example.ORG/Feed", True, "example.org", 443, "/Feed"),
        ("ws://example.org:8080/", False, "example.org", 8080, "/"),
        ("ws://example.org:443/", False, "example.org", 443, "/"),
        ("ws://example.org:/", False, "example.org", 80, "/"),
        ("ws://example.org:1/", False, "example.org", 1, "/"),
        ("ws://example.org:65535/", False, "example.org", 65535, "/"),
        ("ws://example.org:00080/", False, "example.org", 80, "/"),
        ("ws://example.org/a/b?c=d&e=f", False, "example.org", 80, "/a/b?c=d&e=f"),
        ("ws://example.org?c=d", False, "example.org", 80, "/?c=d"),
        ("ws://example.org/?next=ws://a:b@c/", False, "example.org", 80, "/?next=ws://a:b@c/"),
        ("ws://example.org/%20%zz", False, "example.org", 80, "/%20%zz"),
        ("ws://example.org/ü?q=€", False, "example.org", 80, "/%C3%BC?q=%E2%82%AC"),
        ("ws://a_b.example.org./", False, "a_b.example.org.", 80, "/"),
        ("ws://xn--bcher-kva.example/", False, "xn--bcher-kva.example", 80, "/"),
        ("ws://" + "a" * 63 + ".b/", False, "a" * 63 + ".b", 80, "/"),
        ("ws://127.0.0.1:9/", False, "127.0.0.1", 9, "/"),
        ("ws://[::1]", False, "::1", 80, "/"),
        ("wss://[2001:DB8:0::1]:8443/x", True, "2001:db8::1", 8443, "/x"),
    ],
)
def test_a_url_has_these_parts(url: str, secure: bool, host: str, port: int, target: str):
    assert parse(url) == URL(secure, host, port, target, authorization=None)


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2003 made "fass" of it
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_name_outside_ascii_is_encoded_by_idna_2008(host: str, encoded: str):
    assert parse(f"ws://{host}/").host == encoded


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("user:secret", "user:secret"),
        ("user", "user:"),
        ("user:", "user:"),
        (":secret", ":secret"),
        ("user:a:b", "user:a:b"),
        ("user:p@ss", "user:p@ss"),
        ("us%40er:%2F%3A", "us@er:/:"),
        ("us%20er:a%20b", "us er:a b"),
        ("jörg:%C3%BC", "jörg:ü"),
    ],
)
def test_userinfo_becomes_basic_authorization(userinfo: str, credentials: str):
    url = parse(f"ws://{userinfo}@example.org/")
    assert url.authorization == basic(credentials)
    assert url.host == "example.org"


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://example.org:80/", "example.org"),
        ("ws://example.org:443/", "example.org:443"),
        ("wss://example.org:443/", "example.org"),
        ("wss://example.org:80/", "example.org:80"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:8080/", "[::1]:8080"),  # E13
    ],
)
def test_the_authority_has_brackets_around_ipv6_and_no_default_port(url: str, authority: str):
    assert parse(url).authority == authority


def test_a_url_is_shown_without_its_userinfo():
    url = parse("wss://user:secret@[::1]:8443/a?b")
    assert str(url) == "wss://[::1]:8443/a?b"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "ws://"),
        ("example.org", "ws://"),
        ("ws:example.org", "ws://"),
        ("http://example.org/", "ws://"),
        ("https://example.org/", "ws://"),
        ("wsss://example.org/", "ws://"),
        ("ws://", "no host$"),
        ("ws:///path", "no host$"),
        ("ws://?query", "no host$"),
        ("ws://:80/", "no host$"),
        ("ws://user@/", "no host$"),
        ("ws://user:secret@:80/", "no host$"),
        ("ws://example.org/#", "fragment"),
        ("ws://example.org/path#part", "fragment"),
        ("ws://example.org:0/", "port"),
        ("ws://example.org:65536/", "port"),
        ("ws://example.org:" + "9" * 5000 + "/", "port"),
        ("ws://example.org:http/", "host:port"),
        ("ws://example.org:-1/", "host:port"),
        ("ws://example.org:٣/", "host:port"),
        ("ws://example.org:80:80/", "host:port"),
        ("ws://::1/", "host:port"),
        ("ws://[::1/", "host:port"),
        ("ws://[::1]x/", "host:port"),
        ("ws://[]/", "IPv6"),
        ("ws://[::g]/", "IPv6"),
        ("ws://[127.0.0.1]/", "IPv6"),
        ("ws://[v1.a]/", "IPv6"),
        ("ws://[fe80::1%eth0]/", "zone"),
        ("ws://[fe80::1%25eth0]/", "zone"),
        ("ws://exa mple.org/", "space"),
        (" ws://example.org/", "space"),
        ("ws://example.org/\n", "control"),
        ("ws://example.org/\r\nEvil: 1", "control"),
        ("ws://example.org/\x00", "control"),
        ("ws://example.org/\x7f", "control"),
        ("ws://example.org/\x85", "control"),
        ("ws://example.org/\u2028", "control"),
        ("ws://exa%6dple.org/", "host name"),
        ("ws://exa*mple.org/", "host name"),
        ("ws://-example.org/", "host name"),
        ("ws://example.org-/", "host name"),
        ("ws://.example.org/", "host name"),
        ("ws://a..b/", "host name"),
        ("ws://" + "a" * 64 + ".org/", "host name"),
        ("ws://☃.example/", "IDNA"),
        ("ws://ü\u3000.example/", "IDNA"),
        ("ws://" + "ü" * 64 + "/", "IDNA"),
        ("ws://ü..example/", "IDNA"),
        ("ws://\ud800.example/", "IDNA"),
        ("ws://example.org/\ud800", "surrogate"),
        ("ws://user:\ud800@example.org/", "surrogate"),
        ("ws://us%3Aer:secret@example.org/", "colon"),
        ("ws://user:a%0Ab@example.org/", "control"),
        ("ws://us%00er@example.org/", "control"),
        ("ws://us%7Fer@example.org/", "control"),
    ],
)
def test_a_url_that_no_websocket_can_have_is_refused(url: str, problem: str):
    with pytest.raises(InvalidURL, match=problem) as caught:
        parse(url)
    assert caught.value.url == url
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", [None, b"ws://example.org/", 1, ["ws://example.org/"]])
def test_a_url_is_a_str(url: object):
    with pytest.raises(TypeError, match="a URL is a str"):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "ws://user:secret@example.org:0/",
        "ws://user:secret@/",
        "ws://user:secret@☃/",
        "ws://user:secret@exa*mple.org/",
        "ws://user:secret@[::g]/",
        "ws://user:secret@example.org/#",
        "ws://user:secret@example.org/ ",
        "ws://user:secret%00@example.org/",
        "ws://user:se/cret@example.org/",
        "http://user:secret@example.org/",
    ],
)
def test_the_error_of_a_url_does_not_show_its_password(url: str):
    with pytest.raises(InvalidURL) as caught:
        parse(url)
    assert "cret" not in str(caught.value)
    assert "cret" not in repr(caught.value)


@settings(deadline=None)
@given(st.text(st.sampled_from(string.printable + "äß☃。\uff1a/@[]%#\ud800\u2028"), max_size=30))
def test_any_text_is_parsed_or_invalid_and_what_is_parsed_can_be_sent(rest: str):
    try:
        url = parse(f"ws://{rest}")
    except InvalidURL:
        return
    assert url.host
    assert 1 <= url.port <= 65535
    assert url.target.startswith("/")
    for sent in (url.authority, url.target):
        assert sent.isascii()
        assert sent.isprintable()
        assert " " not in sent


@settings(deadline=None)
@given(st.text(st.sampled_from(string.printable + "äß☃。\uff1a/[]%"), max_size=30))
def test_a_url_that_is_shown_means_the_same_as_the_url_itself(rest: str):
    try:
        url = parse(f"wss://{rest}")
    except InvalidURL:
        return
    shown = parse(str(url))
    assert (shown.secure, shown.host, shown.port, shown.target) == (
        url.secure,
        url.host,
        url.port,
        url.target,
    )
