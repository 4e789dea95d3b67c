"""Pings in flight and the ping of the keepalive (RFC 6455 §5.5.2 and §5.5.3), without I/O."""

from __future__ import annotations

import os
from typing import Final

_MAX_PAYLOAD_SIZE: Final = 125  # bytes (RFC 6455 §5.5)
_SMOOTHING: Final = 1 / 8  # RFC 6298 §2: what a new round trip counts
_RANDOM_PAYLOAD_SIZE: Final = 16  # bytes: so that no pong can be taken for another ping's


def random_payload() -> bytes:
    """Return the payload of a ping for which the user has none."""
    return os.urandom(_RANDOM_PAYLOAD_SIZE)


def check_ping_payload(payload: bytes | bytearray | memoryview) -> bytes:
    """Check and freeze the payload of a ping or pong.

    Raises:
        TypeError: It is not bytes-like.
        ValueError: It is longer than 125 bytes (RFC 6455 §5.5).
    """
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"the payload of a ping is bytes-like, not {type(payload).__name__}")
    frozen = bytes(payload)
    if len(frozen) > _MAX_PAYLOAD_SIZE:
        raise ValueError(f"a ping has at most {_MAX_PAYLOAD_SIZE} bytes, not {len(frozen)}")
    return frozen


class Flight:
    """A ping on its way.

    Attributes:
        sent_at: When it was serialised, in seconds of the clock; ``None`` before.
        seconds: How long its pong took; ``None`` until it has come.
    """

    __slots__ = ("seconds", "sent_at")

    def __init__(self) -> None:
        self.sent_at: float | None = None
        self.seconds: float | None = None


class Pings:
    """The pings of one connection.

    Attributes:
        sent: How many there were.
        latency: How long the latest pong took, in seconds; ``None`` before the first one.
        smoothed_latency: The same, smoothed as TCP does it (RFC 6298 §2).
        due: The payload of the keepalive's ping, while it waits to be written.
        silent_since: From when on silence counts against the server, on the clock that stands while
            nobody reads: since the ping was handed to the stream, or, while it still waits, since
            something was last written or read.
        heard: Whether anything has come since.
    """

    def __init__(self) -> None:
        self._in_flight: dict[bytes, Flight] = {}  # the oldest first
        self._keepalive: tuple[bytes, Flight] | None = None
        self.sent: int = 0
        self.latency: float | None = None
        self.smoothed_latency: float | None = None
        self.due: bytes | None = None
        self.silent_since: float = 0.0
        self.heard: bool = True

    @property
    def alive(self) -> bool:
        """Whether something has come since the keepalive's last ping."""
        return self.due is None and self.heard

    def reserve(self, payload: bytes) -> Flight:
        """Take note that a ping is going to be sent.

        Raises:
            ValueError: One with the same payload is in flight already.
        """
        if payload in self._in_flight:
            raise ValueError("a ping with this payload is in flight already")
        flight = self._in_flight[payload] = Flight()
        return flight

    def depart(self, payload: bytes, flight: Flight, now: float) -> None:
        """Take note that a ping is being sent, after all that were sent before."""
        self.forget(payload, flight)
        self._in_flight[payload] = flight
        flight.sent_at = now
        self.sent += 1

    def forget(self, payload: bytes, flight: Flight) -> None:
        """Take note that nobody waits for this pong any more."""
        if self._in_flight.get(payload) is flight:  # and not another with the same payload
            del self._in_flight[payload]

    def moved(self, clock: float) -> None:
        """Take note that something was written or read; it matters only while a ping is due."""
        if self.due is not None:
            self.silent_since = clock

    def answered(self, payload: bytes, now: float) -> None:
        """Take note of a pong: it answers its ping and all older ones (RFC 6455 §5.5.3)."""
        answered = self._in_flight.get(payload)
        if answered is None or answered.sent_at is None:
            return  # RFC 6455 §5.5.3: an unsolicited pong is a heartbeat.
        payloads = list(self._in_flight)
        for older in payloads[: payloads.index(payload) + 1]:
            flight = self._in_flight[older]
            if flight.sent_at is not None:
                flight.seconds = now - flight.sent_at
                del self._in_flight[older]
        seconds = self.latency = now - answered.sent_at
        before = seconds if self.smoothed_latency is None else self.smoothed_latency
        self.smoothed_latency = before + _SMOOTHING * (seconds - before)

    def request(self, payload: bytes, clock: float) -> None:
        """Make the keepalive's ping due; a former one that has no pong is forgotten."""
        if self._keepalive is not None:
            self.forget(*self._keepalive)
        self.due = payload
        self.silent_since = clock

    def take_due(self, clock: float, now: float) -> bytes:
        """Take the keepalive's ping to hand it to the stream."""
        assert self.due is not None
        payload, self.due = self.due, None
        self._keepalive = (payload, self.reserve(payload))
        self.depart(*self._keepalive, now)
        self.silent_since = clock
        self.heard = False
        return payload
