"""The command line: ``trio-wsclient demo`` and ``trio-wsclient connect URL``.

It is a user like any other, with nothing but the public names. What a shell may rely on: messages
go to standard output, one a line, and all else to standard error; the exit statuses are below.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from trio_wsclient import (
    IMPLEMENTATION,
    ConnectionClosed,
    HandshakeError,
    InvalidURL,
    WebSocketClient,
    __version__,
    open_websocket_client,
)
from trio_wsclient._demo import demo

# Exit statuses beside 0; argparse has 2 for wrong usage.
_FAILED: Final = 1
_INTERRUPTED: Final = 130  # what a shell shows for a program that SIGINT has ended,
_PIPE_BROKEN: Final = 141  # and SIGPIPE

_STDIN: Final = 0
_READ_SIZE: Final = 65_536  # bytes, the capacity of a pipe on Linux
_PONG_PATIENCE: Final = 10.0  # seconds, as ``open_timeout`` and ``close_timeout``
_WAIT: Final = 1.0  # seconds: three round trips around the world


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: Instead of those of the process.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A message may have characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    status = 0
    try:
        if options.command == "demo":
            trio.run(demo, _show)
        else:
            trio.run(partial(connect, options.url, wait=options.wait))
    except* KeyboardInterrupt:
        status = _INTERRUPTED
        _say("interrupted")
    except* BrokenPipeError:
        status = _PIPE_BROKEN
        # Python flushes once more when it exits; that would end in a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* (InvalidURL, HandshakeError, ConnectionClosed, OSError) as group:
        status = _FAILED
        _say(str(_first(group)))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-wsclient",
        description="A WebSocket client (RFC 6455) on the command line.",
        epilog="Exit status: 0 when all went well, 1 when the connection failed, 2 for wrong "
        "usage, 130 after Ctrl-C, 141 when nobody reads the output any more.",
    )
    version = f"%(prog)s {__version__} (frames by {IMPLEMENTATION})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "hold a conversation with a server of its own, and show each step with its time"
    commands.add_parser("demo", help=text, description=text.capitalize() + ".")
    text = "send lines from standard input, and print what arrives"
    connecting = commands.add_parser(
        "connect",
        help=text,
        description="Send each line of standard input as a Text message (read as UTF-8; what is "
        "not is replaced by U+FFFD). Print each message that arrives on a line of its own: Text "
        "with control characters escaped, Binary as a Python literal. It ends when the server "
        "closes; or, after the end of standard input, when the server has answered a ping, so "
        "that it has all the lines, and some time more has passed (--wait).",
    )
    connecting.add_argument("url", metavar="URL", help="a ws or wss URL")
    connecting.add_argument(
        "-w",
        "--wait",
        type=_seconds,
        default=_WAIT,
        metavar="SECONDS",
        help="how long to go on printing after standard input has ended (default: %(default)g; "
        "inf: until the server closes)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:  # so that nan is refused too
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


async def connect(url: str, *, wait: float) -> None:
    """Send lines from standard input and print what arrives, until either side ends.

    Args:
        url: Whom to talk to.
        wait: Seconds to go on printing after standard input has ended.
    """
    async with open_websocket_client(url) as ws, trio.open_nursery() as nursery:
        _say_to_human(f"connected to {ws.url}; Ctrl-D closes")
        nursery.start_soon(_speak, ws, wait, nursery.cancel_scope)
        async for message in ws:
            _show(_printable(message) if isinstance(message, str) else repr(message))
        nursery.cancel_scope.cancel()
    _say_to_human(f"closed: {await ws.wait_closed() or 'no Close frame'}")


async def _speak(ws: WebSocketClient, wait: float, conversation: trio.CancelScope) -> None:
    """Send what standard input has to say, then end the conversation."""
    with suppress(ConnectionClosed):  # Whoever receives is told too.
        await _send_lines(ws)
        with trio.move_on_after(_PONG_PATIENCE):
            await ws.ping()
        await trio.sleep(wait)
        conversation.cancel()


async def _send_lines(ws: WebSocketClient) -> None:
    begun = bytearray()
    while data := await trio.to_thread.run_sync(_read_stdin, abandon_on_cancel=True):
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            lines = bytes(begun + head).split(b"\n")
            await ws.send_many(_text(line) for line in lines)
            begun.clear()
        begun += tail
    if begun:
        await ws.send(_text(begun))


def _read_stdin() -> bytes:
    # Not sys.stdin.buffer: its lock, held by an abandoned thread, aborts the interpreter at exit.
    # Without a standard input (``<&-``) the number 0 may be that of our socket.
    return b"" if sys.stdin is None else os.read(_STDIN, _READ_SIZE)


def _text(line: bytes | bytearray) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")


def _printable(text: str) -> str:
    """Escape what could make a terminal do something else than show it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _show(line: str) -> None:
    print(line, flush=True)


def _say(text: str) -> None:
    print(f"trio-wsclient: {_printable(text)}", file=sys.stderr)


def _say_to_human(text: str) -> None:
    if os.isatty(_STDIN):
        _say(text)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
