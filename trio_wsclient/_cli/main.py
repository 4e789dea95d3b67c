"""The command line: ``trio-wsclient connect``, ``bench`` and ``demo``.

It is a user like any other, with nothing but the public names. What a shell may rely on: messages
go to standard output, one a line, and all else to standard error; the exit statuses are below.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from trio_wsclient import ConnectionClosed, HandshakeError, open_websocket_client
from trio_wsclient._cli.arguments import options_of, parse
from trio_wsclient._cli.bench import NoEcho, measure
from trio_wsclient._cli.connect import ConnectSettings, run_session
from trio_wsclient._cli.terminal import print_status, show

# Exit statuses beside 0.
_NOT_OPEN: Final = 1
_WRONG_USAGE: Final = 2  # as argparse has it
_BROKEN_OFF: Final = 3
_INTERRUPTED: Final = 130  # what a shell shows for a program that SIGINT has ended,
_PIPE_BROKEN: Final = 141  # and SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: Instead of those of the process.
    """
    parsed = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A message may have characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    status = 0
    try:
        status = _run(parsed)
    except* KeyboardInterrupt:
        status = _INTERRUPTED
        print_status("interrupted")
    except* BrokenPipeError:
        status = _PIPE_BROKEN
        # Python flushes once more when it exits; that would end in a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* HandshakeError as group:
        status = _NOT_OPEN
        print_status(str(_first(group)))
    except* (ConnectionClosed, NoEcho, OSError) as group:  # of standard input and output
        status = _BROKEN_OFF
        print_status(str(_first(group)))
    return status


def _run(parsed: argparse.Namespace) -> int:
    if parsed.command == "demo":
        from trio_wsclient._cli.demo import demo  # noqa: PLC0415 it loads what only tests need

        trio.run(demo, show)
        return 0
    if parsed.insecure:
        print_status("warning: the certificate is not checked, so anybody may be the server")
    try:
        options = options_of(parsed)
        open_websocket_client(parsed.url, **options)
    except OSError as exc:  # of a file with certificates
        print_status(str(exc))
        return _NOT_OPEN
    except ValueError as exc:  # InvalidURL among them
        print_status(str(exc))
        return _WRONG_USAGE
    if parsed.command == "bench":
        trio.run(partial(measure, parsed.url, options, seconds=parsed.seconds, size=parsed.size))
        return 0
    settings = ConnectSettings(
        messages=tuple(parsed.execute),
        wait=parsed.wait,
        once=parsed.once,
        binary=parsed.binary,
        slash=parsed.slash,
    )
    trio.run(run_session, parsed.url, options, settings)
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
