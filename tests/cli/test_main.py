"""The command line, called in this process."""

from __future__ import annotations

import importlib.metadata
import io
import os
import queue
import runpy
import signal
import sys
import threading
from contextlib import contextmanager

import pytest
import trio
import wire
from command_line import run_main
from scripted_server import echo_script, loopback_server

import trio_wsclient.__main__
from trio_wsclient import (
    IMPLEMENTATION,
    __version__,
    open_websocket_client,
)
from trio_wsclient._cli import arguments, connect, terminal
from trio_wsclient._cli.main import main


@pytest.fixture
def broken_pipe():
    """A text file to write to that nobody reads any more."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w", encoding="utf-8") as output:
        yield output


@contextmanager
def server_in_a_thread(script):
    """Serve while the main thread, where alone signals arrive, does something else."""
    started = queue.SimpleQueue()

    async def serve():
        with trio.CancelScope() as scope:
            async with loopback_server(script) as url:
                started.put((url, trio.lowlevel.current_trio_token(), scope))
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    url, token, scope = started.get(timeout=60)
    try:
        yield url
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(timeout=60)
        assert not thread.is_alive()


def listener_to(received):
    """Make a script that notes the lines, answers the ping after them and closes politely."""

    async def script(peer):
        await peer.accept()
        while (frame := await peer.next_frame()).opcode == wire.TEXT:
            received.append(frame.payload.decode())
        assert frame.opcode == wire.PING
        await peer.send(wire.pong(frame.payload))
        received.append(await peer.expect_close())
        await peer.send(wire.close())
        await peer.stream.aclose()

    return script


def says(*data):
    """Make a script that sends some frames, and then does as the client does."""

    async def script(peer):
        await peer.accept()
        await peer.send(b"".join(data))
        await peer.echo()

    return script


# What is sent


async def test_each_line_is_a_message_and_eof_closes_with_1000(stdin):
    received = []
    stdin.write(b"one\n\ntwo words\nCRLF\r\n")
    stdin.close()
    async with loopback_server(listener_to(received)) as url:
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == ["one", "", "two words", "CRLF", 1000]


async def test_last_line_needs_no_newline(stdin):
    received = []
    stdin.write(b"whole\nhalf")
    stdin.close()
    async with loopback_server(listener_to(received)) as url:
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == ["whole", "half", 1000]


async def test_line_that_comes_in_pieces_is_one_message(stdin, monkeypatch):
    received = []
    monkeypatch.setattr(connect, "_READ_SIZE", 1)
    stdin.write("one €\ntwo\r\nthree".encode())
    stdin.close()
    async with loopback_server(listener_to(received)) as url:
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == ["one €", "two", "three", 1000]


async def test_line_longer_than_a_pipe_is_one_message(stdin):
    received = []

    def write():
        with stdin:
            stdin.write(b"x" * 200_000 + b"\n")

    async with loopback_server(listener_to(received)) as url, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == ["x" * 200_000, 1000]


async def test_what_is_not_utf8_is_replaced(stdin):
    received = []
    stdin.write(b"\xe9t\xe9\n")
    stdin.close()
    async with loopback_server(listener_to(received)) as url:
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == ["\ufffdt\ufffd", 1000]


# What is printed


async def test_pipe_shows_the_echo(stdin, capsys):
    stdin.write(b"hi\nho\n")
    stdin.close()
    async with loopback_server(echo_script) as url:
        assert await run_main("connect", url) == 0
    assert capsys.readouterr() == ("hi\nho\n", "")


async def test_each_message_is_a_line_with_control_characters_escaped(stdin, capsys):
    frames = [
        wire.text("two\nlines\ttab"),
        wire.text("\x1b]0;title\x07 \u202e \x9b"),
        wire.text("größer €"),
        wire.binary(b"\x00\xff'"),
        wire.close(),
    ]
    async with loopback_server(says(*frames)) as url:
        assert await run_main("connect", url) == 0
    assert capsys.readouterr().out.splitlines() == [
        r"two\nlines\ttab",
        r"\x1b]0;title\x07 \u202e \x9b",
        "größer €",
        r'''b"\x00\xff'"''',
    ]


async def test_character_that_the_output_lacks_is_escaped(stdin, monkeypatch):
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="latin-1"))
    async with loopback_server(says(wire.text("größer €"), wire.close())) as url:
        assert await run_main("connect", url) == 0
    assert output.getvalue() == "größer \\u20ac\n".encode("latin-1")


async def test_output_may_be_any_object(stdin, monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    async with loopback_server(says(wire.text("hi"), wire.close())) as url:
        assert await run_main("connect", url) == 0
    assert output.getvalue() == "hi\n"


# How it ends


async def test_server_that_closes_ends_it_though_input_is_open(stdin, capsys):
    async with loopback_server(says(wire.close(1001))) as url:
        assert await run_main("connect", url) == 0
    assert capsys.readouterr() == ("", "")


async def test_missing_standard_input_is_at_its_end(stdin, monkeypatch):
    received = []
    stdin.write(b"what descriptor 0 has now is not for us\n")
    monkeypatch.setattr(sys, "stdin", None)
    async with loopback_server(listener_to(received)) as url:
        assert await run_main("connect", "--wait", "0", url) == 0
    assert received == [1000]


async def test_wait_inf_prints_until_the_server_closes(stdin, capsys):
    async def script(peer):
        await peer.accept()
        ping = await peer.next_frame()
        await peer.send(wire.pong(ping.payload))
        await peer.send(wire.text("late"))
        await trio.sleep(2 * arguments._WAIT)
        await peer.send(wire.text("later") + wire.close())
        await peer.close_politely()

    stdin.close()
    async with loopback_server(script) as url:
        assert await run_main("connect", "-w", "inf", url) == 0
    assert capsys.readouterr().out == "late\nlater\n"


async def test_server_that_answers_no_ping_is_left_all_the_same(stdin, monkeypatch):
    async def script(peer):
        await peer.accept()
        await peer.close_politely()

    monkeypatch.setattr(connect, "_PONG_PATIENCE", 0.01)
    stdin.close()
    async with loopback_server(script) as url:
        assert await run_main("connect", "--wait", "0", url) == 0


async def test_wait_has_a_bound_though_the_server_talks_without_end(stdin, capsys):
    async def script(peer):
        await peer.accept()
        await peer.send(wire.pong((await peer.next_frame()).payload))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, peer)
            assert await peer.expect_close() == 1000
            nursery.cancel_scope.cancel()
        await peer.send(wire.close())
        await peer.stream.aclose()

    async def talk(peer):
        while True:
            await peer.send(wire.text("tick"))
            await trio.sleep(0.01)

    stdin.close()
    async with loopback_server(script) as url:
        assert await run_main("connect", "--wait", "0.05", url) == 0
    assert capsys.readouterr().out.startswith("tick\n")


async def test_terminal_shows_how_a_connection_begins_and_ends(keyboard, capsys):
    keyboard.write(b"hi\n\x04")  # Ctrl-D
    async with loopback_server(echo_script) as url:
        assert await run_main("connect", "--wait", "0.2", url) == 0
    out, err = capsys.readouterr()
    assert out == "hi\n"
    assert err == (
        f"trio-wsclient: connected to {url}; Ctrl-D closes\n"
        "trio-wsclient: closed: 1000 (normal closure)\n"
    )


# How it fails: one line, and the status


async def forbid(peer):
    await peer.read_request()
    await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


async def hang_up(peer):
    await peer.accept()
    await peer.stream.aclose()


@pytest.mark.parametrize(
    ("script", "status", "line"),
    [
        (forbid, 1, "the server refused the WebSocket: HTTP status 403 Forbidden"),
        (says(wire.close(1011, b"x\ny")), 3, r'closed by the server: 1011 (internal error) "x\ny"'),
        (hang_up, 3, "no Close frame: the stream ended"),
    ],
    ids=["refused", "closed with an error", "cut off"],
)
async def test_failed_connection_is_one_line_and_its_status(script, status, line, stdin, capsys):
    async with loopback_server(script) as url:
        assert await run_main("connect", url) == status
    assert capsys.readouterr() == ("", f"trio-wsclient: {line}\n")


async def test_server_that_fails_while_lines_are_sent_is_one_line(stdin, capsys):
    def write():
        with stdin:
            stdin.write(b"x\n" * 1_000_000)

    async def script(peer):
        await peer.accept()
        await peer.next_frame()
        await peer.send(wire.close(1013))
        await peer.wait_eof()

    async with loopback_server(script) as url, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: trio.to_thread.run_sync(write, abandon_on_cancel=True))
        assert await run_main("connect", url) == 3
        nursery.cancel_scope.cancel()
        while os.read(0, 65_536):  # so that the thread that writes comes to its end
            pass
    assert capsys.readouterr().err == (
        "trio-wsclient: closed by the server: 1013 (try again later)\n"
    )


async def test_line_that_comes_too_late_is_dropped_without_a_word(stdin):
    stdin.write(b"too late\n")
    async with loopback_server(echo_script) as url, open_websocket_client(url) as ws:
        await ws.aclose()
        with trio.fail_after(60), trio.CancelScope() as session:
            await connect._Session(ws, connect.ConnectSettings(wait=0), session).speak()
    assert not session.cancel_called


def test_wrong_url_is_one_line_and_status_2(capsys):
    assert main(["connect", "ftp://example.org/"]) == 2
    assert capsys.readouterr().err == (
        "trio-wsclient: invalid WebSocket URL: "
        "it does not begin with ws://, wss://, http:// or https://\n"
    )


async def test_no_server_is_one_line_and_status_1(capsys):
    async with loopback_server(echo_script) as url:
        pass
    assert await run_main("connect", url) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("trio-wsclient: no TCP connection to 127.0.0.1 port ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["connect"],
        ["connect", "--wait", "-1", "ws://x/"],
        ["connect", "--wait", "nan", "ws://x/"],
        ["connect", "--wait", "long", "ws://x/"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: trio-wsclient")


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    expected = f"trio-wsclient {__version__} (frames by {IMPLEMENTATION})\n"
    assert capsys.readouterr().out == expected


def test_demo_goes_to_standard_output(capsys):
    assert main(["demo"]) == 0
    assert capsys.readouterr().out.count("\n") == 8


def test_module_runs_with_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["trio-wsclient", "connect", "ftp://example.org/"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(trio_wsclient.__main__.__file__, run_name="__main__")
    assert stopped.value.code == 2


def test_where_there_is_no_output_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    terminal.print_status("to nobody")
    terminal.show_live("to nobody")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stdout", None)
    terminal.show_bytes(b"to nobody")


def test_console_script_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="trio-wsclient")
    assert script.load() is main


# Ctrl-C, and a reader that has enough


def test_interrupt_is_one_line_and_status_130(stdin, capsys):
    codes = []

    async def script(peer):
        await peer.accept()
        await peer.send(wire.ping())
        assert (await peer.next_frame()).opcode == wire.PONG  # so the block is entered
        signal.raise_signal(signal.SIGINT)
        codes.append(await peer.expect_close())
        await peer.wait_eof()

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with server_in_a_thread(script) as url:
            assert main(["connect", url]) == 130
    finally:
        signal.signal(signal.SIGINT, former)
    assert capsys.readouterr() == ("", "trio-wsclient: interrupted\n")
    assert codes == [1001]


async def test_broken_pipe_is_silent_and_status_141(stdin, broken_pipe, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", broken_pipe)
    async with loopback_server(says(wire.text("hi"))) as url:
        assert await run_main("connect", url) == 141
    assert capsys.readouterr().err == ""
