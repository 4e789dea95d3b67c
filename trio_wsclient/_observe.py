"""Watching a connection from outside: its statistics, an observer and the log.

A user has three ways to see what a connection does:

* ``ClientStatistics``: figures, whenever the user asks for them.
* ``Observer``: a method call for each event, for metrics and traces.
* ``Log``: records of ``logging``, and the only object that the connection calls. It calls the
  observer too. So one check per read or write tells whether anybody wants to see frames. If nobody
  does, the fast path stays open.

Opening and closing are logged at level DEBUG, frames at level ``FRAMES``, below DEBUG. Each record
has its facts as attributes (``extra``): ``connection_id`` and ``url`` in every record, ``phase``
while the connection opens, and ``opcode``, ``length`` and ``direction`` of a frame.

No record has a credential, or a value of the URL's query, which often is one. The log shows the
first bytes of a payload as they are on the wire: compressed if the frame is compressed, but never
masked.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from trio_wsclient._errors import ConnectionClosed, WebSocketError
from trio_wsclient._protocol import header
from trio_wsclient._protocol.listener import LISTENED_SIZE

FRAMES: Final = 5  # half of DEBUG: other libraries give their level TRACE this number

_ids: Final = itertools.count(1)
_OPCODES: Final = {opcode: name.capitalize() for opcode, name in header.NAMES.items()}
_FLAGS: Final = {header.FIN: "FIN", **header.RSV_NAMES}


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a connection has done so far.

    Attributes:
        messages_sent: Messages written completely.
        messages_received: Messages that the user has taken.
        bytes_sent: Bytes written since the handshake, with the headers of frames, before TLS.
        bytes_received: Bytes read since the handshake, counted in the same way.
        uncompressed_bytes_sent: ``bytes_sent`` as it would be without compression.
        uncompressed_bytes_received: ``bytes_received`` as it would be without compression.
        pings_sent: Pings written, those of the keepalive included.
        pings_received: Pings that the server has sent.
        latency: Seconds from the latest ping with a pong to that pong; ``None`` before the first
            pong.
        smoothed_latency: The same, smoothed: each new one counts an eighth (RFC 6298 §2).
        buffered_messages: Complete messages that were received and not yet taken.
        buffered_bytes: What these messages, and fragments of others, count against
            ``max_buffered_bytes``.
        most_buffered_bytes: The most bytes that counted against ``max_buffered_bytes`` at any time.
            Messages that came in one read count until the last of them is taken.
        seconds_full: Seconds in which nothing was read, as too much waited to be taken.
        seconds_writing: Seconds in which writes waited for the stream to take them.
        tasks_waiting_send: Tasks that wait until other tasks have sent their messages.
        tasks_waiting_receive: Tasks that wait for a message or a frame.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    uncompressed_bytes_sent: int
    uncompressed_bytes_received: int
    pings_sent: int
    pings_received: int
    latency: float | None
    smoothed_latency: float | None
    buffered_messages: int
    buffered_bytes: int
    most_buffered_bytes: int
    seconds_full: float
    seconds_writing: float
    tasks_waiting_send: int
    tasks_waiting_receive: int


class Observer:
    """Receive the events of connections: make a subclass, and pass an object of it as ``observer``.

    The methods of this class do nothing, so override the ones you need. The connection calls them
    in its own tasks, so they must not block. If a method raises an exception, the connection logs
    it as an error, and calls this observer no more.

    One observer may watch any number of connections. Each call begins with the ``connection_id``;
    the client, its log and its errors have the same number. With an observer the client reads
    each frame by itself, which costs some 10 µs a frame.

    Attributes:
        wants_payloads: Set it in a subclass to get the payload of each frame: ``frame_received``
            and ``frame_sent`` are then called with a keyword argument ``payload``. It has the bytes
            as they are on the wire, but not masked: compressed if the frame is compressed, at most
            ``max_message_size`` of them. ``frame_received`` is then called when the frame is
            complete.
    """

    wants_payloads: bool = False

    def opened(self, connection_id: int, url: str, phases: Mapping[str, float]) -> None:
        """Handle the opening of a connection, right after it.

        Args:
            connection_id: The number of the connection.
            url: Its URL, without userinfo and without the values of its query.
            phases: Seconds spent in each phase of opening, in their order: ``"headers"``,
                ``"connect"``, ``"proxy_tls"``, ``"proxy"``, ``"tls"``, ``"handshake"``. Only
                phases that took place are in it.
        """

    def opening_failed(
        self, connection_id: int, url: str, error: BaseException, phases: Mapping[str, float]
    ) -> None:
        """Handle an opening that failed or was cancelled: each one ends here, or with ``opened``.

        If the opening is repeated, by ``reconnecting``, each try has a number of its own.

        Args:
            connection_id: The number that the connection would have had.
            url: The URL, as in ``opened``; after redirects the last one.
            error: The exception that leaves ``async with``: a ``HandshakeError``, a
                ``trio.Cancelled``, or what a function of yours raised.
            phases: As in ``opened``; the last phase is the one that failed.
        """

    def retrying(self, connection_id: int | None, error: WebSocketError, delay: float) -> None:
        """Handle a pause of ``reconnecting``, for a URL or an async function.

        Args:
            connection_id: The number of the connection that ended, or of the opening that failed;
                ``None`` if your function has failed.
            error: How it ended, or why it failed.
            delay: Seconds until the next try.
        """

    def frame_received(self, connection_id: int, opcode: int, size: int) -> None:
        """Handle a frame from the server.

        Args:
            connection_id: The number of the connection.
            opcode: 0 to 15; RFC 6455 §5.2 lists those in use.
            size: Bytes of the payload on the wire.
        """

    def frame_sent(self, connection_id: int, opcode: int, size: int) -> None:
        """Handle a frame that is about to be written; see ``frame_received``."""

    def closed(
        self, connection_id: int, outcome: ConnectionClosed, statistics: ClientStatistics
    ) -> None:
        """Handle the end of a connection, right after its block was left.

        Args:
            connection_id: The number of the connection.
            outcome: How the connection ended: the exception that its methods raise.
            statistics: What the connection has done.
        """


class Log:
    """The log of one connection, and the way to its observer.

    Args:
        logger: The logger that gets the records.
        url: The URL without its secrets.
        observer: The observer to call, if there is one.
    """

    def __init__(self, logger: logging.Logger, url: str, observer: Observer | None = None) -> None:
        self._logger = logger
        self._observer = observer
        self._passes_payloads = observer is not None and observer.wants_payloads
        self.url = url
        self.connection_id: Final = next(_ids)

    def observe(self, notify: Callable[[Observer], None]) -> None:
        """Call the observer, if there is one. An exception ends its use, not the connection."""
        if self._observer is None:
            return
        try:
            notify(self._observer)
        except Exception:  # noqa: BLE001 a user's code may raise anything
            self._observer = None
            self._write(logging.ERROR, "the observer has raised", (), {}, exc_info=True)

    def debug(self, message: str, *args: object, **facts: object) -> None:
        """Log an event of the connection at level DEBUG, with its facts as attributes."""
        if self.wants_debug:
            self._write(logging.DEBUG, message, args, facts)

    @property
    def wants_debug(self) -> bool:
        """Whether `debug` has an effect: ask before you make arguments that cost time."""
        return self._logger.isEnabledFor(logging.DEBUG)

    # Frames: what `_protocol.listener.FrameListener` asks for

    def wants_frames(self) -> bool:
        """Return whether anybody wants to see frames."""
        return self._observer is not None or self._logger.isEnabledFor(FRAMES)

    @property
    def wants_payloads(self) -> bool:
        """Whether the observer wants complete payloads."""
        return self._observer is not None and self._passes_payloads

    def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
        """Pass a frame of the server to the observer, and log it."""
        more = self._payload(payload)
        opcode, number = first_byte & header.OPCODE, self.connection_id
        self.observe(lambda observer: observer.frame_received(number, opcode, size, **more))
        self._log_frame("received", first_byte, size, payload)

    def frame_sent(self, first_byte: int, size: int, payload: bytes) -> None:
        """Pass a frame of the client to the observer, and log it."""
        more = self._payload(payload)
        opcode, number = first_byte & header.OPCODE, self.connection_id
        self.observe(lambda observer: observer.frame_sent(number, opcode, size, **more))
        self._log_frame("sent", first_byte, size, payload)

    def _payload(self, payload: bytes) -> dict[str, Any]:
        return {"payload": payload} if self.wants_payloads else {}

    def _log_frame(self, direction: str, first_byte: int, size: int, payload: bytes) -> None:
        if not self._logger.isEnabledFor(FRAMES):
            return
        opcode = first_byte & header.OPCODE
        flags = " ".join(name for bit, name in _FLAGS.items() if first_byte & bit) or "no flag"
        name = _OPCODES.get(opcode, f"opcode {opcode}")
        shown = payload[:LISTENED_SIZE].hex(" ") + "..." * (size > LISTENED_SIZE)
        self._write(
            FRAMES,
            "%s %s, %s, %d bytes: %s",
            (direction, name, flags, size, shown),
            {"direction": direction, "opcode": opcode, "length": size},
        )

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        facts: dict[str, object],
        *,
        exc_info: bool = False,
    ) -> None:
        # X1, X2: an exception of the user's handler or filter must not reach the connection.
        with suppress(Exception):
            self._logger.log(
                level,
                f"[%d] {message}",  # noqa: G004 the result is still a format
                self.connection_id,
                *args,
                exc_info=exc_info,
                extra={"connection_id": self.connection_id, "url": self.url, **facts},
            )
