"""A failed write counts only after what has come was read."""

from __future__ import annotations

import weakref

import pytest
import trio
from canned_stream import CannedStream, reset

from trio_wsclient._net.draining import DrainingStream


async def break_without_cause() -> bytes:
    raise trio.BrokenResourceError


async def alert() -> bytes:
    raise trio.BrokenResourceError("alert") from ZeroDivisionError("the alert")


async def test_without_failed_write_the_stream_is_used_as_it_is():
    stream = CannedStream(b"response")
    draining = DrainingStream(stream)
    await draining.send_all(b"request")
    assert await draining.receive_some(100) == b"response"
    assert await draining.receive_some(100) == b""
    assert stream.sent == [b"request"]


async def test_what_has_come_is_read_after_a_failed_write():
    draining = DrainingStream(CannedStream(b"re", b"sponse", writes=0))
    await draining.send_all(b"request")
    await draining.send_all(b"more")
    assert await draining.receive_some(100) + await draining.receive_some(100) == b"response"
    with pytest.raises(trio.BrokenResourceError, match=r"^reset$"):
        await draining.receive_some(100)


@pytest.mark.parametrize("end", [break_without_cause, trio.sleep_forever])
async def test_error_of_the_write_is_raised_when_nothing_comes(autojump_clock, end):
    draining = DrainingStream(CannedStream(end=end, writes=0))
    await draining.send_all(b"request")
    with pytest.raises(trio.BrokenResourceError, match=r"^reset$") as caught:
        await draining.receive_some(100)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert trio.current_time() <= 1


async def test_error_of_the_read_is_raised_if_it_has_a_cause():
    draining = DrainingStream(CannedStream(end=alert, writes=0))
    await draining.send_all(b"request")
    with pytest.raises(trio.BrokenResourceError, match=r"^alert$"):
        await draining.receive_some(100)


@pytest.mark.usefixtures("_collector_off")
async def test_raised_write_error_leaves_no_garbage():
    draining = DrainingStream(CannedStream(writes=0))
    gone = weakref.ref(draining)
    await draining.send_all(b"request")
    with pytest.raises(trio.BrokenResourceError):
        await draining.receive_some(100)
    del draining
    assert gone() is None


@pytest.mark.usefixtures("_collector_off")
async def test_write_error_that_is_not_raised_leaves_no_garbage():
    draining = DrainingStream(CannedStream(b"response", writes=0))
    gone = weakref.ref(draining)
    await draining.send_all(b"request")
    assert await draining.receive_some(100) == b"response"
    del draining
    assert gone() is None


async def test_what_else_a_stream_raises_leaves_at_once():
    class Failing(CannedStream):
        async def send_all(self, data):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await DrainingStream(Failing(end=reset)).send_all(b"request")


async def test_check_sent_raises_the_error_of_a_write():
    draining = DrainingStream(CannedStream(writes=1))
    await draining.send_all(b"request")
    draining.check_sent()
    await draining.send_all(b"more")
    with pytest.raises(trio.BrokenResourceError, match=r"^reset$"):
        draining.check_sent()
