"""Redirects (RFC 9110 §10.2.2): where one leads, and which are refused."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._headers import Headers
from trio_wsclient._http.redirects import RedirectRejected, follow
from trio_wsclient._http.url import URL, parse

STATUSES = [301, 302, 303, 307, 308]
RFC_BASE = "ws://a/b/c/d;p?q"


def led(base: str, location: str) -> URL:
    """Return where a redirect leads; the location is a text whose bytes come as Latin-1."""
    headers = Headers([("Location", location.encode().decode("latin-1"))])
    target = follow(parse(base), 302, headers)
    assert target is not None
    return target


def rejection(base: str, *locations: str) -> str:
    """Return why a redirect is refused."""
    headers = Headers([("Location", location) for location in locations])
    with pytest.raises(RedirectRejected) as caught:
        follow(parse(base), 302, headers)
    return str(caught.value)


@pytest.mark.parametrize("status_code", STATUSES)
def test_these_statuses_are_redirects(status_code: int):
    headers = Headers([("location", "/there")])
    assert follow(parse("ws://a/"), status_code, headers) == parse("ws://a/there")


@pytest.mark.parametrize("status_code", [200, 300, 304, 305, 306, 309, 399, 401, 503])
def test_other_statuses_are_none_whatever_the_location(status_code: int):
    for location in ("/there", "", "ftp://a/"):
        assert follow(parse("ws://a/"), status_code, Headers([("Location", location)])) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [  # RFC 3986 §5.4.1, but for g:h, which is refused, and "", which counts as none
        ("g", "ws://a/b/c/g"),
        ("./g", "ws://a/b/c/g"),
        ("g/", "ws://a/b/c/g/"),
        ("/g", "ws://a/g"),
        ("//g", "ws://g/"),
        ("?y", "ws://a/b/c/d;p?y"),
        ("g?y", "ws://a/b/c/g?y"),
        ("#s", "ws://a/b/c/d;p?q"),
        ("g#s", "ws://a/b/c/g"),
        ("g?y#s", "ws://a/b/c/g?y"),
        (";x", "ws://a/b/c/;x"),
        ("g;x", "ws://a/b/c/g;x"),
        ("g;x?y#s", "ws://a/b/c/g;x?y"),
        (".", "ws://a/b/c/"),
        ("./", "ws://a/b/c/"),
        ("..", "ws://a/b/"),
        ("../", "ws://a/b/"),
        ("../g", "ws://a/b/g"),
        ("../..", "ws://a/"),
        ("../../", "ws://a/"),
        ("../../g", "ws://a/g"),
        # §5.4.2
        ("../../../g", "ws://a/g"),
        ("../../../../g", "ws://a/g"),
        ("/./g", "ws://a/g"),
        ("/../g", "ws://a/g"),
        ("g.", "ws://a/b/c/g."),
        (".g", "ws://a/b/c/.g"),
        ("g..", "ws://a/b/c/g.."),
        ("..g", "ws://a/b/c/..g"),
        ("./../g", "ws://a/b/g"),
        ("./g/.", "ws://a/b/c/g/"),
        ("g/./h", "ws://a/b/c/g/h"),
        ("g/../h", "ws://a/b/c/h"),
        ("g;x=1/./y", "ws://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "ws://a/b/c/y"),
        ("g?y/./x", "ws://a/b/c/g?y/./x"),
        ("g?y/../x", "ws://a/b/c/g?y/../x"),
        ("g#s/./x", "ws://a/b/c/g"),
        ("g#s/../x", "ws://a/b/c/g"),
    ],
)
def test_relative_location_is_resolved_as_rfc_3986_says(location: str, url: str):
    assert str(led(RFC_BASE, location)) == url


@pytest.mark.parametrize(
    ("base", "location", "url"),
    [
        ("ws://a", "g", "ws://a/g"),
        ("ws://a?q/r", "g", "ws://a/g"),
        ("ws://a/b?q/r", "g", "ws://a/g"),
        ("ws://a/b?q", "?", "ws://a/b?"),
        ("ws://a/b?q", "b?", "ws://a/b?"),
        ("ws://a/b?q?r", "#", "ws://a/b?q?r"),
        ("ws://a/b/./../c", "?y", "ws://a/b/./../c?y"),
        ("ws://a/", "a//b/..//../c", "ws://a/a//c"),
        ("ws://a/", "/.//g", "ws://a//g"),
        ("ws://a//b", "..", "ws://a/"),
        ("ws://a/", "g?u=http://b/../c", "ws://a/g?u=http://b/../c"),
        ("ws://a/", "./g:h", "ws://a/g:h"),
        ("ws://a/", "http", "ws://a/http"),
        ("ws://a:8080/", "//b", "ws://b/"),
        ("wss://a:8080/", "//b", "wss://b/"),
        ("wss://a/", "//b:8443/../c", "wss://b:8443/c"),
        ("ws://a/", "\\\\b\\c", "ws://a/\\\\b\\c"),
    ],
)
def test_other_relative_locations_are_resolved_likewise(base: str, location: str, url: str):
    assert str(led(base, location)) == url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("ws://b/c", "ws://b/c"),
        ("wss://b/c", "wss://b/c"),
        ("http://b/c", "ws://b/c"),
        ("https://b/c", "wss://b/c"),
        ("HTTPS://B:443/C", "wss://b/C"),
        ("http://b:443", "ws://b:443/"),
        ("https://b?c", "wss://b/?c"),
        ("https://b#c", "wss://b/"),
        ("https://b/c/../d/.?e#f?g#h", "wss://b/d/?e"),
        ("https://[2001:DB8:0::1]:8443/", "wss://[2001:db8::1]:8443/"),
        ("https://bücher.example/", "wss://xn--bcher-kva.example/"),
        ("https://b./", "wss://b./"),
    ],
)
def test_absolute_location_has_the_scheme_of_a_websocket(location: str, url: str):
    assert led("ws://a/", location) == parse(url)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/%C3%BC%2f%2e%2E%zz", "/%C3%BC%2f%2e%2E%zz"),
        ("/ü?€=€#€".encode(), "/%C3%BC?%E2%82%AC=%E2%82%AC"),
        ("/\x85\xa0\u2028".encode(), "/%C2%85%C2%A0%E2%80%A8"),
        (b"/\xfc?\xff\x80", "/%FC?%FF%80"),
        (b"/\"<>\\^`{|}?'", "/\"<>\\^`{|}?'"),
    ],
)
def test_non_ascii_is_percent_encoded(location: bytes, target: str):
    for prefix in ("", "//a", "ws://a"):
        text = prefix + location.decode("latin-1")
        found = follow(parse("ws://a/"), 302, Headers([("Location", text)]))
        assert found is not None
        assert found.target == target


@pytest.mark.parametrize(
    ("locations", "problem"),
    [
        ([], "without a Location"),
        ([""], "without a Location"),
        (["", ""], "without a Location"),
        (["/a", "/b"], "more than one Location"),
        (["/a", ""], "more than one Location"),
        (["/a", "/a", "/A"], "more than one Location"),
        (["g:h"], "other than a WebSocket URL"),
        (["ftp://b/"], "other than a WebSocket URL"),
        (["javascript:alert(1)"], "other than a WebSocket URL"),
        (["http:"], "other than a WebSocket URL"),
        (["http:g"], "other than a WebSocket URL"),
        (["http:/g"], "other than a WebSocket URL"),
        (["wsss://b/"], "other than a WebSocket URL"),
        (["://b/"], "other than a WebSocket URL"),
        (["1:2"], "other than a WebSocket URL"),
        (["localhost:8080/"], "other than a WebSocket URL"),
        (["//"], "no host"),
        (["///b"], "no host"),
        (["http:///b"], "no host"),
        (["ws://b:0/"], "port"),
        (["ws://b:" + "9" * 5000 + "/"], "port"),
        (["ws://[::g]/"], "IPv6"),
        (["ws://[fe80::1%25eth0]/"], "zone"),
        (["ws://%62/"], "host name"),
        (["ws://\xfc/"], "a host that is not UTF-8"),
        (["ws://\xe2\x98\x83/"], "IDNA"),
        (["ws://\xc2\x85/"], "which no URL can have"),
        (["ws://us%3Aer@b/"], "colon"),
        (["ws://us%0Aer@b/"], "control"),
        (["ws://trusted.example\\@b/"], "percent-encoded"),  # E38
        (["//trusted.example\\@b/"], "percent-encoded"),
        (["ws://us\xc3\xa9r@b/"], "percent-encoded"),
        (["ws://us\xe9r@b/"], "a host that is not UTF-8"),
        (["/a b"], "space or a control"),
        (["/a\tb"], "space or a control"),
        (["/a\nb"], "space or a control"),
        (["/a\rb"], "space or a control"),
        (["/a\x00"], "space or a control"),
        (["/a\x7f"], "space or a control"),
        (["/a#\x01"], "space or a control"),
        ([" /a"], "space or a control"),
    ],
)
def test_location_of_another_scheme_is_rejected(locations: list[str], problem: str):
    assert problem in rejection("ws://a/", *locations)


def test_same_location_twice_is_one():
    headers = Headers([("Location", "/there"), ("X", "y"), ("LOCATION", "/there")])
    assert follow(parse("ws://a/"), 302, headers) == parse("ws://a/there")


@pytest.mark.parametrize(
    "location", ["ws://a/", "http://a/", "HTTP://a:443/", "ws://b/", "http://user@a/", "Ws://["]
)
def test_no_redirect_leads_from_wss_to_ws(location: str):
    assert rejection("wss://a/", location) == "a redirect from wss to ws, which is never followed"


@pytest.mark.parametrize(
    ("base", "location", "is_kept"),
    [
        ("ws://user:secret@a/", "/b", True),
        ("ws://user:secret@a/", "?b", True),
        ("ws://user:secret@a/", "//a/b", True),
        ("ws://user:secret@a/", "//a:80/b", True),
        ("ws://user:secret@a/", "http://A/b", True),
        ("ws://user:secret@a/", "ws://@a/b", True),
        ("wss://user:secret@a:8443/", "https://a:8443/b", True),
        ("ws://user:secret@a/", "ws://b/", False),
        ("ws://user:secret@a/", "//b/", False),
        ("ws://user:secret@a/", "ws://a:8080/", False),
        ("ws://user:secret@a/", "wss://a/", False),
        ("ws://user:secret@a/", "wss://a:80/", False),
        ("ws://user:secret@a/", "ws://a./", False),
        ("ws://user:secret@a/", "ws://b.a/", False),
    ],
)
def test_userinfo_stays_within_its_origin(base: str, location: str, is_kept: bool):
    assert led(base, location).authorization == (parse(base).authorization if is_kept else None)


@pytest.mark.parametrize("location", ["ws://new:password@a/", "ws://new:p%61ssword@b/"])
def test_userinfo_of_the_location_is_used(location: str):
    expected = parse("ws://new:password@a/").authorization
    assert led("ws://user:secret@a/", location).authorization == expected


@pytest.mark.parametrize(
    "location",
    [
        "ftp://s3cret:s3cret@b/s3cret?s3cret",
        "s3cret:s3cret",
        "ws://s3cret@/?s3cret",
        "ws://s3cret%0A@b/?s3cret",
        "ws://s3cret%3A@b/?s3cret",
        "ws://b:s3cret/?s3cret",
        "ws://s3cret\xe2\x98\x83/?s3cret",
        "http://a/?s3cret",
        "/?s3cret\x00",
        "wss://s3cret@[s3cret]/?s3cret",
    ],
)
def test_rejection_shows_neither_credentials_nor_the_query(location: str):
    text = rejection("wss://s3cret:s3cret@a/s3cret?s3cret", location)
    assert "s3cret" not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    "location",
    [
        "/" + "a/../" * 13_000,
        "/" + "../" * 20_000,
        "/" + "//" * 30_000,
        "/" + "a/" * 30_000 + "../" * 1_000,
        "a" * 65_000,
        "a" * 65_000 + ":",
        "?" * 65_000,
        "#" * 65_000,
        "\xff" * 65_000,
        "ws://" + ":" * 65_000,
        "ws://" + "@" * 65_000 + "b",
        "ws://" + "\xd9\xa0" * 32_000,
        "ws://[" + "0:" * 32_000 + "]",
    ],
)
def test_long_location_takes_no_time(location: str):
    headers = Headers([("Location", location)])
    start = time.perf_counter()
    with suppress(RedirectRejected):
        follow(parse("ws://a/"), 302, headers)
    assert time.perf_counter() - start < 5


BASES = st.sampled_from(
    [RFC_BASE, "wss://a", "ws://user:secret@a:8080?q", "wss://[::1]/b//c", "wss://user@a/b/"]
)
PIECES = st.sampled_from(
    [
        *("ws:", "wss:", "http:", "HTTPS:", "ftp:", "//", "/", "..", ".", "?", "#", "@", ":", "="),
        *("a", "b", "[::1]", "[", "]", "%", "%2e", "%0A", "\\", "443", "xn--", "&", ";", " "),
        *("\x00", "\x7f", "\x85", "\xa0", "\xff"),
        *("\xc3\xbc", "\xe3\x80\x82", "\xc3", "\xe2\x98\x83"),
    ]
)
LOCATIONS = st.lists(PIECES, max_size=12).map("".join) | st.text(
    st.characters(max_codepoint=0xFF), max_size=40
)


@settings(deadline=None)
@given(BASES, LOCATIONS, st.sampled_from(STATUSES))
def test_any_location_is_rejected_or_a_sendable_url(base: str, location: str, status_code: int):
    url = parse(base)
    try:
        target = follow(url, status_code, Headers([("Location", location)]))
    except RedirectRejected as exc:
        assert str(exc).isprintable()
        return
    assert target is not None
    assert target.secure or not url.secure
    shown = parse(str(target))
    assert (shown.origin, shown.target) == (target.origin, target.target)
    if target.authorization == url.authorization is not None:
        assert target.origin == url.origin


def test_location_may_have_16384_characters_and_not_one_more():
    assert led("ws://a/", "/" + "b" * 16_383).target == "/" + "b" * 16_383
    assert rejection("ws://a/", "/" + "b" * 16_384) == (
        "a redirect to a URL of more than 16384 characters"
    )
