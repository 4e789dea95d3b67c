"""What a connection counts, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a connection has done so far.

    Attributes:
        messages_sent: Messages written to their end.
        messages_received: Messages taken by the user.
        bytes_sent: Bytes written since the handshake, headers of frames included, before TLS.
        bytes_received: Bytes read since the handshake, likewise.
        uncompressed_bytes_sent: The same as if nothing had been compressed.
        uncompressed_bytes_received: Likewise.
        pings_sent: Pings written, the keepalive's included.
        pings_received: Pings of the server's.
        latency: Seconds from the latest ping that was answered to its pong; ``None`` before.
        smoothed_latency: The same, each new one counting an eighth (RFC 6298 §2).
        buffered_messages: Whole messages received and not yet taken.
        buffered_bytes: What they, and fragments of others, count against ``max_buffered_bytes``.
        most_buffered_bytes: The most that ever did, to within a 64th of ``max_buffered_bytes``.
        seconds_full: For how long nothing was read because too much waited to be taken.
        seconds_writing: For how long writes have waited for the stream to take them.
        tasks_waiting_send: Tasks that wait for others to have sent.
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
