"""Pings in flight, and the ping of the keepalive (RFC 6455 §5.5.2 and §5.5.3)."""

from __future__ import annotations

import pytest

from trio_wsclient._connection.pings import Flight, Pings, check_ping_payload


@pytest.mark.parametrize("payload", [b"", b"a", bytearray(b"a"), memoryview(b"a"), b"a" * 125])
def test_a_payload_of_up_to_125_bytes_can_be_sent(payload: bytes | bytearray | memoryview):
    frozen = check_ping_payload(payload)
    assert type(frozen) is bytes
    assert frozen == payload


def test_a_payload_is_frozen():
    payload = bytearray(b"a")
    frozen = check_ping_payload(payload)
    payload[0] = 0
    assert frozen == b"a"


def test_a_payload_of_126_bytes_can_not_be_sent():
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        check_ping_payload(b"a" * 126)


def test_the_length_of_a_payload_is_that_of_its_bytes():
    with pytest.raises(ValueError, match="at most 125 bytes, not 200"):
        check_ping_payload(memoryview(bytes(200)).cast("I"))


@pytest.mark.parametrize("payload", ["a", None, 5, [1]])
def test_a_payload_is_bytes_like(payload: object):
    with pytest.raises(TypeError, match="bytes-like"):
        check_ping_payload(payload)


def send(pings: Pings, payload: bytes, now: float) -> Flight:
    flight = pings.reserve(payload)
    pings.depart(payload, flight, now)
    return flight


def test_a_pong_answers_its_ping():
    pings = Pings()
    flight = send(pings, b"a", 10.0)
    assert flight.seconds is None
    assert pings.latency is None
    pings.answered(b"a", 10.5)
    assert flight.seconds == pings.latency == 0.5


def test_a_pong_answers_all_older_pings_too():
    pings = Pings()
    flights = [send(pings, b"a", 1.0), send(pings, b"b", 2.0), send(pings, b"c", 3.0)]
    pings.answered(b"b", 4.0)
    assert [flight.seconds for flight in flights] == [3.0, 2.0, None]
    assert pings.latency == 2.0
    pings.answered(b"c", 5.0)
    assert flights[2].seconds == 2.0


def test_the_order_is_that_of_sending_not_of_asking():
    pings = Pings()
    first_asked = pings.reserve(b"a")
    second_asked = pings.reserve(b"b")
    pings.depart(b"b", second_asked, 1.0)
    pings.depart(b"a", first_asked, 2.0)
    pings.answered(b"b", 3.0)
    assert second_asked.seconds == 2.0
    assert first_asked.seconds is None
    pings.answered(b"a", 4.0)
    assert first_asked.seconds == 2.0


def test_a_pong_says_nothing_of_a_ping_that_was_not_sent_yet():
    pings = Pings()
    waiting = pings.reserve(b"w")
    sent = send(pings, b"s", 1.0)
    pings.answered(b"w", 2.0)
    assert waiting.seconds is None
    pings.answered(b"s", 3.0)
    assert sent.seconds == 2.0
    assert waiting.seconds is None
    pings.depart(b"w", waiting, 4.0)
    pings.answered(b"w", 5.0)
    assert waiting.seconds == 1.0


def test_a_pong_that_nobody_asked_for_answers_nothing():
    pings = Pings()
    flight = send(pings, b"a", 1.0)
    pings.answered(b"b", 2.0)
    pings.answered(b"", 2.0)
    assert flight.seconds is None
    assert pings.latency is None


def test_a_second_pong_to_the_same_ping_answers_nothing():
    pings = Pings()
    send(pings, b"a", 1.0)
    pings.answered(b"a", 2.0)
    pings.answered(b"a", 9.0)
    assert pings.latency == 1.0


def test_a_payload_can_be_in_flight_only_once():
    pings = Pings()
    flight = pings.reserve(b"a")
    with pytest.raises(ValueError, match="in flight already"):
        pings.reserve(b"a")
    pings.depart(b"a", flight, 1.0)
    with pytest.raises(ValueError, match="in flight already"):
        pings.reserve(b"a")
    pings.answered(b"a", 2.0)
    pings.reserve(b"a")


def test_a_ping_that_is_forgotten_is_not_answered_and_its_payload_is_free():
    pings = Pings()
    forgotten = send(pings, b"a", 1.0)
    pings.forget(b"a", forgotten)
    pings.answered(b"a", 2.0)
    assert forgotten.seconds is None
    pings.reserve(b"a")


def test_forgetting_what_was_answered_does_nothing():
    pings = Pings()
    flight = send(pings, b"a", 1.0)
    pings.answered(b"a", 2.0)
    pings.forget(b"a", flight)
    assert flight.seconds == 1.0


def test_forgetting_a_ping_does_not_forget_another_with_the_same_payload():
    pings = Pings()
    first = send(pings, b"a", 1.0)
    pings.answered(b"a", 2.0)
    second = send(pings, b"a", 3.0)
    pings.forget(b"a", first)
    pings.answered(b"a", 5.0)
    assert second.seconds == 2.0


def test_before_the_first_keepalive_the_server_counts_as_alive():
    assert Pings().alive


def test_a_keepalive_that_waits_to_be_written_is_due_and_not_alive():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    assert pings.due == b"k"
    assert pings.silent_since == 5.0
    pings.heard = True  # what came before the ping was written proves nothing yet
    assert not pings.alive


def test_while_a_keepalive_waits_anything_that_moves_restarts_its_clock():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.moved(7.0)
    assert pings.silent_since == 7.0


def test_once_a_keepalive_is_handed_over_what_is_written_does_not_restart_its_clock():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.take_due(clock=8.0, now=108.0)
    pings.moved(9.0)
    assert pings.silent_since == 8.0


def test_ping_clock_restarts_when_the_stream_has_it():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.heard = True
    assert pings.take_due(clock=8.0, now=108.0) == b"k"
    assert pings.due is None
    assert pings.silent_since == 8.0
    assert not pings.heard
    assert not pings.alive


def test_anything_that_comes_after_the_keepalive_shows_life():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.take_due(clock=8.0, now=108.0)
    pings.heard = True
    assert pings.alive


def test_the_pong_of_a_keepalive_is_a_latency_too():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.take_due(clock=8.0, now=108.0)
    pings.answered(b"k", 108.25)
    assert pings.latency == 0.25


def test_a_keepalive_without_a_pong_does_not_stay_in_flight():
    pings = Pings()
    pings.request(b"k", clock=5.0)
    pings.take_due(clock=5.0, now=105.0)
    pings.request(b"l", clock=9.0)
    pings.take_due(clock=9.0, now=109.0)
    pings.answered(b"k", 110.0)
    assert pings.latency is None
    pings.answered(b"l", 110.0)
    assert pings.latency == 1.0
