"""Keepalive: pings on request, and the verdict that a server is gone.

A due ping is written by whoever writes next, or by the reply task, so it is never in the way of a
message. While it waits, every piece that is written or read proves that the server lives. Once it
is handed to the stream only what comes in counts, but that whatever it is: the kernel takes tens of
kilobytes for a server that has vanished. While nobody reads, because the consumer is slow, the
clock stands: then silence says nothing about the server.
"""

from __future__ import annotations

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.pings import random_payload
from trio_wsclient._connection.shared_reader import never


@enable_ki_protection
async def keepalive_task(connection: Connection, interval: float, timeout: float | None) -> None:
    """Ping until the connection ends.

    Args:
        connection: Whom to keep alive.
        interval: Seconds from the opening, or from what has answered a ping, to the next one.
        timeout: Seconds of silence after a ping that end the connection; ``None`` for no end.
    """
    while connection.closing.closed_by is None:
        await trio.sleep(interval)
        connection.request_ping(random_payload())
        if timeout is not None and not await _heard(connection, timeout):
            cause = trio.TooSlowError(f"nothing received for {timeout:g} s after a ping")
            await connection.fail_at_once(cause, 1011, linger=False)


async def _heard(connection: Connection, timeout: float) -> bool:
    """Tell whether something came in time, or the connection has ended."""
    pings = connection.pings

    def answered() -> bool:
        return pings.alive or connection.closing.closed_by is not None

    while not answered():
        now = trio.current_time()
        deadline = now + (pings.silent_since + timeout - connection.clock())
        if deadline <= now:
            return False
        with trio.move_on_at(deadline):
            await connection.wait_until(answered, may_read=never)
        if not connection.is_reading:
            await connection.wait_until(lambda: connection.is_reading or answered(), never)
    return True
