"""Pings in flight and the ping of the keepalive (RFC 6455 §5.5.2 and §5.5.3)."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from trio_wsclient._scheduling import Stopwatch

_MAX_PAYLOAD_SIZE: Final = 125  # bytes (RFC 6455 §5.5)
_SMOOTHING: Final = 1 / 8  # RFC 6298 §2: the weight of a new round trip
_RANDOM_PAYLOAD_SIZE: Final = 16  # bytes: enough that no two pings have the same payload


def random_payload() -> bytes:
    """Return the payload of a ping for which the user has none."""
    return os.urandom(_RANDOM_PAYLOAD_SIZE)


def check_ping_payload(payload: bytes | bytearray | memoryview) -> bytes:
    """Check and freeze the payload of a ping or pong.

    Raises:
        TypeError: The payload is not bytes-like.
        ValueError: The payload is longer than 125 bytes (RFC 6455 §5.5).
    """
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"a payload has to be bytes-like, not {type(payload).__name__}")
    frozen = bytes(payload)
    if len(frozen) > _MAX_PAYLOAD_SIZE:
        raise ValueError(f"a payload has at most {_MAX_PAYLOAD_SIZE} bytes, not {len(frozen)}")
    return frozen


class PendingPing:
    """A ping whose pong has not come yet.

    Attributes:
        sent_at: When it was made, in seconds of Trio's clock; ``None`` before.
        seconds: How long its pong took; ``None`` until it has come.
        is_forgotten: Whether nobody waits for it any more.
    """

    __slots__ = ("_is_over", "_task", "is_forgotten", "seconds", "sent_at")

    def __init__(self) -> None:
        self._task: Task | None = None  # that waits
        self._is_over = False  # whether nothing is left to wait for
        self.sent_at: float | None = None
        self.seconds: float | None = None
        self.is_forgotten: bool = False

    async def wait(self) -> None:
        """Wait until the pong has come, or the connection is closed."""
        if self._is_over:
            return
        self._task = current_task()

        def abort(_: RaiseCancelT) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def end(self) -> None:
        """Wake the task that waits."""
        self._is_over = True
        if self._task is not None:
            reschedule(self._task)
            self._task = None


class Pings:
    """The pings of one connection.

    Args:
        paused: Runs while reading is paused: the server's silence does not count then.

    Attributes:
        sent: How many were sent.
        latency: How long the latest pong took, in seconds; ``None`` before the first one.
        smoothed_latency: The same, smoothed as TCP does it (RFC 6298 §2).
        due: The payload of the keepalive's ping, while it waits to be written.
        has_received: Whether anything has come since the keepalive's ping was written; while the
            ping still waits, nothing counts.
    """

    def __init__(self, paused: Stopwatch) -> None:
        self._paused = paused
        # Two dicts, because a pong can only answer a ping that was sent.
        self._reserved: dict[bytes, PendingPing] = {}
        self._sent: OrderedDict[bytes, PendingPing] = OrderedDict()  # the oldest first
        self._keepalive: tuple[bytes, PendingPing] | None = None
        # The server's silence is measured from here, in seconds of `clock`.
        self._silent_since = 0.0
        self.sent: int = 0
        self.latency: float | None = None
        self.smoothed_latency: float | None = None
        self.due: bytes | None = None
        self.has_received: bool = True
        # Set when anything has come, or the connection is closed, for the keepalive.
        self._news: trio.Event | None = None

    # Pings in flight

    def reserve(self, payload: bytes) -> PendingPing:
        """Take note that a ping is going to be sent.

        Raises:
            ValueError: A ping with the same payload is in flight already.
        """
        sent = self._sent.get(payload)
        if payload in self._reserved or (sent is not None and not sent.is_forgotten):
            raise ValueError("a ping with this payload is in flight already")
        ping = self._reserved[payload] = PendingPing()
        return ping

    def mark_sent(self, payload: bytes, ping: PendingPing, now: float) -> None:
        """Take note that a ping is being sent, after all that were sent before."""
        self._reserved.pop(payload, None)
        self._sent.pop(payload, None)  # one that was forgotten
        self._sent[payload] = ping
        ping.sent_at = now
        self.sent += 1

    def forget(self, payload: bytes, ping: PendingPing) -> None:
        """Take note that nobody waits for this pong any more.

        It is kept while older pings wait, because its pong answers those, too.
        """
        if self._reserved.get(payload) is ping:  # and not another one with the same payload
            del self._reserved[payload]
        # Pings that nobody waits for are dropped from the oldest on. So the dict has no more than
        # the pings since the oldest one that somebody waits for.
        ping.is_forgotten = True
        while self._sent and next(iter(self._sent.values())).is_forgotten:
            self._sent.popitem(last=False)

    def acknowledge(self, payload: bytes, now: float) -> None:
        """Take note of a pong: it answers its ping and all older ones (RFC 6455 §5.5.3)."""
        if payload not in self._sent:
            return  # RFC 6455 §5.5.3: an unsolicited pong is a heartbeat.
        # A server may answer only the latest of several pings. Its pong stands for the older ones.
        while True:
            older, ping = self._sent.popitem(last=False)
            assert ping.sent_at is not None
            seconds = ping.seconds = now - ping.sent_at
            ping.end()
            if older == payload:
                break
        self.latency = seconds
        before = seconds if self.smoothed_latency is None else self.smoothed_latency
        self.smoothed_latency = before + _SMOOTHING * (seconds - before)

    def end_all(self) -> None:
        """Wake all that wait, because the connection is closed."""
        for pings in (self._reserved, self._sent):
            for ping in pings.values():
                ping.end()
        self._note_news()

    # The keepalive

    def clock(self) -> float:
        """Return seconds on a clock that stops while reading is paused."""
        return trio.current_time() - self._paused.seconds

    def request(self, payload: bytes) -> None:
        """Make the keepalive's ping due; a former one without a pong is forgotten."""
        if self._keepalive is not None:
            self.forget(*self._keepalive)
        self.due = payload
        self._silent_since = self.clock()
        self.has_received = False
        self._news = trio.Event()

    def take_due(self) -> bytes:
        """Take the keepalive's ping to hand it to the stream."""
        assert self.due is not None
        payload, self.due = self.due, None
        self._keepalive = (payload, self.reserve(payload))
        self.mark_sent(*self._keepalive, trio.current_time())
        self._silent_since = self.clock()
        return payload

    def note_received(self) -> None:
        """Take note that something has come; no effect if ``has_received`` is true."""
        # While the ping waits to be written, whatever moves shows that the server lives.
        if self.due is not None:
            self._silent_since = self.clock()
        else:
            self.has_received = True
            self._note_news()

    def note_written(self) -> None:
        """Take note that the stream has taken something; no effect unless a ping is due."""
        if self.due is not None:
            self._silent_since = self.clock()

    def _note_news(self) -> None:
        if self._news is not None:
            self._news.set()

    async def wait_news(self) -> None:
        """Wait until something has come after the ping was written, or the end of all pings."""
        assert self._news is not None
        await self._news.wait()

    @property
    def silent_seconds(self) -> float:
        """For how long the server has been silent, on `clock`.

        It counts since the ping was handed to the stream; while the ping still waits, since
        something was last written or read.
        """
        return self.clock() - self._silent_since
