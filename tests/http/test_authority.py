"""Userinfo, host and port by themselves; how a whole URL is read is in ``test_url``."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shown import shown_of

from trio_wsclient._http.authority import (
    basic,
    bracket,
    check_sendable,
    parse_host_port,
    parse_userinfo,
)


@pytest.mark.parametrize(
    ("host_port", "host", "port"),
    [
        ("example.org", "example.org", None),
        ("example.org:", "example.org", None),
        ("example.org:80", "example.org", 80),
        ("127.0.0.1:65535", "127.0.0.1", 65_535),
        ("[::1]", "::1", None),
        ("[::1]:", "::1", None),
        ("[0:0::1]:443", "::1", 443),
    ],
)
def test_port_that_is_not_named_is_none(host_port: str, host: str, port: int | None):
    assert parse_host_port(host_port) == (host, port)


@pytest.mark.slow
@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9_]{1,20}){0,5}", fullmatch=True),
    ),
    st.integers(1, 65_535),
)
def test_what_is_put_together_is_parsed_to_the_same(host: str, port: int):
    assert parse_host_port(f"{bracket(host)}:{port}") == (host, port)


@pytest.mark.parametrize(
    ("host", "bracketed"),
    [("example.org", "example.org"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")],
)
def test_brackets_are_for_ipv6_alone(host: str, bracketed: str):
    assert bracket(host) == bracketed


@pytest.mark.parametrize(
    ("userinfo", "name", "password"),
    [
        ("", b"", b""),
        ("name", b"name", b""),
        ("name:", b"name", b""),
        (":password", b"", b"password"),
        ("name:pass:word", b"name", b"pass:word"),
        ("name:pass%3Aword", b"name", b"pass:word"),
        ("%C3%BC:%c3%bc", b"\xc3\xbc", b"\xc3\xbc"),
        ("%FF:%80", b"\xff", b"\x80"),  # In no encoding that we know of; still it can be sent.
        ("a+b:c+d", b"a+b", b"c+d"),
        ("-._~!$&'()*+,;=:", b"-._~!$&'()*+,;=", b""),
    ],
)
def test_userinfo_is_a_name_and_a_password_in_bytes(userinfo: str, name: bytes, password: bytes):
    assert parse_userinfo(userinfo) == (name, password)
    assert (
        base64.b64decode(basic((name, password)).removeprefix("Basic ")) == name + b":" + password
    )


@pytest.mark.parametrize(
    "userinfo",
    [*'@\\[]/?#"<>^`{|}', "ü", "\ud800", "\uff20", "%", "%4", "%zz", "100%:", "a:%"],
)
def test_e38_userinfo_outside_the_grammar_is_rejected(userinfo: str):
    for text in (userinfo, f"name:{userinfo}", f"name{userinfo}name"):
        with pytest.raises(ValueError, match="percent-encoded"):
            parse_userinfo(text)


@pytest.mark.parametrize(
    "character", ["\0", "\t", "\n", "\r", " ", "\x7f", "\x9f", "\xa0", "\u2029"]
)
def test_line_breaks_and_separators_are_not_sendable(character: str):
    with pytest.raises(ValueError, match=r"it has '.*' at index 13, which no URL can have"):
        check_sendable(f"http://s3cret{character}")


@pytest.mark.parametrize("text", ["", "!~", "ü\u3000。\ud800"])
def test_all_else_is_left_to_those_who_read_it(text: str):
    assert check_sendable(text) is None


SECRETS = {
    "no host": (parse_host_port, ":s3cret"),
    "two ports": (parse_host_port, "s3cret:80:80"),
    "port out of range": (parse_host_port, "s3cret:65536"),
    "a port that is none": (parse_host_port, "host:s3cret"),
    "a long port": (parse_host_port, "host:" + "4" * 5000),
    "not IPv6": (parse_host_port, "[s3cret]"),
    "a zone": (parse_host_port, "[::1%s3cret]"),
    "a character": (parse_host_port, "s3cret*"),
    "an empty label": (parse_host_port, "s3cret..org"),
    "a long label": (parse_host_port, "s3cret" * 20),
    "a long name": (parse_host_port, "s3cret." * 50),
    "not IDNA": (parse_host_port, "s3cret☃"),
    "a colon in the name": (parse_userinfo, "s3cret%3A:s3cret"),
    "a control character": (parse_userinfo, "s3cret:s3cret%0A"),
    "not percent-encoded": (parse_userinfo, "s3cret:s3cret@"),
    "a space": (check_sendable, "s3cret s3cret"),
}


@pytest.mark.parametrize(("parse", "text"), SECRETS.values(), ids=SECRETS)
def test_no_error_quotes_what_was_parsed(parse, text: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 whatever it says
        parse(text)
    assert "s3cret" not in shown_of(caught.value)
    assert "4444" not in shown_of(caught.value)
