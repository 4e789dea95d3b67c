"""The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._headers import parse_extensions

Element = tuple[str, tuple[tuple[str, str | None], ...]]
TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0aZ"


def parsed(value: str) -> list[Element]:
    return [(element.name, element.params) for element in parse_extensions(value)]


LEGAL: dict[str, tuple[str, list[Element]]] = {
    "nothing": ("", []),
    "white space": (" \t ", []),
    "empty elements": (" , ,,\t,", []),
    "a name": ("a", [("a", ())]),
    "a name of all kinds of characters": (TOKEN_CHARACTERS, [(TOKEN_CHARACTERS, ())]),
    "names in any case": ("a, A", [("a", ()), ("A", ())]),
    "a parameter without a value": ("a; b", [("a", (("b", None),))]),
    "a parameter with a value": ("a; b=c", [("a", (("b", "c"),))]),
    "a value of all kinds of characters": (
        f"a; b={TOKEN_CHARACTERS}",
        [("a", (("b", TOKEN_CHARACTERS),))],
    ),
    "a value in quotes": ('a; b="c"', [("a", (("b", "c"),))]),
    "parameters in their order": (
        "a; c=1; b; a=2",
        [("a", (("c", "1"), ("b", None), ("a", "2")))],
    ),
    "a parameter twice": ("a; b=1; b=1", [("a", (("b", "1"), ("b", "1")))]),
    "elements in their order": ("b; p=1, a, b", [("b", (("p", "1"),)), ("a", ()), ("b", ())]),
    "empty elements between others": (",a,,b; c,", [("a", ()), ("b", (("c", None),))]),
    "no white space": ("a;b=c;d,e;f", [("a", (("b", "c"), ("d", None))), ("e", (("f", None),))]),
    "white space everywhere": (
        ' a\t; b =\tc ; d = "e"\t,\t f ',
        [("a", (("b", "c"), ("d", "e"))), ("f", ())],
    ),
}


@pytest.mark.parametrize(("value", "elements"), LEGAL.values(), ids=LEGAL)
def test_parse_extensions_accepts_what_the_grammar_allows(value: str, elements: list[Element]):
    assert parsed(value) == elements


def test_element_keeps_its_text_without_surrounding_space():
    texts = [element.text for element in parse_extensions(' a;b = "1" ,, \tc ;d\t')]
    assert texts == ['a;b = "1"', "c ;d"]


NOT_A_NAME = {
    "a parameter alone": ("; b", ""),
    "a parameter alone in the second element": ("a, ;b", ""),
    "two words": ("a b", "a b"),
    "a value": ("a=b", "a=b"),
    "in quotes": ('"a"', '"a"'),
    "not ASCII": ("ä", "ä"),
    "a line break": ("a\n", "a\n"),
    "white space of another kind": ("\xa0a", "\xa0a"),
    "a control character": ("\x1b[2J", "\x1b[2J"),
}
NOT_A_PARAMETER = {
    "nothing": ("a;", ""),
    "nothing between others": ("a; b; ; c", ""),
    "a value alone": ("a; =1", "=1"),
    "an equals sign alone": ("a; =", "="),
    "no value after the equals sign": ("a; b=", "b="),
    "an empty value in quotes": ('a; b=""', 'b=""'),
    "one quote": ('a; b="', 'b="'),
    "no quote at the end": ('a; b="cd', 'b="cd'),
    "no quote at the beginning": ('a; b=cd"', 'b=cd"'),
    "quotes in quotes": ('a; b=""c""', 'b=""c""'),
    "other quotes around white space": ("a; b='c d'", "b='c d'"),
    "white space in quotes": ('a; b=" c "', 'b=" c "'),
    "something after the quotes": ('a; b="c"d', 'b="c"d'),
    "a semicolon in quotes": ('a; b="c;d"', 'b="c'),
    "a comma in quotes": ('a; b="c,d"', 'b="c'),
    "a name in quotes": ('a; "b"=c', '"b"=c'),
    "two names": ("a; b c=d", "b c=d"),
    "two values": ("a; b=c d", "b=c d"),
    "two equals signs": ("a; b==c", "b==c"),
    "an equals sign in the value": ("a; b=c=d", "b=c=d"),
    "a value that is not ASCII": ("a; b=ä", "b=ä"),
    "a NUL": ("a; b\0", "b\0"),
}


@pytest.mark.parametrize(("value", "shown"), NOT_A_NAME.values(), ids=NOT_A_NAME)
def test_error_shows_what_is_not_an_extension_name(value: str, shown: str):
    with pytest.raises(ValueError, match="extension's name") as caught:
        parse_extensions(value)
    assert str(caught.value) == f"not an extension's name: {shown!a}"


@pytest.mark.parametrize(("value", "shown"), NOT_A_PARAMETER.values(), ids=NOT_A_PARAMETER)
def test_error_shows_what_is_not_a_parameter(value: str, shown: str):
    with pytest.raises(ValueError, match="parameter") as caught:
        parse_extensions(value)
    assert str(caught.value) == f"not a parameter of an extension: {shown!a}"


@pytest.mark.parametrize("value", ["é" * 60_000, "a; " + "é" * 60_000, "a;b=" + "(" * 60_000])
def test_error_is_short_when_the_value_is_long(value: str):
    with pytest.raises(ValueError, match="not a") as caught:
        parse_extensions(value)
    assert str(caught.value).isascii()
    assert str(caught.value).endswith("...'")
    assert len(str(caught.value)) < 300


tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=4)
spaces = st.text(" \t", max_size=2)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(tokens, st.lists(st.tuples(tokens, st.none() | tokens), max_size=3))),
    st.data(),
)
def test_parse_extensions_ignores_white_space_and_quotes(
    elements: list[tuple[str, list[tuple[str, str | None]]]], data: st.DataObject
):
    def spaced(text: str) -> str:
        return data.draw(spaces) + text + data.draw(spaces)

    def written(name: str, value: str | None) -> str:
        if value is None:
            return spaced(name)
        quote = data.draw(st.sampled_from(["", '"']))
        return spaced(name) + "=" + spaced(f"{quote}{value}{quote}")

    value = ",".join(
        ";".join([spaced(name), *(written(*param) for param in params)])
        for name, params in elements
    )
    assert parsed(value) == [(name, tuple(params)) for name, params in elements]


@settings(deadline=None, max_examples=100)
@given(st.text('ab,;="\\ \t\xa0\n', max_size=20) | st.text(max_size=20))
def test_parse_extensions_returns_tokens_or_raises_printable_error(value: str):
    try:
        elements = parsed(value)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        for name, params in elements:
            words = [name, *(word for param in params for word in param if word is not None)]
            assert all(word.isascii() and word.isprintable() and " " not in word for word in words)
            assert not set("".join(words)) & set(',;="\\')
