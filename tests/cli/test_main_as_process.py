"""The command line as a process of its own, as a shell runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio
import wire
from scripted_server import echo_script, loopback_server

COMMAND = [sys.executable, "-m", "trio_wsclient"]
# A shell without job control has its background jobs ignore SIGINT, and so all that they start.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("trio_wsclient", run_name="__main__")
"""


async def run_command(*arguments, stdin=b""):
    with trio.fail_after(60):
        return await trio.run_process(
            [*COMMAND, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=os.environ | {"PYTHONUTF8": "1"},
        )


@asynccontextmanager
async def running(*command):
    """Run a process that waits for input."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await trio.lowlevel.open_process(command, **pipes)
    try:
        async with process.stdin, process.stdout, process.stderr:
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def status_of(process):
    with trio.fail_after(60):
        return await process.wait()


async def line_of(stream):
    line = b""
    with trio.fail_after(60):
        while not line.endswith(b"\n"):
            line += await stream.receive_some()
    return line


async def rest_of(stream):
    with trio.fail_after(60):
        return b"".join([bytes(data) async for data in stream])


def says(*data):
    """Make a script that sends some frames, and then echoes."""

    async def script(peer):
        await peer.accept()
        await peer.send(b"".join(data))
        await peer.echo()

    return script


@pytest.mark.slow
async def test_process_shows_the_echo_of_a_pipe():
    async with loopback_server(echo_script) as url:
        done = await run_command("connect", url, stdin="hi\nhö".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == ["hi", "hö"]


async def test_process_fails_with_one_line():
    done = await run_command("connect", "ws://")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines() == [
        "trio-wsclient: invalid WebSocket URL: it has no host"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another way to send a Ctrl-C")
async def test_process_ends_at_a_ctrl_c_while_it_waits_for_input():
    connected, codes = trio.Event(), []

    async def script(peer):
        await peer.accept()
        await peer.send(wire.ping())
        assert (await peer.next_frame()).opcode == wire.PONG
        connected.set()
        codes.append(await peer.expect_close())
        await peer.wait_eof()

    async with (
        loopback_server(script) as url,
        running(sys.executable, "-c", INTERRUPTIBLE, "connect", url) as process,
    ):
        with trio.fail_after(60):
            await connected.wait()
        process.send_signal(signal.SIGINT)
        assert await rest_of(process.stderr) == b"trio-wsclient: interrupted\n"
        assert await status_of(process) == 130
    assert codes == [1001]


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error on Windows")
async def test_process_ends_without_a_traceback_when_its_reader_has_enough():
    enough = trio.Event()

    async def script(peer):
        await peer.accept()
        await peer.send(wire.text("first"))
        await enough.wait()
        await peer.send(wire.text("second"))
        await peer.close_politely()

    async with loopback_server(script) as url, running(*COMMAND, "connect", url) as process:
        assert await line_of(process.stdout) == b"first\n"
        await process.stdout.aclose()
        enough.set()
        assert await rest_of(process.stderr) == b""
        assert await status_of(process) == 141


async def test_process_ends_with_the_connection_though_it_waits_for_input():
    async with (
        loopback_server(says(wire.text("bye"), wire.close())) as url,
        running(*COMMAND, "connect", url) as process,
    ):
        assert (await rest_of(process.stdout)).split() == [b"bye"]
        assert await rest_of(process.stderr) == b""
        assert await status_of(process) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "out", "err"),
    [
        ("connect ws://127.0.0.1:1/ 2>&-", 1, b"", b""),
        ("bench -t 0 $URL 2>&-", 0, b"1 round trips", b""),
        ("connect -x hi -w 0 $URL >&-", 0, b"", b""),
        ("connect -b -x hi -w 0 $URL >&-", 0, b"", b""),
        ("connect -x hi $URL >/dev/full", 3, b"", b"trio-wsclient: [Errno 28] No space left"),
        ("connect $URL 0>/dev/null", 3, b"", b"trio-wsclient: [Errno 9] Bad file descriptor"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's")
async def test_process_bears_odd_descriptors(shell, status, out, err):
    async with loopback_server(echo_script) as url:
        command = f"{sys.executable} -m trio_wsclient {shell.replace('$URL', url)}"
        with trio.fail_after(60):
            done = await trio.run_process(
                ["sh", "-c", command], capture_stdout=True, capture_stderr=True, check=False
            )
    assert done.returncode == status
    assert done.stdout.startswith(out)
    assert (done.stdout == b"") == (out == b"")
    assert done.stderr.startswith(err)
    assert b"Traceback" not in done.stderr


async def test_command_line_does_not_load_what_only_tests_need():
    code = "import sys, trio_wsclient.__main__; sys.exit('trio.testing' in sys.modules)"
    assert (await trio.run_process([sys.executable, "-c", code], check=False)).returncode == 0
