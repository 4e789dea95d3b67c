"""Replies that are due: pongs, the keepalive's ping, our Close, and how few of them are held."""

from __future__ import annotations

import pytest
import trio
import wire
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._connection.pings import Pings
from trio_wsclient._connection.replies import Replies
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import UNBLOCKED_TICKS, Stopwatch


class Subject:
    def __init__(self) -> None:
        self.protocol = Protocol()
        self.pings = Pings(Stopwatch())
        self.replies = Replies(self.protocol, self.pings)

    def taken(self) -> list[tuple[int, bytes]]:
        frames = wire.ClientFrameReader().feed(self.replies.take())
        return [(frame.opcode, frame.payload) for frame in frames]


@pytest.fixture
def subject():
    return Subject()


async def run_ticks(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_pings_are_answered_in_order(subject):
    for payload in (b"1", b"2", b"3"):
        subject.replies.add_pong(payload)
    assert subject.taken() == [(wire.PONG, b"1"), (wire.PONG, b"2"), (wire.PONG, b"3")]
    assert subject.taken() == []
    assert subject.replies.pings_received == 3


async def test_due_ping_is_sent_after_the_pongs(subject):
    subject.pings.request(b"keepalive")
    subject.replies.add_pong(b"1")
    assert subject.taken() == [(wire.PONG, b"1"), (wire.PING, b"keepalive")]
    assert subject.pings.due is None
    assert subject.pings.sent == 1


async def test_sealed_pongs_precede_our_close(subject):
    """Nothing is made after a Close; later pings only count."""
    subject.pings.request(b"keepalive")
    for payload in (b"1", b"2"):
        subject.replies.add_pong(payload)
        subject.replies.seal()
    subject.protocol.begin_close()
    subject.protocol.close(1000, "")
    subject.replies.add_pong(b"3")
    assert subject.taken() == [(wire.PONG, b"1"), (wire.PONG, b"2"), (wire.CLOSE, b"\x03\xe8")]
    assert subject.taken() == []
    assert subject.pings.due == b"keepalive"
    assert subject.replies.pings_received == 3


@pytest.mark.parametrize(("later", "kept"), [([], b"3"), ([b"4", b"5"], b"5")])
async def test_r3_blocked_write_keeps_only_latest_pong(subject, later, kept):
    subject.replies.note_write_begins()
    for payload in (b"1", b"2", b"3"):
        subject.replies.add_pong(payload)
    await run_ticks(UNBLOCKED_TICKS + 2)
    for payload in later:
        subject.replies.add_pong(payload)
    subject.replies.note_write_ends()
    subject.replies.add_pong(b"6")
    assert subject.taken() == [(wire.PONG, kept), (wire.PONG, b"6")]


async def test_r3_short_writes_keep_all_pongs(subject):
    """Each write ends within a few ticks, so none is blocked, however many there are."""
    for number in range(20):
        subject.replies.note_write_begins()
        subject.replies.add_pong(b"%d" % number)
        await run_ticks(UNBLOCKED_TICKS // 2)
        subject.replies.note_write_ends()
    await run_ticks(2 * UNBLOCKED_TICKS)
    assert len(subject.taken()) == 20


async def test_reply_task_waits_until_something_is_due(subject, nursery):
    woken = []

    async def reply_task() -> None:
        while True:
            await subject.replies.wait_wanted()
            woken.append(subject.taken())

    nursery.start_soon(reply_task)
    await wait_all_tasks_blocked()
    assert woken == []
    subject.replies.add_pong(b"1")
    assert subject.replies.are_wanted
    await wait_all_tasks_blocked()
    assert woken == [[(wire.PONG, b"1")]]
    assert not subject.replies.are_wanted
    subject.replies.want()
    await wait_all_tasks_blocked()
    assert len(woken) == 2
    nursery.cancel_scope.cancel()


def test_reply_task_is_started_once_when_something_is_due(subject):
    started = []
    subject.replies.start_with(lambda: started.append(subject.replies.are_wanted))
    assert started == []
    subject.replies.add_pong(b"1")
    subject.replies.add_pong(b"2")
    subject.replies.want()
    assert started == [True]
    assert not subject.replies.become_reply_task()


def test_task_that_takes_over_keeps_the_reply_task_from_starting(subject):
    subject.replies.start_with(pytest.fail)
    assert subject.replies.become_reply_task()
    subject.replies.want()
    assert subject.replies.are_wanted
    assert not subject.replies.become_reply_task()


def test_unwritten_replies_are_pongs_writes_and_our_close(subject):
    replies = subject.replies
    assert not replies.are_unwritten
    replies.add_pong(b"1")
    assert replies.are_unwritten
    replies.seal()
    assert replies.are_unwritten
    replies.take()
    assert not replies.are_unwritten
    replies.note_write_begins()
    assert replies.are_unwritten
    replies.note_write_ends()
    subject.protocol.close(1000, "")
    assert replies.are_unwritten
    replies.take()
    assert not replies.are_unwritten
