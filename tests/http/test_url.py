"""URLs (RFC 6455 §3): what is read out of one, and what is refused before any I/O."""

from __future__ import annotations

import base64
import ssl
import string
import time

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import InvalidURL
from trio_wsclient._http.url import URL, parse


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "target"),
    [
        ("ws://example.org", False, "example.org", 80, "/"),
        ("wss://example.org", True, "example.org", 443, "/"),
        ("WSS://Example.ORG/Feed", True, "example.org", 443, "/Feed"),
        ("http://example.org", False, "example.org", 80, "/"),
        ("HTTPS://example.org/feed", True, "example.org", 443, "/feed"),
        ("http://example.org:443/", False, "example.org", 443, "/"),
        ("https://example.org:80/", True, "example.org", 80, "/"),
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
        ("ws://" + "a." * 126 + "b./", False, "a." * 126 + "b.", 80, "/"),
        ("ws://a.org/\"<>\\^`{|}?'%2F%2f%", False, "a.org", 80, "/\"<>\\^`{|}?'%2F%2f%"),
        ("ws://example.org/a/./../b//c", False, "example.org", 80, "/a/./../b//c"),
        ("ws://127.0.0.1:9/", False, "127.0.0.1", 9, "/"),
        ("ws://[::1]", False, "::1", 80, "/"),
        ("wss://[2001:DB8:0::1]:8443/x", True, "2001:db8::1", 8443, "/x"),
    ],
)
def test_url_has_these_parts(url: str, secure: bool, host: str, port: int, target: str):
    assert parse(url) == URL(secure, host, port, target, authorization=None)


@pytest.mark.parametrize(("http", "ws"), [("http", "ws"), ("https", "wss")])
def test_http_url_is_shown_as_a_ws_url(http: str, ws: str):
    assert str(parse(f"{http}://example.org/feed")) == f"{ws}://example.org/feed"


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2003 made "fass" of it
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("\uff45xample\uff0eorg", "example.org"),  # UTS 46 maps what keyboards give
        ("u\u0308.example", "xn--tda.example"),  # and NFC joins what file systems part
        ("bücher.example.", "xn--bcher-kva.example."),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ],
)
def test_name_outside_ascii_is_encoded_by_idna_2008(host: str, encoded: str):
    assert parse(f"ws://{host}/").host == encoded


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("user:secret", "user:secret"),
        ("user", "user:"),
        ("user:", "user:"),
        (":secret", ":secret"),
        ("user:a:b", "user:a:b"),
        ("user:p%40ss", "user:p@ss"),
        ("us%40er:%2F%3A", "us@er:/:"),
        ("us%20er:a%20b", "us er:a b"),
        ("j%C3%B6rg:%C3%BC", "jörg:ü"),
    ],
)
def test_userinfo_becomes_basic_authorization(userinfo: str, credentials: str):
    url = parse(f"ws://{userinfo}@example.org/")
    assert url.authorization == basic(credentials)
    assert url.host == "example.org"


def test_empty_userinfo_authorizes_nobody():
    assert parse("ws://@example.org/") == parse("ws://example.org/")


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://example.org:80/", "example.org"),
        ("ws://example.org:443/", "example.org:443"),
        ("wss://example.org:443/", "example.org"),
        ("wss://example.org:80/", "example.org:80"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:8080/", "[::1]:8080"),  # E13
        ("wss://[2001:DB8:0:0::1]:443/", "[2001:db8::1]"),
        ("ws://127.0.0.1:8080/", "127.0.0.1:8080"),
        ("ws://user:secret@Example.org:8080/", "example.org:8080"),
        ("ws://bücher.example:8080/", "xn--bcher-kva.example:8080"),
        ("ws://example.org.:8080/", "example.org.:8080"),
        ("ws://example.org:/", "example.org"),
        ("ws://example.org:0080/", "example.org"),
    ],
)
def test_authority_has_brackets_around_ipv6_and_no_default_port(url: str, authority: str):
    assert parse(url).authority == authority


@pytest.mark.parametrize(
    ("host", "server_hostname"),
    [
        ("example.org", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example.", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
    ],
)
def test_trailing_dot_is_dropped_for_the_certificate(host: str, server_hostname: str):
    assert parse(f"wss://{host}/").server_hostname == server_hostname


@pytest.mark.parametrize(
    ("host", "sni"), [("localhost.", "localhost"), ("127.0.0.1", None), ("[::1]", None)]
)
def test_tls_agrees_with_the_server_hostname(
    host: str,
    sni: str | None,
    ca: trustme.CA,
    client_ssl_context: ssl.SSLContext,
):
    names: list[str | None] = []
    server_ssl_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(server_ssl_context)
    server_ssl_context.sni_callback = lambda _, name, __: names.append(name)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_ssl_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_ssl_context.wrap_bio(
        to_client, to_server, server_hostname=parse(f"wss://{host}/").server_hostname
    )
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    client.do_handshake()  # It has verified the certificate.
    assert names == [sni]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("ws://user:secret@Example.org/a?b", (False, "example.org", 80)),
        ("wss://example.org", (True, "example.org", 443)),
        ("ws://example.org:443", (False, "example.org", 443)),
        ("wss://[2001:DB8:0::1]:8443/", (True, "2001:db8::1", 8443)),
        ("wss://example.org./", (True, "example.org.", 443)),
    ],
)
def test_origin_is_scheme_host_and_port(url: str, origin: tuple[bool, str, int]):
    assert parse(url).origin == origin


def test_url_is_shown_without_its_userinfo():
    url = parse("wss://user:secret@[::1]:8443/a?b")
    assert str(url) == "wss://[::1]:8443/a?b"
    assert url.authorization is not None
    assert url.authorization not in repr(url)


@pytest.mark.parametrize(
    ("target", "redacted"),
    [
        ("", "/"),
        ("/a/b", "/a/b"),
        ("/?", "/?..."),
        ("/a?token=s3cret&x=s3cret", "/a?token=...&x=..."),
        ("/?s3cret", "/?..."),
        ("/?s3cret&x=1&s3cret", "/?...&x=...&..."),
        ("/?x=1&&y=2", "/?x=...&...&y=..."),
        ("/?x=s3cret=s3cret?y=s3cret", "/?x=..."),
        ("/?x=1;s3cret=2", "/?x=..."),
        ("/?s3cret=", "/?..."),
        ("/?s3cret==", "/?..."),
        ("/?=s3cret", "/?=..."),
        ("/a=b&c", "/a=b&c"),
    ],
)
def test_url_is_redacted_to_its_path_and_query_keys(target: str, redacted: str):
    url = parse(f"wss://user:s3cret@example.org:8443{target}")
    assert url.redacted == f"wss://example.org:8443{redacted}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "ws://"),
        ("example.org", "ws://"),
        ("ws:example.org", "ws://"),
        ("httpss://example.org/", "ws://, wss://, http:// or https://"),
        ("ftp://example.org/", "ws://"),
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
        ("ws://example.org:http/", "the port is not a number"),
        ("ws://example.org:-1/", "the port is not a number"),
        ("ws://example.org:٣/", "the port is not a number"),
        ("ws://example.org:80:80/", "host:port"),
        ("ws://::1/", "between two brackets"),
        ("ws://[::1/", "between two brackets"),
        ("ws://2001:db8::1]/", "between two brackets"),
        ("ws://[::1]x/", "host:port"),
        ("ws://[]/", "IPv6"),
        ("ws://[::g]/", "IPv6"),
        ("ws://[127.0.0.1]/", "IPv6"),
        ("ws://[v1.a]/", "IPv6"),
        ("ws://[fe80::1%eth0]/", "zone"),
        ("ws://[fe80::1%25eth0]/", "zone"),
        ("wss://[fe80::1%251]:8443/", "zone"),
        ("ws://[fe80::1%]/", "zone"),
        ("ws://[fe80::1%25]/", "zone"),
        ("ws://[fe80::1%a%b]/", "zone"),
        ("ws://exa mple.org/", "which no URL can have"),
        (" ws://example.org/", "which no URL can have"),
        ("ws://example.org/\n", "which no URL can have"),
        ("ws://example.org/\r\nEvil: 1", "which no URL can have"),
        ("ws://example.org/\x00", "which no URL can have"),
        ("ws://example.org/\x7f", "which no URL can have"),
        ("ws://example.org/\x85", "which no URL can have"),
        ("ws://example.org/\u2028", "which no URL can have"),
        ("ws://exa%6dple.org/", "host name has a character"),
        ("ws://exa*mple.org/", "host name has a character"),
        ("ws://-example.org/", "begins or ends with '-'"),
        ("ws://example.org-/", "begins or ends with '-'"),
        ("ws://./", "1 to 63"),
        ("ws://.example.org/", "1 to 63"),
        ("ws://a..b/", "1 to 63"),
        ("ws://" + "a" * 64 + ".org/", "1 to 63"),
        ("ws://" + "a." * 127 + "b/", "253"),
        ("ws://" + "ü." * 127 + "b/", "253"),
        ("ws://" + "üü." * 30 + "b/", "IDNA"),  # too long when it is encoded
        ("ws://xn--ü/", "IDNA"),
        ("ws://℀.example/", "IDNA"),  # becomes a/c
        ("ws://☃.example/", "IDNA"),
        ("ws://ü\u3000.example/", "IDNA"),
        ("ws://" + "ü" * 64 + "/", "IDNA"),
        ("ws://ü..example/", "1 to 63"),
        ("ws://ü\uff0e。example/", "1 to 63"),
        ("ws://\ud800.example/", "IDNA"),
        ("ws://example.org/\ud800", "surrogate at index 17,"),
        ("ws://a.org/?ü=\ud800", "surrogate at index 14,"),
        ("ws://user:\ud800@example.org/", "percent-encoded"),
        ("ws://jörg@example.org/", "percent-encoded"),
        ("ws://user:p@ss@example.org/", "percent-encoded"),
        ("ws://trusted.example\\@example.org/", "percent-encoded"),  # E38
        ("ws://trusted.example\\.example.org/", "host name has a character"),
        ("ws://us%3Aer:secret@example.org/", "colon"),
        ("ws://user:a%0Ab@example.org/", "control"),
        ("ws://us%00er@example.org/", "control"),
        ("ws://us%7Fer@example.org/", "control"),
    ],
)
def test_url_that_no_websocket_can_have_is_refused(url: str, problem: str):
    with pytest.raises(InvalidURL, match=problem) as caught:
        parse(url)
    assert caught.value.url == url
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", [None, b"ws://example.org/", 1, ["ws://example.org/"]])
def test_url_is_a_str(url: object):
    with pytest.raises(TypeError, match="url has to be str, not "):
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
        "ws://cret*/password@example.org/",
        "ws://cret☃/password@example.org/",
        "ws://-cret/password@example.org/",
        "ws://user:password@example.org/cret\ud800",
        "ws://[cret/password@example.org/",
        "ws://sécret☃/password@example.org/",
        "ftp://user:secret@example.org/",
    ],
)
def test_error_of_a_url_does_not_show_its_password(url: str):
    with pytest.raises(InvalidURL) as caught:
        parse(url)
    assert "cret" not in str(caught.value)
    assert "cret" not in repr(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ws://" + "\u0660" * 65_536,  # idna 3.4 takes some minutes
        "ws://" + "a" * 1_000_000 + "!",
        "ws://" + ":" * 1_000_000,
        "ws://" + "@" * 1_000_000,
        "ws://[" + ":" * 1_000_000 + "]",
        "ws://a/" + "%" * 1_000_000 + "#",
    ],
)
def test_long_url_is_refused_at_once(url: str):
    start = time.perf_counter()
    with pytest.raises(InvalidURL):
        parse(url)
    assert time.perf_counter() - start < 5


@settings(deadline=None)
@given(st.text(st.sampled_from(string.printable + "äß☃。\uff1a/@[]%#\ud800\u2028"), max_size=30))
def test_any_text_is_a_sendable_url_or_invalid(rest: str):
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
def test_shown_url_means_the_same_as_the_url(rest: str):
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


class Folded(str):
    """Compares without regard to case."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.casefold() == other.casefold()

    __hash__ = None


def test_urls_that_compare_equal_are_parsed_by_their_text():
    for path in ("/Feed", "/feed"):
        assert parse(Folded(f"ws://example.org{path}")).target == path
