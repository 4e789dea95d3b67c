"""Which extensions are offered, and which are in use after the answer (RFC 6455 §9.1)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import wire
from extensions import Named, Picky, Unoffered
from handshake_tables import complete, switching, upgrade
from wsproto.extensions import Extension

from trio_wsclient import Headers, InvalidResponse, _headers
from trio_wsclient._http.excerpts import Excerpts
from trio_wsclient._http.negotiation import NegotiationError, check_extensions, negotiate, offer
from trio_wsclient._http.upgrade import HTTP11Upgrade


def negotiated(extensions: Sequence[Extension], *values: str) -> tuple[Extension, ...]:
    """Return what is in use after an answer with such headers."""
    headers = Headers(("Sec-WebSocket-Extensions", value) for value in values)
    return negotiate(extensions, offer(extensions), headers, Excerpts())


# What a user passes


def test_extensions_are_frozen_in_their_order():
    a, b = Named("a"), Named("b")
    assert check_extensions(iter([a, b])) == (a, b)


@pytest.mark.parametrize("wrong", [[None], ["permessage-deflate"], [Named], [object()]])
def test_what_is_no_extension_is_a_type_error(wrong: Sequence[Extension]):
    with pytest.raises(TypeError, match="wsproto"):
        check_extensions(wrong)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a;b", "ä", "a\r\n"])
def test_name_that_cannot_be_offered_is_a_value_error(name: str):
    with pytest.raises(ValueError, match=r"^extensions: .* can't be offered: it "):
        check_extensions([Named(name)])


def test_extension_is_for_one_place():
    extension = Named("a")
    with pytest.raises(ValueError, match="twice"):
        check_extensions([extension, Named("b"), extension])


def test_two_extensions_may_have_one_name():
    extensions = (Named("a"), Named("a"))
    assert check_extensions(extensions) == extensions


# The offer


@pytest.mark.parametrize(
    ("offers", "value"),
    [
        ([], ""),
        ([True], "x1"),
        ([""], "x1"),
        (["a; b=1"], "x1; a; b=1"),
        ([False], ""),
        ([None], ""),
        ([True, False, "a", None, ""], "x1, x3; a, x5"),
    ],
)
def test_extensions_are_offered_in_their_order_with_their_parameters(offers, value: str):
    extensions = [Named(f"x{number}", given) for number, given in enumerate(offers, start=1)]
    assert offer(extensions) == value


@pytest.mark.parametrize("params", ["a\r\nX: y", "ä", "=1", "a b", "a; ;b", 'a="b c"'])
def test_parameters_that_cannot_be_offered_are_a_value_error(params: str):
    with pytest.raises(ValueError, match=r"Sec-WebSocket-Extensions|parameter"):
        offer([Named("a", params)])


def test_offer_is_one_header_of_the_request():
    extensions = [Named("a", "p=1"), Named("b")]
    shake = upgrade(extensions=extensions)
    assert b"\r\nSec-WebSocket-Extensions: a; p=1, b\r\n" in shake.request_data


# The answer


@pytest.mark.parametrize("values", [["b; p=1; q, a"], ["b;p=1; q", "a"], ["", ",b; p=1;q,,a, "]])
def test_order_is_that_of_the_answer(values: list[str]):
    a, b, c = Named("a"), Named("b"), Named("c")
    assert negotiated([a, b, c], *values) == (b, a)
    assert (a.answer, c.answer) == ("a", None)
    assert b.answer is not None
    assert b.answer.replace(" ", "") == "b;p=1;q"


@pytest.mark.parametrize("values", [[], [""], [" , "]])
def test_server_may_accept_none(values: list[str]):
    assert negotiated([Named("a"), Named("b")], *values) == ()


def test_what_works_without_negotiation_goes_before_what_is_negotiated():
    a, b, c, d = Named("a"), Unoffered("b"), Named("c"), Unoffered("d")
    assert negotiated([a, b, c, d], "c, a") == (b, d, c, a)
    assert negotiated([a, b, c, d]) == (b, d)


def test_offered_extension_that_was_not_accepted_is_unused():
    assert negotiated([Named("a", enabled=True)]) == ()


def test_what_is_neither_offered_nor_enabled_is_not_in_use():
    assert negotiated([Named("a", False)]) == ()


def test_two_of_one_name_take_an_answer_each():
    first, second = Named("a", "p=1"), Named("a", "p=2")
    assert negotiated([first, second], "a; p=1, a; p=2") == (first, second)
    assert (first.answer, second.answer) == ("a; p=1", "a; p=2")


WRONG = {
    "not offered": (["c"], "'c' was not offered"),
    "not offered beside another": (["a, c; p=1"], "'c' was not offered"),
    "in use without negotiation": (["free"], "'free' was not offered"),
    "in another case": (["A"], "'A' was not offered"),
    "twice": (["a, a"], "'a' accepted twice"),
    "twice in two fields": (["a; p=1", "b, a; p=2"], "'a' accepted twice"),
    "not the grammar": (["a; =1"], "not a parameter of an extension: '=1'"),
    "no name": (["; a"], "not an extension's name: ''"),
    "a long name": (["c" * 60_000], f"'{'c' * 200}...' was not offered"),
}


@pytest.mark.parametrize(("values", "problem"), WRONG.values(), ids=WRONG)
def test_response_that_does_not_fit_the_offer_fails(values: list[str], problem: str):
    extensions = [Named("a"), Named("b"), Unoffered("free")]
    with pytest.raises(NegotiationError) as caught:
        negotiated(extensions, *values)
    assert str(caught.value) == f"header Sec-WebSocket-Extensions: {problem}"


def test_extension_that_rejects_the_response_fails_the_handshake():
    error = ValueError("unknown \x9b parameter")
    with pytest.raises(NegotiationError) as caught:
        negotiated([Picky("a", error)], "a; p=1")
    assert caught.value.__cause__ is error
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith("header Sec-WebSocket-Extensions: a: ")


# In the handshake


def shaken(extensions: Sequence[Extension], *lines: str) -> HTTP11Upgrade:
    shake = upgrade(extensions=extensions)
    shake.receive_data(complete(shake, switching(*lines)) + wire.text("behind"))
    return shake


def test_handshake_says_what_is_in_use_and_what_was_declined():
    a, b, c, free = Named("a"), Named("b"), Named("c"), Unoffered("free")
    shake = shaken([a, b, c, free], "Sec-WebSocket-Extensions: c")
    assert shake.accepted is not None
    assert shake.accepted.extensions == (free, c)
    assert shake._handshake.declined(shake.accepted) == ["a", "b"]
    assert shake.trailing_data == wire.text("behind")


def test_answer_is_taken_once_before_more_input():
    a = Named("a")
    shake = shaken([a], "Sec-WebSocket-Extensions: a")
    a.answer = None
    shake.receive_data(b"more")
    assert a.answer is None


@pytest.mark.parametrize("line", ["Sec-WebSocket-Extensions: a", "sec-websocket-extensions: a, b"])
def test_failing_negotiation_is_an_invalid_response(line: str):
    error = ValueError("no")
    with pytest.raises(InvalidResponse) as caught:
        shaken([Picky("a", error)], line)
    assert str(caught.value) == "header Sec-WebSocket-Extensions: a: no"
    assert caught.value.__cause__ is error


def test_response_with_what_was_not_offered_is_invalid():
    with pytest.raises(InvalidResponse) as caught:
        shaken([Named("a")], f"Sec-WebSocket-Extensions: {'c' * 60_000}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


# What would take long


def test_nothing_after_an_extension_that_was_not_offered_is_parsed(monkeypatch):
    parsed = []
    parse = _headers._parse_element
    monkeypatch.setattr(_headers, "_parse_element", lambda text: parsed.append(text) or parse(text))
    headers = Headers([("Sec-WebSocket-Extensions", "b, " * 1000)])
    with pytest.raises(NegotiationError, match="'b' was not offered"):
        negotiate([Named("a")], "a", headers, Excerpts())
    assert parsed == ["a", "b"]


def test_extension_may_have_256_parameters_and_not_one_more():
    extension = Named("a")
    assert negotiated([extension], "a" + "; b" * 256) == (extension,)
    problem = "more than 256 parameters of an extension: 'a'"
    with pytest.raises(NegotiationError, match=problem):
        negotiated([extension], "a" + "; b" * 257)
