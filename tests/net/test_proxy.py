"""A proxy as data: what is read out of its URL, what is refused, and what is shown of it."""

from __future__ import annotations

import base64
import copy
import dataclasses
import pickle
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shown import shown_of

from trio_wsclient import Proxy


def basic(credentials: str | bytes) -> str:
    raw = credentials.encode() if isinstance(credentials, str) else credentials
    return "Basic " + base64.b64encode(raw).decode()


# Its URL


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy.example", "proxy.example", 80),
        ("https://proxy.example", "proxy.example", 443),
        ("socks5://proxy.example", "proxy.example", 1080),
        ("socks5h://proxy.example", "proxy.example", 1080),
        ("socks://proxy.example", "proxy.example", 1080),
        ("http://proxy.example/", "proxy.example", 80),
        ("http://proxy.example:/", "proxy.example", 80),
        ("http://proxy.example:3128", "proxy.example", 3128),
        ("https://proxy.example:80/", "proxy.example", 80),
        ("socks5h://proxy.example:1", "proxy.example", 1),
        ("http://proxy.example:65535", "proxy.example", 65_535),
        ("HTTP://Proxy.EXAMPLE:8080", "proxy.example", 8080),
        ("http://proxy.example.:8080", "proxy.example.", 8080),
        ("http://bücher.example", "xn--bcher-kva.example", 80),
        ("http://127.0.0.1", "127.0.0.1", 80),
        ("https://[::1]", "::1", 443),
        ("socks5://[2001:DB8:0::1]:9050", "2001:db8::1", 9050),
        ("http://name:pass%40word@proxy.example:1", "proxy.example", 1),
    ],
)
def test_url_names_host_and_port(url: str, host: str, port: int):
    proxy = Proxy(url)
    assert (proxy.host, proxy.port) == (host, port)


@pytest.mark.parametrize(
    ("scheme", "is_socks", "is_secure", "resolves"),
    [
        ("http", False, False, True),
        ("https", False, True, True),
        ("socks5", True, False, False),
        ("socks5h", True, False, True),
        ("socks", True, False, True),
    ],
)
def test_scheme_tells_the_kind_of_a_proxy(
    scheme: str, is_socks: bool, is_secure: bool, resolves: bool
):
    for url in (f"{scheme}://proxy.example", f"{scheme.upper()}://proxy.example"):
        proxy = Proxy(url)
        assert proxy.is_socks is is_socks
        assert proxy.is_secure is is_secure
        assert proxy.resolves is resolves


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "scheme://host:port"),
        ("proxy.example", "scheme://host:port"),
        ("proxy.example:3128", "scheme://host:port"),
        ("//proxy.example", "scheme://host:port"),
        ("http:proxy.example", "scheme://host:port"),
        ("http:/proxy.example", "scheme://host:port"),
        ("http:///proxy.example", "scheme://host:port"),
        ("://proxy.example", "scheme://host:port"),
        ("http://proxy.example/path", "scheme://host:port"),
        ("http://proxy.example//", "scheme://host:port"),
        ("http://proxy.example?query", "scheme://host:port"),
        ("http://proxy.example/?", "scheme://host:port"),
        ("http://proxy.example#", "scheme://host:port"),
        ("http://name:pass/word@proxy.example", "scheme://host:port"),
        (
            "ftp://proxy.example",
            "its scheme is 'ftp'; it has to be one of http, https, socks5, socks5h",
        ),
        ("ws://proxy.example", "its scheme"),
        ("socks4://proxy.example", "its scheme"),
        ("socks4a://proxy.example", "its scheme"),
        ("http://", "no host"),
        ("http:///", "no host"),
        ("http://:3128", "no host"),
        ("http://name:password@", "no host"),
        ("http://name:password@:3128", "no host"),
        ("http://proxy.example:0", "port"),
        ("http://proxy.example:65536", "port"),
        ("http://proxy.example:http", "the port is not a number"),
        ("http://proxy.example:80:80", "host:port"),
        ("http://::1:3128", "between two brackets"),
        ("http://[::1", "between two brackets"),
        ("http://[::g]", "IPv6"),
        ("http://[fe80::1%eth0]", "zone"),
        ("http://pro*xy.example", "host name"),
        ("http://a..b", "host name"),
        ("http://☃.example", "IDNA"),
        (" http://proxy.example", "which no URL can have"),
        ("http://proxy.example\n", "which no URL can have"),
        ("http://proxy.example\r\nEvil: 1", "which no URL can have"),
        ("http://na me@proxy.example", "which no URL can have"),
        ("http://na%3Ame:password@proxy.example", "colon"),
        ("http://name:pass%0Aword@proxy.example", "control"),
        ("http://name:\ud800@proxy.example", "percent-encoded"),
        ("http://name:pass@word@proxy.example", "percent-encoded"),
        ("http://trusted.example\\@proxy.example", "percent-encoded"),
        ("socks5://:password@proxy.example", "1 to 255 bytes"),
        (f"socks5://{'n' * 256}@proxy.example", "1 to 255 bytes"),
        (f"socks5://{'%C3%BC' * 128}@proxy.example", "1 to 255 bytes"),
        (f"socks5h://name:{'p' * 256}@proxy.example", "at most 255"),
    ],
)
def test_url_that_no_proxy_can_have_is_refused(url: str, problem: str):
    with pytest.raises(ValueError, match=f"^invalid proxy URL: .*{problem}") as caught:
        Proxy(url)
    assert caught.value.__cause__ is None
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", [None, b"http://proxy.example", 1, Proxy("http://proxy.example")])
def test_url_is_a_str(url: object):
    with pytest.raises(TypeError, match="a proxy's URL has to be str, not "):
        Proxy(url)


@settings(deadline=None)
@given(st.text(st.sampled_from("ahps5:/@[]?#%.1\r\n☃ü\ud800"), max_size=20))
def test_any_text_is_a_proxy_or_a_value_error(rest: str):
    try:
        proxy = Proxy(f"http://{rest}")
    except ValueError:
        return
    assert proxy.host
    assert 1 <= proxy.port <= 65_535
    shown = Proxy(str(proxy))
    assert (shown.host, shown.port) == (proxy.host, proxy.port)


# Who we are


@pytest.mark.parametrize(
    ("userinfo", "name", "password"),
    [
        ("name:password", b"name", b"password"),
        ("name", b"name", b""),
        ("name:", b"name", b""),
        ("name:pass:word", b"name", b"pass:word"),
        ("na%40me:pass%2Fwo%20rd", b"na@me", b"pass/wo rd"),
        ("j%C3%B6rg:%C3%BC", b"j\xc3\xb6rg", b"\xc3\xbc"),
        ("name:%FF", b"name", b"\xff"),
        (f"{'n' * 255}:{'p' * 255}", b"n" * 255, b"p" * 255),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_userinfo_is_name_and_password(scheme: str, userinfo: str, name: bytes, password: bytes):
    proxy = Proxy(f"{scheme}://{userinfo}@proxy.example:1")
    assert proxy.credentials == (name, password)
    assert (proxy.host, proxy.port) == ("proxy.example", 1)


def test_basic_takes_what_socks_has_no_room_for():
    assert Proxy(f"http://:{'p' * 256}@proxy.example").credentials == (b"", b"p" * 256)


@pytest.mark.parametrize("userinfo", ["", "@"])
def test_without_userinfo_there_are_no_credentials(userinfo: str):
    proxy = Proxy(f"http://{userinfo}proxy.example")
    assert proxy.credentials is None
    assert proxy.fields == []


def test_userinfo_of_an_http_proxy_is_sent_as_basic():
    proxy = Proxy("https://na%40me:pass:w%C3%B6rd@proxy.example")
    assert proxy.fields == [("Proxy-Authorization", basic("na@me:pass:wörd"))]


# As a value


def test_proxy_is_frozen_and_equal_by_its_arguments():
    proxy = Proxy("http://name:password@proxy.example", {"X-A": "1"})
    same = Proxy("http://name:password@proxy.example", [("X-A", "1")])
    assert proxy == same
    assert hash(proxy) == hash(same)
    assert proxy != Proxy("http://name:other@proxy.example", {"X-A": "1"})
    assert proxy != Proxy("http://name:password@proxy.example", {"X-A": "2"})
    with pytest.raises(AttributeError):
        proxy.url = "http://other.example"


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda proxy: pickle.loads(pickle.dumps(proxy))]
)
def test_proxy_can_be_copied_and_pickled(again):
    proxy = Proxy("https://name:password@proxy.example", {"X-A": "1"})
    assert again(proxy) == proxy
    assert again(proxy).fields == proxy.fields


def test_proxy_can_be_replaced_in_part():
    proxy = Proxy("http://name:password@proxy.example", {"X-A": "1"})
    other = dataclasses.replace(proxy, url="https://other.example")
    assert other == Proxy("https://other.example", {"X-A": "1"})


# What is shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://name:s3cret@proxy.example", "http://proxy.example:80"),
        ("HTTPS://s3cret@Proxy.example/", "https://proxy.example:443"),
        ("socks5h://name:s3cret@[::1]", "socks5h://[::1]:1080"),
        ("socks://name:s3cret@[::1]", "socks5h://[::1]:1080"),
        ("socks5://name:s3cret%40s3cret@127.0.0.1:9050", "socks5://127.0.0.1:9050"),
    ],
)
def test_proxy_is_shown_without_its_credentials(url: str, shown: str):
    proxy = Proxy(url)
    assert str(proxy) == shown
    assert f"{proxy}" == shown
    for text in (repr(proxy), repr([proxy])):
        assert proxy.host in text
        assert str(proxy.port) in text
        assert "s3cret" not in text


def test_header_is_not_shown():
    proxy = Proxy("http://proxy.example", {"Proxy-Authorization": "Bearer s3cret"})
    assert "s3cret" not in repr(proxy) + str(proxy)


S3CRET_URL = "http://s3cret:s3cret@proxy.example"
SHOWING_NOTHING = {
    "no scheme": {"url": "s3cret:s3cret@proxy.example"},
    "another scheme": {"url": "ftp://s3cret:s3cret@proxy.example"},
    "a path": {"url": f"{S3CRET_URL}/s3cret"},
    "a slash in it": {"url": "http://s3cret:s3c/s3cret@proxy.example"},
    "a space in it": {"url": "http://s3cret:s3cret @proxy.example"},
    "a line in it": {"url": "http://s3cret:s3cret%0A@proxy.example"},
    "a colon in it": {"url": "http://s3cret%3A:s3cret@proxy.example"},
    "a surrogate in it": {"url": "http://s3cret:s3cret\ud800@proxy.example"},
    "too long for SOCKS": {"url": f"socks5://s3cret:{'s3cret' * 50}@proxy.example"},
    "no host": {"url": "http://s3cret:s3cret@"},
    "no port": {"url": "http://s3cret:s3cret@proxy.example:0"},
    "no host name": {"url": "http://s3cret:s3cret@pro*xy"},
    "no IDNA": {"url": "http://s3cret:s3cret@☃"},
    "headers with SOCKS": {
        "url": "socks5://s3cret:s3cret@proxy.example",
        "headers": {"X-A": "s3cret"},
    },
    "a header of the request": {"url": S3CRET_URL, "headers": {"Host": "s3cret"}},
    "a header with a line": {"url": S3CRET_URL, "headers": {"X-A": "s3cret\n"}},
    "a header with a space": {"url": S3CRET_URL, "headers": {"X-A": " s3cret"}},
    "a header of bytes": {"url": S3CRET_URL, "headers": {"X-A": b"s3cret"}},
    "a header that is no pair": {"url": S3CRET_URL, "headers": ["s3cret"]},
    "another context": {"url": S3CRET_URL, "ssl_context": "s3cret"},
    "a context without TLS": {"url": S3CRET_URL, "ssl_context": ssl.create_default_context()},
}


@pytest.mark.parametrize("arguments", SHOWING_NOTHING.values(), ids=SHOWING_NOTHING)
def test_no_error_shows_a_credential(arguments: dict[str, object]):
    with pytest.raises((ValueError, TypeError)) as caught:
        Proxy(**arguments)
    assert "s3cret" not in shown_of(caught.value)
