"""Watching connections from outside: what an observer is told, for metrics and traces."""

from __future__ import annotations

from collections.abc import Mapping

from trio_wsclient._errors import ConnectionClosed
from trio_wsclient._statistics import ClientStatistics


class Observer:
    """What is told of connections as it happens; to be subclassed, and passed as ``observer``.

    Its methods do nothing here, so override what you need. They are called in the tasks of the
    connection, and must not wait. Where one raises an exception, that is logged as an error, and
    this connection tells the observer nothing more.

    One observer may watch any number of connections, at once and one after the other: each call
    begins with the ``connection_id``, which the client, its log and its errors have, too. With an
    observer each frame is looked at by itself, at a cost of some 40 µs.
    """

    def opened(self, connection_id: int, url: str, phases: Mapping[str, float]) -> None:
        """Take note that a connection is open.

        Args:
            connection_id: Which one.
            url: Its URL, without userinfo and the values of its query.
            phases: The seconds spent in each phase of opening, in their order: ``"connect"``,
                ``"proxy"``, ``"tls"``, ``"handshake"``, as far as there were such.
        """

    def frame_received(self, connection_id: int, opcode: int, size: int) -> None:
        """Take note of a frame of the server's.

        Args:
            connection_id: Whose.
            opcode: 0 to 15; those that are in use are in RFC 6455 §5.2.
            size: Bytes of its payload on the wire.
        """

    def frame_sent(self, connection_id: int, opcode: int, size: int) -> None:
        """Take note of a frame that is about to be written; see ``frame_received``."""

    def closed(
        self, connection_id: int, outcome: ConnectionClosed, statistics: ClientStatistics
    ) -> None:
        """Take note that the block of a connection was left.

        Args:
            connection_id: Which one.
            outcome: How it ended, as its calls raise it.
            statistics: What it has done.
        """
