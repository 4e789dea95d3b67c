"""A session on the command line: messages given, once, as bytes, and commands."""

from __future__ import annotations

import io
import sys
import time

import pytest
import trio
import wire
from command_line import run_main
from scripted_server import Peer, echo_script, loopback_server

from trio_wsclient._cli import connect


def keeps(received: list[object]):
    """Make a script that keeps what comes, answers pings, and closes politely."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (frame := await peer.next_frame()) is not None and frame.opcode != wire.CLOSE:
            if frame.opcode == wire.PING:
                await peer.send(wire.pong(frame.payload))
            else:
                received.append((frame.opcode, frame.payload))
        assert frame is not None
        received.append((frame.code, frame.payload[2:].decode()))
        await peer.send(wire.close(frame.code))
        await peer.stream.aclose()

    return script


def take_output(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Take standard output, as bytes; no fixture, as pytest has its own before each test."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    return written


async def test_messages_may_be_given_instead_of_standard_input(stdin):
    received = []
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "-x", "one", "-x", "two", "-w", "0", url) == 0
    assert received == [(wire.TEXT, b"one"), (wire.TEXT, b"two"), (1000, "")]


async def test_once_is_one_message_out_and_one_in(stdin, capsys):
    async def script(peer: Peer) -> None:
        await peer.accept()
        frame = await peer.next_frame()
        await peer.send(wire.text(f"you said {frame.payload.decode()}") + wire.text("and more"))
        await peer.close_politely()

    for arguments, line in ((["-x", "a", "-x", "b"], b""), ([], b"a\nb\n")):
        stdin.write(line)
        async with loopback_server(script) as url:
            assert await run_main("connect", "--once", *arguments, url) == 0
        assert capsys.readouterr().out == "you said a\n"


async def test_once_waits_for_the_answer_though_input_has_ended(stdin, capsys):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await trio.sleep(0.3)
        await peer.send(wire.text("late"))
        await peer.close_politely()

    stdin.write(b"hi\n")
    stdin.close()
    async with loopback_server(script) as url:
        assert await run_main("connect", "--once", "--wait", "0", url) == 0
    assert capsys.readouterr().out == "late\n"


async def wait_for_output(capsys, expected: str) -> None:
    shown = ""
    with trio.fail_after(60):
        while shown != expected:
            await trio.sleep(0.01)
            shown += capsys.readouterr().out


async def test_once_takes_no_greeting_for_the_answer(stdin, capsys):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("welcome"))
        await trio.sleep(0.1)
        assert (await peer.next_frame()).payload == b"hi"
        await peer.send(wire.text("answer"))
        await peer.close_politely()

    async with loopback_server(script) as url, trio.open_nursery() as nursery:
        nursery.start_soon(run_main, "connect", "--once", url)
        await wait_for_output(capsys, "welcome\n")
        stdin.write(b"hi\n")
    assert capsys.readouterr().out == "answer\n"


@pytest.mark.parametrize("binary", [[], ["--binary"]])
async def test_once_with_nothing_to_send_is_over(stdin, binary: list[str]):
    received = []
    stdin.close()
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "--once", *binary, url) == 0
    assert received == [(1000, "")]


async def test_everything_received_is_shown_to_a_slow_reader(stdin, capsys, monkeypatch):
    def slow(line: str) -> None:
        time.sleep(0.0005)
        shown.append(line)

    shown = []
    monkeypatch.setattr(connect, "show", slow)
    stdin.write(b"".join(b"%d\n" % number for number in range(2000)))
    stdin.close()
    async with loopback_server(echo_script) as url:
        assert await run_main("connect", "-w", "0", url) == 0
    assert shown == [str(number) for number in range(2000)]


@pytest.mark.slow
async def test_reader_that_takes_long_is_waited_for(stdin, monkeypatch):
    def slow(line: str) -> None:
        if len(shown) in {0, 500}:
            time.sleep(0.5)
        shown.append(line)

    shown = []
    monkeypatch.setattr(connect, "show", slow)
    monkeypatch.setattr(connect, "_PONG_PATIENCE", 0.3)

    def write() -> None:
        stdin.write(b"".join(b"%0200d\n" % number for number in range(20_000)))
        stdin.close()

    async with loopback_server(echo_script) as url, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        assert await run_main("connect", "-w", "0", url) == 0
    assert len(shown) == 20_000


async def test_answers_are_waited_for_while_something_is_shown(autojump_clock):
    class SlowClient:
        """Its first pong does not come in time, but something is shown meanwhile."""

        pings = 0

        async def ping(self) -> None:
            self.pings += 1
            if self.pings == 1:
                session._shown += 1
                await trio.sleep_forever()

    client = SlowClient()
    session = connect._Session(client, None, trio.CancelScope())
    await session._wait_for_answers()
    assert client.pings == 2


async def test_bytes_go_out_and_come_in_as_they_are(stdin, monkeypatch):
    output = take_output(monkeypatch)
    received = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        received.append(await peer.next_frame())
        await peer.send(wire.binary(b"\0\xff\n") + wire.text("ä"))
        assert (await peer.next_frame()).opcode == wire.PING
        await peer.send(wire.close(1000))
        await peer.expect_close()
        await peer.stream.aclose()

    stdin.write(b"\x80\r\n\0")
    stdin.close()
    async with loopback_server(script) as url:
        assert await run_main("connect", "--binary", url) == 0
    assert received == [wire.ClientFrame(wire.BINARY, b"\x80\r\n\0")]
    assert output.getvalue() == b"\0\xff\n\xc3\xa4"


async def test_bytes_once_is_one_read(stdin, monkeypatch):
    output = take_output(monkeypatch)
    stdin.write(b"\x80")
    async with loopback_server(echo_script) as url:
        assert await run_main("connect", "-b", "-1", url) == 0
    assert output.getvalue() == b"\x80"


async def test_cancelled_read_leaves_input_to_the_next(stdin, monkeypatch):
    started = []

    async def start_late(read, *, abandon_on_cancel: bool) -> bytes:
        started.append(read)
        await trio.sleep_forever()

    stdin.write(b"for the next\n")
    with monkeypatch.context() as patch, trio.move_on_after(0):
        patch.setattr(trio.to_thread, "run_sync", start_late)
        await connect._read()
    assert [read() for read in started] == [b""]
    assert await connect._read() == b"for the next\n"


# Commands


async def test_command_pings(stdin, capsys):
    received = []
    stdin.write(b"/ping\nhi\n")
    stdin.close()
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "--slash", "-w", "0", url) == 0
    assert received == [(wire.TEXT, b"hi"), (1000, "")]
    assert capsys.readouterr().err.startswith("trio-wsclient: pong after ")


@pytest.mark.parametrize(
    ("line", "close"),
    [
        (b"/close", (1000, "")),
        (b"/close 3001", (3001, "")),
        (b"/close 1001 see you soon", (1001, "see you soon")),
    ],
)
async def test_command_closes(stdin, line: bytes, close: tuple[int, str]):
    received = []
    stdin.write(line + b"\n")
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "--slash", url) == 0
    assert received == [close]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"/close 999", "close code 999 can't be sent"),
        (b"/close soon", "invalid literal for int"),
        (b"/ping me", "no command: /ping me; // at the beginning stands for /"),
        (b"/help", "no command: /help"),
        (b"/", "no command: /"),
    ],
)
async def test_command_that_is_wrong_is_told_and_does_nothing(stdin, line, answer, capsys):
    received = []
    stdin.write(line + b"\nhi\n")
    stdin.close()
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "--slash", "-w", "0", url) == 0
    assert received == [(wire.TEXT, b"hi"), (1000, "")]
    assert answer in capsys.readouterr().err


async def test_two_slashes_are_one(stdin):
    received = []
    stdin.write(b"//ping\n")
    stdin.close()
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "--slash", "-w", "0", url) == 0
    assert received[0] == (wire.TEXT, b"/ping")


async def test_what_is_piped_is_no_command(stdin):
    received = []
    stdin.write(b"/close\n//x\n")
    stdin.close()
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", "-w", "0", url) == 0
    assert received == [(wire.TEXT, b"/close"), (wire.TEXT, b"//x"), (1000, "")]


async def test_at_a_keyboard_it_is_one(keyboard):
    received = []
    keyboard.write(b"/close 3000\n")
    async with loopback_server(keeps(received)) as url:
        assert await run_main("connect", url) == 0
    assert received == [(3000, "")]
