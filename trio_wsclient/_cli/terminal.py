"""What the command line shows: messages on standard output, all else on standard error."""

from __future__ import annotations

import os
import sys
from typing import Final, TextIO

from trio_wsclient._text import escape_controls

STDIN: Final = 0


def show(line: str) -> None:
    """Print a line of output."""
    print(line, flush=True)


def show_bytes(data: bytes) -> None:
    """Write bytes as they are."""
    if _is_there(sys.stdout):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def show_live(text: str) -> None:
    """Show a line that the next one takes the place of, if there is a terminal for it."""
    if _is_there(sys.stderr) and sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def clear_live() -> None:
    """Take the last such line away."""
    show_live("")


def print_status(text: str) -> None:
    """Tell the user something that is no output."""
    if _is_there(sys.stderr):  # Otherwise print would write to standard output.
        print(f"trio-wsclient: {escape_controls(text)}", file=sys.stderr)


def print_status_to_user(text: str) -> None:
    """Tell it if there is somebody at the keyboard."""
    if is_at_keyboard():
        print_status(text)


def is_at_keyboard() -> bool:
    return os.isatty(STDIN)


def _is_there(stream: TextIO | None) -> bool:
    """Tell whether there is such a stream: a shell may have closed its descriptor."""
    return stream is not None
