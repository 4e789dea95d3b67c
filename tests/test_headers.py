"""Header fields: read in any case, several a name; sent only if they can stand in a request."""

from __future__ import annotations

import pickle

import pytest

from trio_wsclient import Headers
from trio_wsclient._headers import check_field, is_token

COOKIES = Headers([("Set-Cookie", "a=1"), ("Server", "x"), ("set-cookie", "b=2")])


def test_a_name_is_found_in_any_case():
    assert COOKIES["SERVER"] == COOKIES["server"] == "x"
    assert "sErVeR" in COOKIES


def test_a_name_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError, match="Date"):
        COOKIES["Date"]
    assert COOKIES.get("Date") is None
    assert COOKIES.get_all("Date") == []
    assert COOKIES.tokens("Date") == []


def test_several_values_of_a_name_are_joined_or_apart():
    assert COOKIES["Set-Cookie"] == "a=1, b=2"
    assert COOKIES.get_all("SET-COOKIE") == ["a=1", "b=2"]


def test_it_is_a_mapping_of_each_name_once():
    assert list(COOKIES) == ["set-cookie", "server"]
    assert len(COOKIES) == 2
    assert dict(COOKIES) == {"set-cookie": "a=1, b=2", "server": "x"}


def test_raw_has_every_field_as_it_came_in_order():
    assert COOKIES.raw == (("Set-Cookie", "a=1"), ("Server", "x"), ("set-cookie", "b=2"))


def test_without_fields_it_is_empty():
    assert not Headers()
    assert list(Headers()) == []


def test_the_case_of_names_makes_no_difference_to_equality():
    assert Headers([("A", "1")]) == Headers([("a", "1")])
    assert Headers([("A", "1")]) != Headers([("A", "2")])


def test_the_members_of_a_list_are_collected_over_all_fields():
    headers = Headers([("Connection", "a,b , ,c"), ("connection", ""), ("CONNECTION", "\td ")])
    assert headers.tokens("Connection") == ["a", "b", "c", "d"]


def test_its_repr_makes_it_again():
    assert eval(repr(COOKIES)).raw == COOKIES.raw


def test_it_pickles():
    assert pickle.loads(pickle.dumps(COOKIES)).raw == COOKIES.raw


@pytest.mark.parametrize("text", ["chat", "v1.json", "!#$%&'*+-.^_`|~09AZaz"])
def test_a_token_is_one(text: str):
    assert is_token(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a,b", 'a"b', "a/b", "a\n", "ä", "a\x00", "a:b", "a@b"]
)
def test_this_is_no_token(text: str):
    assert not is_token(text)


@pytest.mark.parametrize("value", ["", "a", 'a, b; c="d" (e)', "a\tb"])
def test_a_value_of_printable_ascii_and_tabs_can_be_sent(value: str):
    assert check_field("X-Name", value) is None


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "a\x00"])
def test_a_name_that_is_no_token_is_refused(name: str):
    with pytest.raises(ValueError, match="not a header's name"):
        check_field(name, "value")


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\n", "\r", "\x00", "\x1b[2J", "\x7f", "é"])
def test_a_value_that_can_not_be_sent_is_refused_and_not_shown(value: str):
    with pytest.raises(ValueError, match="'X-Name' has a character") as caught:
        check_field("X-Name", f"secret{value}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [" ", "\t", " secret", "secret\t"])
def test_a_value_with_white_space_around_it_is_refused(value: str):
    with pytest.raises(ValueError, match="'X-Name' has white space around it") as caught:
        check_field("X-Name", value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [(b"A", "secret"), ("A", b"secret"), ("A", None)])
def test_a_header_that_is_no_pair_of_str_is_refused_and_not_shown(name: object, value: object):
    with pytest.raises(TypeError, match="pair of str") as caught:
        check_field(name, value)
    assert "secret" not in str(caught.value)
