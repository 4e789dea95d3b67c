"""What goes with a proxy's URL: header fields of CONNECT, and TLS of its own."""

from __future__ import annotations

import base64
import ssl
from types import MappingProxyType

import pytest

from trio_wsclient import Headers, Proxy

BASIC = "Basic " + base64.b64encode(b"name:password").decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "X-B": "2"},
        MappingProxyType({"X-A": "1", "X-B": "2"}),
        [("X-A", "1"), ("X-B", "2")],
        [["X-A", "1"], ["X-B", "2"]],
        (pair for pair in [("X-A", "1"), ("X-B", "2")]),
        Headers([("X-A", "1"), ("X-B", "2")]),
    ],
    ids=["dict", "mapping", "pairs", "lists", "generator", "Headers"],
)
def test_headers_are_a_mapping_or_pairs(headers):
    proxy = Proxy("http://proxy.example", headers)
    for _ in range(2):  # A generator is taken once, and its pairs are kept.
        assert [(name.title(), value) for name, value in proxy.fields] == [
            ("X-A", "1"),
            ("X-B", "2"),
        ]


def test_repeated_header_is_sent_in_its_place():
    headers = [("X-A", "1"), ("x-b", ""), ("X-A", "a\tb")]
    assert Proxy("http://proxy.example", headers).fields == headers


def test_headers_are_kept_from_later_changes():
    headers = {"X-A": "1"}
    proxy = Proxy("http://proxy.example", headers)
    headers["X-A"] = "2"
    proxy.fields.append(("X-B", "3"))
    assert proxy.fields == [("X-A", "1")]


@pytest.mark.parametrize("name", ["Proxy-Authorization", "proxy-authorization"])
def test_header_that_authorizes_goes_before_userinfo(name: str):
    headers = [("X-A", "1"), (name, "Bearer token")]
    assert Proxy("http://name:password@proxy.example", headers).fields == headers


def test_other_headers_go_with_userinfo():
    headers = [("Authorization", "x"), ("Proxy-Authenticate", "y")]
    proxy = Proxy("http://name:password@proxy.example", headers)
    assert proxy.fields == [*headers, ("Proxy-Authorization", BASIC)]


@pytest.mark.parametrize(
    "headers",
    [
        "X-A: 1",
        b"X-A: 1",
        5,
        None,
        ["ab"],
        [("X-A", "1", "2")],
        [("X-A",)],
        [("X-A", b"1")],
        [(b"X-A", "1")],
        [("X-A", None)],
        {"X-A": ["1", "2"]},
        {1: "1"},
        [None],
    ],
    ids=repr,
)
def test_headers_of_another_type_are_a_type_error(headers):
    with pytest.raises(TypeError):
        Proxy("http://proxy.example", headers)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("", "1", "headers: the name in item 0 can't be sent: "),
        ("X A", "1", "headers: the name in item 0 can't be sent: "),
        ("X-A:", "1", "headers: the name in item 0 can't be sent: "),
        ("X-A\r\nEvil", "1", "headers: the name in item 0 can't be sent: "),
        ("X-Ä", "1", "headers: the name in item 0 can't be sent: "),
        ("X-A", "1\r\nEvil: 1", "can't be sent"),
        ("X-A", "1\n", "white space around it"),
        ("X-A", "\0", "can't be sent"),
        ("X-A", "é", "can't be sent"),
        ("X-A", " 1", "white space"),
        ("X-A", "1\t", "white space"),
        ("Host", "example.org", "can't be set"),
        ("CONNECTION", "close", "can't be set"),
        ("Upgrade", "websocket", "can't be set"),
        ("content-length", "5", "can't be set"),
        ("Transfer-Encoding", "chunked", "can't be set"),
    ],
)
def test_header_that_can_not_be_sent_is_a_value_error(name: str, value: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        Proxy("http://proxy.example", {name: value})


# What fits the scheme


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_proxy_takes_no_headers(scheme: str):
    with pytest.raises(ValueError, match="a SOCKS proxy takes no headers"):
        Proxy(f"{scheme}://proxy.example", {"X-A": "1"})
    assert Proxy(f"{scheme}://proxy.example", {}).fields == []


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_proxy_without_tls_takes_no_context(scheme: str):
    with pytest.raises(ValueError, match="ssl_context of Proxy is for an https proxy"):
        Proxy(f"{scheme}://proxy.example", ssl_context=ssl.create_default_context())


def test_https_proxy_may_have_a_context_of_its_own():
    context = ssl.create_default_context()
    assert Proxy("https://proxy.example", ssl_context=context).ssl_context is context
    assert Proxy("https://proxy.example").ssl_context is None


@pytest.mark.parametrize("context", [True, "ca.pem", ssl.SSLContext])
def test_context_is_one_of_ssl(context: object):
    with pytest.raises(TypeError, match=r"ssl_context has to be an ssl\.SSLContext or None"):
        Proxy("https://proxy.example", ssl_context=context)
