"""However the bytes of an answer are cut, they mean the same."""

from __future__ import annotations

import pytest
import wire
from handshake_tables import (
    ACCEPTING,
    CONTINUE,
    FRAMES,
    JUNK,
    NOT_101,
    REJECTIONS,
    complete,
    handshake,
    outcome,
    rejection,
    switching,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ANSWERS = [
    *ACCEPTING.values(),
    *(answer + FRAMES for answer in ACCEPTING.values()),
    *(answer for answer, _ in NOT_101.values()),
    *JUNK.values(),
    *(answer for answer, _ in REJECTIONS.values()),
    rejection("403 Forbidden", body=b"until TCP ends"),
    rejection("403 Forbidden", "Content-Length: 100", body=b"cut off"),
    rejection("403 Forbidden", "Transfer-Encoding: chunked", body=b"2\r\nnoJUNK"),
    switching("Sec-WebSocket-Protocol: chat") + FRAMES,
    switching()[:-5],
    CONTINUE,
    b"",
]


def kind_of(found: tuple[object, ...]) -> tuple[object, ...]:
    """Leave out the words in which h11 says that something is not HTTP."""
    is_junk = found[0] == "invalid" and str(found[1]).startswith("not HTTP/1.1: ")
    return ("not HTTP",) if is_junk else found


@pytest.mark.parametrize("end", [[], [b""]], ids=["open", "ended"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_response_means_the_same_byte_by_byte(answer: bytes, end: list[bytes]):
    whole, cut = handshake("chat"), handshake("chat")
    data = complete(cut, answer)
    pieces = wire.cut(data, range(len(data)))
    expected = outcome(whole, *([complete(whole, answer)] if answer else []), *end)
    assert kind_of(outcome(cut, *(pieces if data else []), *end)) == kind_of(expected)


@settings(deadline=None)
@given(
    st.sampled_from(ANSWERS),
    st.lists(st.integers(1, 400), max_size=6),
    st.sampled_from([[], [b""]]),
)
def test_cutting_an_answer_anywhere_makes_no_difference(
    answer: bytes, positions: list[int], end: list[bytes]
):
    whole, cut = handshake("chat"), handshake("chat")
    data = complete(cut, answer)
    expected = outcome(whole, *([complete(whole, answer)] if answer else []), *end)
    pieces = wire.cut(data, positions) if data else []
    assert kind_of(outcome(cut, *pieces, *end)) == kind_of(expected)


@settings(deadline=None)
@given(st.binary(max_size=50), st.sampled_from([b"", b"HTTP/1.1 ", switching()[:-2], CONTINUE]))
def test_any_answer_is_invalid_or_rejected(junk: bytes, before: bytes):
    """No other exception leaves the handshake."""
    kind, *_ = outcome(handshake(), *(piece for piece in (before, junk) if piece), b"")
    assert kind in {"invalid", "rejected"}
