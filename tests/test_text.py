"""Text from the peer, made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient._text import escape_controls, quote, shorten


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain ä ☃", "plain ä ☃"),
        ("", ""),
        ("\x00\x07\t\n\r\x1b\x7f", r"\x00\x07\t\n\r\x1b\x7f"),
        ("\x85\x9b", r"\x85\x9b"),  # C1: NEL ends a line, CSI begins a control sequence
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202e\u200b", r"\u202e\u200b"),  # these reverse or hide text
        ("\ud800", r"\ud800"),
        ("a\\n", "a\\n"),
    ],
)
def test_escape_controls_escapes_what_terminals_obey(text: str, escaped: str):
    assert escape_controls(text) == escaped


@settings(deadline=None)
@given(st.text(st.characters()))
def test_escape_controls_makes_any_text_one_printable_line(text: str):
    assert escape_controls(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("", ""),
        ("abc", "abc"),
        ("abcd", "abc..."),
        ("abcdefghi", "abc..."),
        ("ä☃\ud800", "ä☃\ud800"),
    ],
)
def test_shorten_marks_what_it_removed(text: str, shortened: str):
    assert shorten(text, 3) == shortened


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", "plain"),
        ("\x1b[2J\n\x9b", r"\x1b[2J\n\x9b"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        ("\n" * 150, r"\n" * 100 + "..."),
    ],
)
def test_quote_makes_one_short_line(text: str, quoted: str):
    assert quote(text) == quoted
