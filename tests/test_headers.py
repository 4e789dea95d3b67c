"""Header fields: the mapping of received fields, and the check of fields to send."""

from __future__ import annotations

import pickle

import pytest

from trio_wsclient import Headers
from trio_wsclient._headers import (
    check_field,
    check_fields,
    check_token,
    is_token,
)

COOKIES = Headers([("Set-Cookie", "a=1"), ("Server", "x"), ("set-cookie", "b=2")])


def test_headers_find_a_name_in_any_case():
    assert COOKIES["SERVER"] == COOKIES["server"] == "x"
    assert "sErVeR" in COOKIES


def test_headers_raise_key_error_when_name_is_missing():
    with pytest.raises(KeyError, match="Date"):
        COOKIES["Date"]
    assert COOKIES.get("Date") is None
    assert COOKIES.get_all("Date") == []
    assert COOKIES.tokens("Date") == []


def test_headers_join_values_and_get_all_does_not():
    assert COOKIES["Set-Cookie"] == "a=1, b=2"
    assert COOKIES.get_all("SET-COOKIE") == ["a=1", "b=2"]


def test_headers_are_a_mapping_of_unique_names():
    assert list(COOKIES) == ["set-cookie", "server"]
    assert len(COOKIES) == 2
    assert dict(COOKIES) == {"set-cookie": "a=1, b=2", "server": "x"}


def test_raw_keeps_every_field_in_order():
    assert COOKIES.raw == (("Set-Cookie", "a=1"), ("Server", "x"), ("set-cookie", "b=2"))


def test_headers_are_empty_when_there_are_no_fields():
    assert not Headers()
    assert list(Headers()) == []


def test_headers_are_equal_when_only_case_differs():
    assert Headers([("A", "1")]) == Headers([("a", "1")])
    assert Headers([("A", "1")]) != Headers([("A", "2")])


def test_tokens_come_from_all_fields_of_a_name():
    headers = Headers([("Connection", "a,b , ,c"), ("connection", ""), ("CONNECTION", "\td ")])
    assert headers.tokens("Connection") == ["a", "b", "c", "d"]


def test_headers_repr_makes_equal_headers():
    assert eval(repr(COOKIES)).raw == COOKIES.raw


def test_headers_can_be_pickled():
    assert pickle.loads(pickle.dumps(COOKIES)).raw == COOKIES.raw


@pytest.mark.parametrize("text", ["chat", "v1.json", "!#$%&'*+-.^_`|~09AZaz"])
def test_is_token_accepts_every_token_character(text: str):
    assert is_token(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a,b", 'a"b', "a/b", "a\n", "ä", "a\x00", "a:b", "a@b"]
)
def test_is_token_rejects_other_text(text: str):
    assert not is_token(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("a b", "it has ' ' at index 1"),
        ("aä", "it has a character that is not ASCII"),
    ],
)
def test_check_token_says_what_is_no_token(text: str, why: str):
    with pytest.raises(ValueError, match=f"^no token: {why}"):
        check_token(text, "no token")


@pytest.mark.parametrize("value", ["", "a", 'a, b; c="d" (e)', "a\tb"])
def test_check_field_accepts_printable_ascii_and_tabs(value: str):
    assert check_field("X-Name", value, "headers") is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "it is empty (RFC 9110 §5.6.2)"),
        ("secret b", "it has ' ' at index 6 (RFC 9110 §5.6.2)"),
        ("secret: secret", "it has ':' at index 6 (RFC 9110 §5.6.2)"),
        ("secret\r\nsecret", "it has '\\r' at index 6 (RFC 9110 §5.6.2)"),
        ("secretä", "it has a character that is not ASCII at index 6 (RFC 9110 §5.6.2)"),
    ],
)
def test_check_fields_hides_name_that_is_no_token(name: str, problem: str):
    with pytest.raises(ValueError, match="item 1") as caught:
        check_fields("headers", [("X", "secret"), (name, "secret")], own={})
    assert str(caught.value) == f"headers: the name in item 1 can't be sent: {problem}"


@pytest.mark.parametrize(("value", "kind"), [("secret ", ValueError), (5, TypeError)])
def test_check_fields_hides_long_name_that_may_be_a_value(value: object, kind: type[Exception]):
    with pytest.raises(kind, match=r"^headers: the value of header has") as caught:
        check_fields("headers", [("secret" * 6, value)], own={})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "\x00", "\x1b[2J", "\x7f", "é"])
def test_check_field_hides_value_that_cannot_be_sent(value: str):
    with pytest.raises(ValueError, match=r"'X-Name' can't be sent: at index [67]") as caught:
        check_field("X-Name", f"secret{value}", "headers")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [" ", "\t", " secret", "secret\t", "secret\n", "secret\r"])
def test_check_field_rejects_value_with_space_around_it(value: str):
    with pytest.raises(ValueError, match="'X-Name' has white space around it") as caught:
        check_field("X-Name", value, "headers")
    assert "secret" not in str(caught.value)
