"""Pings in flight, and the ping of the keepalive (RFC 6455 §5.5.2 and §5.5.3)."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._connection.pings import PendingPing, Pings, check_ping_payload
from trio_wsclient._scheduling import Stopwatch


@pytest.mark.parametrize("payload", [b"", b"a", bytearray(b"a"), memoryview(b"a"), b"a" * 125])
def test_payload_of_up_to_125_bytes_is_sent(payload: bytes | bytearray | memoryview):
    frozen = check_ping_payload(payload)
    assert type(frozen) is bytes
    assert frozen == payload


def test_payload_is_frozen():
    payload = bytearray(b"a")
    frozen = check_ping_payload(payload)
    payload[0] = 0
    assert frozen == b"a"


def test_payload_of_126_bytes_is_refused():
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        check_ping_payload(b"a" * 126)


def test_payload_is_measured_in_bytes():
    with pytest.raises(ValueError, match="at most 125 bytes, not 200"):
        check_ping_payload(memoryview(bytes(200)).cast("I"))


@pytest.mark.parametrize("payload", ["a", None, 5, [1]])
def test_payload_is_refused_unless_bytes_like(payload: object):
    with pytest.raises(TypeError, match="bytes-like"):
        check_ping_payload(payload)


@pytest.fixture
def pings():
    return Pings(Stopwatch())


def send(pings: Pings, payload: bytes, now: float) -> PendingPing:
    ping = pings.reserve(payload)
    pings.mark_sent(payload, ping, now)
    return ping


# Pings in flight


def test_pong_answers_its_ping(pings):
    ping = send(pings, b"a", 10.0)
    assert ping.seconds is None
    assert pings.latency is None
    pings.acknowledge(b"a", 10.5)
    assert ping.seconds == pings.latency == pings.smoothed_latency == 0.5


def test_pong_answers_all_older_pings(pings):
    sent = [send(pings, b"a", 1.0), send(pings, b"b", 2.0), send(pings, b"c", 3.0)]
    pings.acknowledge(b"b", 4.0)
    assert [ping.seconds for ping in sent] == [3.0, 2.0, None]
    assert pings.latency == 2.0
    pings.acknowledge(b"c", 5.0)
    assert sent[2].seconds == 2.0


def test_older_ping_is_the_one_sent_earlier(pings):
    """Not the one that was reserved earlier, for the order of two tasks may change."""
    first, second = pings.reserve(b"a"), pings.reserve(b"b")
    pings.mark_sent(b"b", second, 1.0)
    pings.mark_sent(b"a", first, 2.0)
    pings.acknowledge(b"b", 3.0)
    assert (first.seconds, second.seconds) == (None, 2.0)
    pings.acknowledge(b"a", 4.0)
    assert first.seconds == 2.0


def test_pong_does_not_answer_a_ping_still_unsent(pings):
    waiting = pings.reserve(b"w")
    sent = send(pings, b"s", 1.0)
    pings.acknowledge(b"w", 2.0)
    pings.acknowledge(b"s", 3.0)
    assert (waiting.seconds, sent.seconds) == (None, 2.0)
    pings.mark_sent(b"w", waiting, 4.0)
    pings.acknowledge(b"w", 5.0)
    assert waiting.seconds == 1.0


def test_unsolicited_pong_answers_nothing(pings):
    ping = send(pings, b"a", 1.0)
    pings.acknowledge(b"b", 2.0)
    pings.acknowledge(b"", 2.0)
    assert ping.seconds is pings.latency is None
    pings.acknowledge(b"a", 3.0)
    pings.acknowledge(b"a", 9.0)
    assert ping.seconds == pings.latency == 2.0


def test_payload_is_refused_while_in_flight(pings):
    ping = pings.reserve(b"a")
    with pytest.raises(ValueError, match="in flight already"):
        pings.reserve(b"a")
    pings.mark_sent(b"a", ping, 1.0)
    with pytest.raises(ValueError, match="in flight already"):
        pings.reserve(b"a")
    pings.acknowledge(b"a", 2.0)
    pings.reserve(b"a")


def test_forgotten_ping_is_not_answered(pings):
    forgotten = send(pings, b"a", 1.0)
    pings.forget(b"a", forgotten)
    pings.acknowledge(b"a", 2.0)
    assert forgotten.seconds is None
    pings.reserve(b"a")  # Its payload is free again.


def test_pong_of_a_forgotten_ping_answers_older_ones(pings):
    """RFC 6455 §5.5.3: a server may answer only the latest of several pings."""
    older, forgotten = send(pings, b"a", 1.0), send(pings, b"b", 2.0)
    pings.forget(b"b", forgotten)
    pings.acknowledge(b"b", 4.0)
    assert older.seconds == 3.0


def test_payload_of_a_forgotten_ping_is_free_again(pings):
    older, forgotten = send(pings, b"a", 1.0), send(pings, b"b", 2.0)
    pings.forget(b"b", forgotten)
    again = send(pings, b"b", 3.0)
    pings.acknowledge(b"b", 4.0)
    assert (older.seconds, again.seconds) == (3.0, 1.0)


def test_forgetting_an_answered_ping_does_nothing(pings):
    first = send(pings, b"a", 1.0)
    pings.acknowledge(b"a", 2.0)
    second = send(pings, b"a", 3.0)
    pings.forget(b"a", first)
    pings.acknowledge(b"a", 5.0)
    assert (first.seconds, second.seconds) == (1.0, 2.0)


async def test_ping_waits_for_pong_or_end(pings, nursery):
    async def wait(ping: PendingPing) -> None:
        await ping.wait()
        over.append(ping)

    over: list[PendingPing] = []
    sent = [send(pings, b"a", 1.0), send(pings, b"b", 2.0), pings.reserve(b"c")]
    for ping in sent:
        nursery.start_soon(wait, ping)
    await wait_all_tasks_blocked()
    pings.acknowledge(b"a", 3.0)
    await wait_all_tasks_blocked()
    assert over == sent[:1]
    pings.end_all()
    await wait_all_tasks_blocked()
    assert len(over) == 3
    assert sent[1].seconds is sent[2].seconds is None
    for ping in sent:
        await ping.wait()  # It is over already.


async def test_cancelled_wait_for_pong_wakes_nobody(pings):
    ping = send(pings, b"a", 1.0)
    with trio.move_on_after(0):
        await ping.wait()
    pings.acknowledge(b"a", 2.0)
    assert ping.seconds == 1.0


def seconds_to_answer(count: int) -> float:
    """Return the CPU seconds of a pong for the last of many pings."""
    pings = Pings(Stopwatch())
    for number in range(count):
        send(pings, b"%d" % number, 1.0)
    start = time.thread_time()
    pings.acknowledge(b"%d" % (count - 1), 2.0)
    assert pings.latency == 1.0
    return time.thread_time() - start


def seconds_to_answer_each(count: int) -> float:
    """Return the CPU seconds of a pong for each of many pings."""
    pings = Pings(Stopwatch())
    sent = [send(pings, b"%d" % number, 1.0) for number in range(count)]
    start = time.thread_time()
    for number in range(count):
        pings.acknowledge(b"%d" % number, 2.0)
    assert {ping.seconds for ping in sent} == {1.0}
    return time.thread_time() - start


def seconds_to_forget_each(count: int) -> float:
    """Return the CPU seconds until nobody waits for the pongs of many pings, the last one first."""
    pings = Pings(Stopwatch())
    sent = [(b"%d" % number, send(pings, b"%d" % number, 1.0)) for number in range(count)]
    start = time.thread_time()
    for payload, ping in reversed(sent):
        pings.forget(payload, ping)
    return time.thread_time() - start


@pytest.mark.usefixtures("_collector_off")
@pytest.mark.parametrize(
    "seconds", [seconds_to_answer, seconds_to_answer_each, seconds_to_forget_each]
)
def test_n1_many_pings_take_linear_time(seconds):
    """Four times as many pings cost 4 times as much; a quadratic cost would be 16 times."""
    ratios = []
    while not ratios or (min(ratios) > 8 and len(ratios) < 8):
        ratios.append(seconds(12_000) / seconds(3000))
    assert min(ratios) <= 8, ratios


# The keepalive


async def test_due_ping_is_not_answered_by_earlier_bytes(pings):
    assert pings.has_received
    pings.request(b"k")
    pings.note_received()
    assert pings.due == b"k"
    assert not pings.has_received
    assert pings.take_due() == b"k"
    assert pings.due is None
    assert not pings.has_received
    pings.note_received()
    assert pings.has_received


@pytest.mark.parametrize("note", [Pings.note_written, Pings.note_received])
async def test_silence_restarts_while_a_ping_is_due(pings, autojump_clock, note):
    pings.request(b"k")
    await trio.sleep(2)
    assert pings.silent_seconds == 2
    note(pings)
    await trio.sleep(3)
    assert pings.silent_seconds == 3


async def test_silence_counts_from_handing_over_the_ping(pings, autojump_clock):
    pings.request(b"k")
    await trio.sleep(2)
    pings.take_due()
    await trio.sleep(1)
    pings.note_written()  # It says nothing about the server.
    await trio.sleep(1)
    assert pings.silent_seconds == 2


async def test_silence_does_not_count_while_paused(autojump_clock):
    paused = Stopwatch()
    pings = Pings(paused)
    pings.request(b"k")
    await trio.sleep(1)
    paused.start()
    await trio.sleep(5)
    assert pings.silent_seconds == 1
    paused.stop()
    await trio.sleep(1)
    assert pings.silent_seconds == 2


@pytest.mark.parametrize("is_over", [True, False])
async def test_news_of_the_keepalive_come_once_written(pings, nursery, is_over):
    """What comes while the ping is due is no news yet, but the end of the connection is."""

    async def wait() -> None:
        await pings.wait_news()
        has_news.set()

    has_news = trio.Event()
    pings.request(b"k")
    nursery.start_soon(wait)
    pings.note_received()
    await wait_all_tasks_blocked()
    assert not has_news.is_set()
    if is_over:
        pings.end_all()
    else:
        pings.take_due()
        pings.note_received()
    await has_news.wait()


async def test_pong_of_the_keepalive_counts_as_latency(pings, autojump_clock):
    pings.request(b"k")
    await trio.sleep(3)
    pings.take_due()
    await trio.sleep(0.25)
    pings.acknowledge(b"k", trio.current_time())
    assert pings.latency == 0.25
    assert pings.sent == 1


async def test_keepalive_forgets_its_former_ping(pings, autojump_clock):
    for payload in (b"k", b"l"):
        pings.request(payload)
        pings.take_due()
        await trio.sleep(1)
    pings.acknowledge(b"k", trio.current_time())
    assert pings.latency is None
    pings.acknowledge(b"l", trio.current_time())
    assert pings.latency == 1
