"""Answers with another status than 101: rejections, with what came of their bodies."""

from __future__ import annotations

import tracemalloc

import pytest
from handshake_tables import REJECTIONS, feed, handshake, outcome_of, rejection


@pytest.mark.parametrize(("answer", "expected"), REJECTIONS.values(), ids=REJECTIONS)
def test_another_status_than_101_is_a_rejection(answer: bytes, expected: tuple[int, bytes]):
    kind, status_code, _, body, is_complete = outcome_of(answer)
    assert (kind, is_complete) == ("rejected", True)
    assert (status_code, body) == expected


def test_rejection_has_its_headers():
    shake = handshake()
    lines = ["WWW-Authenticate: Basic", "www-authenticate: Bearer", "Content-Length: 0"]
    feed(shake, rejection("401 Unauthorized", *lines))
    headers = shake.response.headers
    assert headers.get_all("WWW-Authenticate") == ["Basic", "Bearer"]
    assert headers.raw[0] == ("WWW-Authenticate", "Basic")


def test_rejection_is_known_before_its_body_has_come():
    shake = handshake()
    feed(shake, rejection("403 Forbidden", "Content-Length: 3"))
    assert shake.rejected
    assert not shake.complete
    assert shake.body == b""
    feed(shake, b"no")
    assert not shake.complete
    assert shake.body == b"no"
    feed(shake, b".")
    assert shake.complete


def test_body_without_a_length_ends_with_tcp():
    shake = handshake()
    feed(shake, rejection("403 Forbidden", body=b"no"), b".")
    assert not shake.complete
    feed(shake, b"")
    assert shake.complete
    assert shake.body == b"no."


@pytest.mark.parametrize("line", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_rejection_stays_one_though_tcp_ends_within_its_body(line: str):
    shake = handshake()
    feed(shake, rejection("403 Forbidden", line, body=b"5\r\nno"), b"")
    assert shake.complete
    assert shake.response.status_code == 403
    assert shake.body.endswith(b"no")


def test_rejection_stays_one_though_its_body_is_broken():
    shake = handshake()
    feed(shake, rejection("403 Forbidden", "Transfer-Encoding: chunked", body=b"2\r\nnoJUNK"))
    assert shake.complete
    assert shake.response.status_code == 403
    assert shake.body == b"no"


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines", [[], ["Content-Length: 1000000000000"], ["Transfer-Encoding: chunked"]]
)
@pytest.mark.parametrize("size", [1, 1000, 65536, 1_000_000])
def test_of_a_body_without_end_64_kib_are_kept(lines: list[str], size: int):
    shake = handshake()
    chunk = b"f4240\r\n" if lines == ["Transfer-Encoding: chunked"] else b""
    feed(shake, rejection("403 Forbidden", *lines, body=chunk))
    taken = 0
    while not shake.complete:
        assert taken < 65536
        shake.receive_data(b"x" * size)
        taken += size
    assert shake.body == b"x" * 65536


def test_nothing_is_allocated_by_the_length_that_a_rejection_claims():
    shake = handshake()
    tracemalloc.start()
    try:
        feed(shake, rejection("403 Forbidden", f"Content-Length: {2**62}", body=b"no"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shake.body == b"no"
    assert peak < 1_000_000
