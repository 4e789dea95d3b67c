"""``trio-wsclient connect``: what is typed or piped goes out, and what comes is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

import trio

from trio_wsclient import ClientOptions, ConnectionClosed, WebSocketClient, open_websocket_client
from trio_wsclient._terminal import (
    STDIN,
    is_at_keyboard,
    printable,
    say,
    say_to_human,
    show,
    show_bytes,
)

_READ_SIZE: Final = 65_536  # bytes, the capacity of a pipe on Linux
_PONG_PATIENCE: Final = 10.0  # seconds, as ``open_timeout`` and ``close_timeout``


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How to talk.

    Attributes:
        messages: What to send instead of standard input, if there is something.
        wait: Seconds to go on showing what comes after all was sent.
        once: Whether to end after one message out and one in.
        binary: Whether to send and show bytes as they are.
        slash: Whether lines may be commands.
    """

    messages: tuple[str, ...] = ()
    wait: float
    once: bool = False
    binary: bool = False
    slash: bool = False


async def talk(url: str, options: ClientOptions, manners: Manners) -> None:
    """Send what there is to send and show what arrives, until either side ends."""
    async with open_websocket_client(url, **options) as ws, trio.open_nursery() as nursery:
        say_to_human(f"connected to {ws.url}; Ctrl-D closes")
        nursery.start_soon(_speak, ws, manners, nursery.cancel_scope)
        async for message in ws:
            _show(message, manners)
            if manners.once:
                break
        nursery.cancel_scope.cancel()
    say_to_human(f"closed: {await ws.wait_closed() or 'no Close frame'}")


def _show(message: str | bytes, manners: Manners) -> None:
    if manners.binary:
        show_bytes(message.encode() if isinstance(message, str) else message)
    else:
        show(printable(message) if isinstance(message, str) else repr(message))


async def _speak(ws: WebSocketClient, manners: Manners, conversation: trio.CancelScope) -> None:
    """Send all there is, then end the conversation."""
    with suppress(ConnectionClosed):  # Whoever receives is told too.
        if manners.messages:
            await ws.send_many(manners.messages[:1] if manners.once else manners.messages)
        elif manners.binary:
            await _send_pieces(ws, manners)
        else:
            await _send_lines(ws, manners)
        if manners.once:
            return
        with trio.move_on_after(_PONG_PATIENCE):
            await ws.ping()
        await trio.sleep(manners.wait)
        conversation.cancel()


async def _send_pieces(ws: WebSocketClient, manners: Manners) -> None:
    while data := await _read():
        await ws.send(data)
        if manners.once:
            return


async def _send_lines(ws: WebSocketClient, manners: Manners) -> None:
    has_commands = manners.slash or is_at_keyboard()
    async with aclosing(_lines()) as lines:
        async for batch in lines:
            if manners.once:
                await ws.send(batch[0])
                return
            if not has_commands:
                await ws.send_many(batch)
                continue
            for line in batch:
                await _heed(ws, line)


async def _heed(ws: WebSocketClient, line: str) -> None:
    """Do what a line says, or send it."""
    if not line.startswith("/") or line.startswith("//"):
        await ws.send(line.removeprefix("/"))
        return
    command, *arguments = line.split(maxsplit=2)
    if command == "/ping" and not arguments:
        say(f"pong after {1000 * await ws.ping():.1f} ms")
    elif command == "/close":
        try:
            code = int(arguments[0]) if arguments else 1000
            await ws.aclose(code, *arguments[1:])
        except ValueError as exc:
            say(str(exc))
    else:
        say(f"no command: {line}; // at the beginning stands for /")


async def _lines() -> AsyncGenerator[list[str], None]:
    """Yield the lines of standard input, those that come together at once."""
    begun = bytearray()
    while data := await _read():
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            lines = bytes(begun + head).split(b"\n")
            yield [_text(line) for line in lines]
            begun.clear()
        begun += tail
    if begun:
        yield [_text(begun)]


async def _read() -> bytes:
    return await trio.to_thread.run_sync(_read_stdin, abandon_on_cancel=True)


def _read_stdin() -> bytes:
    # Not sys.stdin.buffer: its lock, held by an abandoned thread, aborts the interpreter at exit.
    # Without a standard input (``<&-``) the number 0 may be that of our socket.
    return b"" if sys.stdin is None else os.read(STDIN, _READ_SIZE)


def _text(line: bytes | bytearray) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
