"""Limits on the head of an answer: exact, and however it is cut."""

from __future__ import annotations

import pytest
import wire
from handshake_tables import (
    CONTINUE,
    EARLY_HINTS,
    FRAMES,
    complete,
    handshake,
    outcome,
    outcome_of,
    switching,
)

from trio_wsclient import InvalidResponse
from trio_wsclient._http.http11 import MAX_HEAD_SIZE


def head_of(size: int, *, status: str = "HTTP/1.1 101 OK", name: str = "X-Fill") -> bytes:
    """Make a good head of `size` bytes, in which ``<accept>`` counts its later length of 28."""
    shake = handshake()
    shortest = len(complete(shake, switching(f"{name}: ", status=status)))
    return switching(f"{name}: " + "x" * (size - shortest), status=status)


CUTS = {
    "whole": lambda data: [data],
    "in pieces of 1": lambda data: wire.cut(data, range(len(data))),
    "in pieces of 1000": lambda data: wire.cut(data, range(0, len(data), 1000)),
    "in pieces of 4096": lambda data: wire.cut(data, range(0, len(data), 4096)),
    "before the last byte": lambda data: wire.cut(data, [len(data) - 1]),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("interim", [b"", EARLY_HINTS * 100], ids=["alone", "after 103s"])
def test_head_of_65536_bytes_is_accepted_in_any_pieces(cut, interim: bytes):
    shake = handshake()
    head = interim + complete(shake, head_of(MAX_HEAD_SIZE - len(interim)))
    assert len(head) == MAX_HEAD_SIZE == 65536
    kind, *_, trailing_data = outcome(shake, *cut(head + FRAMES))
    assert (kind, trailing_data) == ("accepted", FRAMES)


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize(
    ("interim", "status"),
    [(b"", "101 OK"), (EARLY_HINTS * 100, "101 OK"), (b"", "403 Forbidden")],
    ids=["alone", "after 103s", "a rejection"],
)
def test_head_of_65537_bytes_is_rejected_in_any_pieces(cut, interim: bytes, status: str):
    shake = handshake()
    head = head_of(MAX_HEAD_SIZE + 1 - len(interim), status=f"HTTP/1.1 {status}")
    pieces = cut(interim + complete(shake, head) + b"after it")
    assert outcome(shake, *pieces) == ("invalid", "more than 65536 bytes of response headers")


@pytest.mark.parametrize(
    "junk",
    [
        switching()[:-2] + b"X-Name: " + b"a" * 1000,
        CONTINUE,
        EARLY_HINTS,
    ],
)
def test_headers_without_end_are_refused(junk: bytes):
    shake = handshake()
    for _ in range(MAX_HEAD_SIZE // len(junk)):
        shake.receive_data(junk)
    with pytest.raises(InvalidResponse, match="more than 65536 bytes of response headers"):
        shake.receive_data(junk)


def test_256_fields_are_accepted():
    assert outcome_of(switching(*["X-Name: a"] * 253))[0] == "accepted"


def test_257_fields_are_refused():
    assert outcome_of(switching(*["X-Name: a"] * 254)) == (
        "invalid",
        "more than 256 response headers",
    )
