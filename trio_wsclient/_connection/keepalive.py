"""Keepalive: pings on request, and the decision that a server is gone.

The next task that writes takes a due ping along, or the reply task writes it, so the ping is never
in the way of a message. While the ping waits, every piece that is written or read restarts the
clock of ``ping_timeout``. Once the ping was handed to the stream, only what comes in counts,
whatever it is: the kernel takes tens of kilobytes for a server that has vanished.

While reading is paused, because the consumer is slow, the clock stops: the client would not see
the pong.
"""

from __future__ import annotations

from typing import Final

import trio
from trio.lowlevel import enable_ki_protection

from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.pings import random_payload

_LOOK: Final = 0.1  # part of the silence timeout between two looks for new messages


@enable_ki_protection
async def keepalive_task(connection: Connection, interval: float, timeout: float | None) -> None:
    """Ping until the connection ends.

    Args:
        connection: The connection to keep alive.
        interval: Seconds between keepalive pings.
        timeout: Seconds of silence after a ping that end the connection; ``None`` for no end.
    """
    try:
        with connection.closing.scope(shield=True):
            await _keep_alive(connection, interval, timeout)
    except Exception as bug:  # noqa: BLE001 `Connection.receive_task` raises it (X2)
        connection.closing.note_bug(bug)


async def _keep_alive(connection: Connection, interval: float, timeout: float | None) -> None:
    while not connection.closing.has_begun:
        await trio.sleep(interval)
        connection.request_ping(random_payload())
        if timeout is not None and not await _is_answered(connection, timeout):
            cause = trio.TooSlowError(f"nothing received for {timeout:g} s after a ping")
            await connection.fail_nowait(cause, 1011, linger=False)


async def _is_answered(connection: Connection, timeout: float) -> bool:
    """Return whether something came in time, or the connection has ended."""
    pings, reader = connection.pings, connection.shared_reader
    reader.need()
    try:
        while not pings.has_received and not connection.closing.has_begun:
            await reader.wait_resumed()
            deadline = trio.current_time() + (timeout - pings.silent_seconds)
            if deadline <= trio.current_time():
                # Other tasks may have kept the reader waiting.
                await connection.stream_reader.read_arrived()
                return pings.has_received or connection.closing.has_begun
            with trio.move_on_at(deadline):
                await pings.wait_news()
    finally:
        reader.need_no_more()
    return True


@enable_ki_protection
async def silence_task(connection: Connection, timeout: float) -> None:
    """Fail the connection if no message comes for some time, and return then.

    The time in which reading is paused does not count, as for keepalive pings.

    Args:
        connection: The connection to watch.
        timeout: Seconds without a message that end the connection.
    """
    try:
        await _watch_messages(connection, timeout)
    except Exception as bug:  # noqa: BLE001 `Connection.receive_task` raises it (X2)
        connection.closing.note_bug(bug)


async def _watch_messages(connection: Connection, timeout: float) -> None:
    queue, reader = connection.queue, connection.shared_reader
    messages, since = queue.messages_put, _seconds_of_reading(connection)
    while not connection.closing.has_begun:
        await reader.wait_resumed()
        silent = _seconds_of_reading(connection) - since
        if silent >= timeout and queue.messages_put == messages:
            # Nobody may have read for a while.
            await connection.stream_reader.read_arrived()
        if queue.messages_put != messages:
            messages, since = queue.messages_put, _seconds_of_reading(connection)
        elif silent >= timeout:
            cause = trio.TooSlowError(f"no message for {timeout:g} s")
            await connection.fail_nowait(cause, 1011, linger=False)
        else:
            # When a message comes is not noted, as that would cost each message. So look often.
            await trio.sleep(min(timeout - silent, timeout * _LOOK))


def _seconds_of_reading(connection: Connection) -> float:
    """Return the time of a clock that stops while reading is paused."""
    return trio.current_time() - connection.shared_reader.paused.seconds
