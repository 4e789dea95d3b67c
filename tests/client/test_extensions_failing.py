"""X2: an exception out of a user's extension fails the connection, and is not a bug of ours."""

from __future__ import annotations

import pytest
import trio
import wire
from extensions import Faulty
from recorder import Recorder, opened
from scripted_server import memory_server
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from trio_wsclient import (
    ConnectionClosedError,
    ConnectionClosedOK,
    open_websocket_client,
    run_websocket_client,
)


class BugError(Exception):
    """What an extension raises."""


def assert_is_failure(caught: pytest.ExceptionInfo[ConnectionClosedError], bug: Exception) -> None:
    assert caught.value.__cause__ is bug
    assert caught.value.received is None
    assert caught.value.sent is not None
    assert (caught.value.sent.code, caught.value.sent.reason) == (1011, "a bug")


FRAMES = {
    Opcode.TEXT: wire.text("a"),
    Opcode.BINARY: wire.binary(b"a"),
    Opcode.CONTINUATION: wire.binary(b"a", fin=False) + wire.continuation(b"b"),
    Opcode.PING: wire.ping(b"a"),
    Opcode.PONG: wire.pong(b"a"),
    Opcode.CLOSE: wire.close(1000, b"a"),
}


@pytest.mark.parametrize("opcode", FRAMES, ids=lambda opcode: opcode.name)
@pytest.mark.parametrize("hook", ["header", "payload", "complete"])
async def test_frame_received_with_an_exception_fails_with_1011(
    hook: str, opcode: Opcode, autojump_clock
):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty(hook, opcode, bug)]) as (ws, _):
            await server.peer.send(wire.text("before"))
            assert opcode is Opcode.TEXT or await ws.receive() == "before"
            await server.peer.send(FRAMES[opcode])
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert_is_failure(caught, bug)
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send("x")
            assert_is_failure(caught, bug)
            await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1011]


SENDS = {
    "send of text": (Opcode.TEXT, lambda ws: ws.send("a")),
    "send of bytes": (Opcode.BINARY, lambda ws: ws.send(b"a")),
    "send_text": (Opcode.TEXT, lambda ws: ws.send_text(b"a")),
    "send_binary": (Opcode.BINARY, lambda ws: ws.send_binary("a")),
    "send_many": (Opcode.TEXT, lambda ws: ws.send_many(["a", b"b"])),
    "ping": (Opcode.PING, lambda ws: ws.ping()),
    "pong": (Opcode.PONG, lambda ws: ws.pong(b"a")),
}


@pytest.mark.parametrize(("opcode", "send"), SENDS.values(), ids=SENDS)
async def test_frame_sent_with_an_exception_fails_with_1011(opcode, send, autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("outbound", opcode, bug)]) as (ws, _):
            for call in (send, send, lambda ws: ws.receive()):
                with pytest.raises(ConnectionClosedError) as caught:
                    await call(ws)
                assert_is_failure(caught, bug)
            await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1011]


async def test_extension_failing_for_every_frame_gets_1011(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("outbound", None, bug)]) as (ws, _):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send("x")
            assert_is_failure(caught, bug)
    assert [frame.code for frame in server.frames] == [1011]


async def test_extension_failing_for_a_pong_gets_1011(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("outbound", Opcode.PONG, bug)]) as (ws, _):
            await server.peer.send(wire.text("before") + wire.ping() + wire.ping())
            assert await ws.receive() == "before"
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert_is_failure(caught, bug)
            await server.eof.wait()
    assert [frame.code for frame in server.frames] == [1011]


async def test_send_that_carries_a_failing_reply_fails_too(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("outbound", Opcode.PONG, bug)]) as (ws, valve):
            valve.shut()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, "first")
                await wait_all_tasks_blocked()
                nursery.start_soon(fails, ws.send, "second", bug)
                await server.peer.send(wire.ping())
                await trio.lowlevel.checkpoint()
                valve.opened.set()
    assert server.opcodes() == [wire.TEXT, wire.CLOSE]
    assert server.frames[-1].code == 1011


async def fails(send, message: str, bug: Exception) -> None:
    with pytest.raises(ConnectionClosedError) as caught:
        await send(message)
    assert_is_failure(caught, bug)


async def test_extension_failing_for_a_keepalive_ping_gets_1011(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    faulty = Faulty("outbound", Opcode.PING, bug)
    with trio.fail_after(5):
        async with opened(server, extensions=[faulty], ping_interval=1) as (ws, _):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert_is_failure(caught, bug)
    assert [frame.code for frame in server.frames] == [1011]


# Close frames


async def test_block_left_by_exception_sends_1011_and_later_calls_say_so(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("outbound", Opcode.CLOSE, bug)]) as (ws, _):
            await ws.aclose(4000, "bye")
            for call in (ws.receive, ws.ping):
                with pytest.raises(ConnectionClosedError) as caught:
                    await call()
                assert_is_failure(caught, bug)
    assert [frame.code for frame in server.frames] == [1011]


@pytest.mark.parametrize("hook", ["outbound", "header", "payload", "complete"])
async def test_block_is_left_quietly_though_closing_fails(hook: str, autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    with trio.fail_after(15):
        async with opened(server, extensions=[Faulty(hook, Opcode.CLOSE, bug)]):
            pass
    assert [frame.code for frame in server.frames] == [1011 if hook == "outbound" else 1000]


async def test_what_the_block_has_raised_leaves_it_though_closing_fails(autojump_clock):
    error, server = ValueError("theirs"), Recorder()
    extensions = [Faulty("outbound", Opcode.CLOSE, BugError("a bug"))]
    with trio.fail_after(5):
        async with memory_server(server) as stream:
            with pytest.raises(ValueError, match="theirs") as caught:
                async with open_websocket_client(
                    "ws://server/", stream=stream, extensions=extensions
                ):
                    raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert [frame.code for frame in server.frames] == [1011]


async def test_cancelled_block_is_left_at_once_though_closing_fails(autojump_clock):
    server = Recorder()
    extensions = [Faulty("outbound", Opcode.CLOSE, BugError("a bug"))]
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with opened(server, extensions=extensions):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_servers_close_counts_though_its_echo_fails(autojump_clock):
    server = Recorder(closes=False)
    extensions = [Faulty("outbound", Opcode.CLOSE, BugError("a bug"))]
    with trio.fail_after(15):
        async with opened(server, extensions=extensions, close_timeout=1) as (ws, _):
            await server.peer.send(wire.close(1001))
            with pytest.raises(ConnectionClosedOK):
                await ws.receive()
    assert [frame.code for frame in server.frames] == [1001]


async def test_run_websocket_client_returns_though_an_extension_fails(autojump_clock):
    bug, server = BugError("a bug"), Recorder()

    async def handler(ws):
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.send("a")
        assert_is_failure(caught, bug)

    with trio.fail_after(5):
        async with memory_server(server) as stream:
            options = {"stream": stream, "extensions": [Faulty("outbound", Opcode.TEXT, bug)]}
            assert await run_websocket_client("ws://server/", handler, **options) is None


# Several frames


async def test_of_a_batch_in_which_one_fails_nothing_is_written(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    extensions = [Faulty("outbound", Opcode.TEXT, bug, after=1)]
    with trio.fail_after(5):
        async with opened(server, extensions=extensions) as (ws, _):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send_many(["first", "second", "third"])
            assert_is_failure(caught, bug)
            assert ws.statistics().messages_sent == 0
    assert [frame.code for frame in server.frames] == [1011]


async def test_fragments_before_the_failing_one_are_written(
    autojump_clock,
):
    bug, server = BugError("a bug"), Recorder()
    extensions = [Faulty("outbound", None, bug, after=2)]
    with trio.fail_after(5):
        async with opened(server, extensions=extensions, fragment_size=1) as (ws, _):
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send("abcd")
            assert_is_failure(caught, bug)
    assert [frame.payload for frame in server.frames[:-1]] == [b"a", b"b"]
    assert server.frames[-1].code == 1011


async def test_failing_part_ends_the_writer_with_its_error(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    extensions = [Faulty("outbound", Opcode.CONTINUATION, bug)]
    with trio.fail_after(5):
        async with opened(server, extensions=extensions) as (ws, _):
            with pytest.raises(ConnectionClosedError) as caught:
                async with ws.text_writer() as writer:
                    await writer.write("a")
                    await writer.write("b")
            assert_is_failure(caught, bug)
    assert server.opcodes() == [wire.TEXT, wire.CLOSE]
    assert server.frames[-1].code == 1011


async def test_waiting_for_a_turn_ends_at_once(autojump_clock):
    bug, server = BugError("a bug"), Recorder()
    extensions = [Faulty("outbound", Opcode.CONTINUATION, bug)]
    with trio.fail_after(5):
        async with opened(server, extensions=extensions) as (ws, _):
            async with trio.open_nursery() as nursery:
                with pytest.raises(ConnectionClosedError):
                    async with ws.text_writer() as writer:
                        await writer.write("a")
                        nursery.start_soon(fails, ws.send, "waits", bug)
                        await wait_all_tasks_blocked()
                        await writer.write("b")


# What such an exception may look like


@pytest.mark.parametrize("text", ["", "\ud800", "\x1b[2J", "ä" * 1000])
async def test_whatever_its_text_is_it_is_a_failure(text: str, autojump_clock):
    bug, server = BugError(text), Recorder()
    with trio.fail_after(5):
        async with opened(server, extensions=[Faulty("header", None, bug)]) as (ws, _):
            await server.peer.send(wire.text("a"))
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert caught.value.__cause__ is bug
            assert str(caught.value).isprintable()
    assert [frame.code for frame in server.frames] == [1011]
