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
from trio_wsclient._cli.terminal import (
    STDIN,
    is_at_keyboard,
    print_status,
    print_status_to_user,
    show,
    show_bytes,
)
from trio_wsclient._text import escape_controls

_READ_SIZE: Final = 65_536  # bytes, the capacity of a pipe on Linux
_PONG_PATIENCE: Final = 10.0  # seconds, as ``open_timeout`` and ``close_timeout``


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectSettings:
    """How a session is held.

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


async def run_session(url: str, options: ClientOptions, settings: ConnectSettings) -> None:
    """Send what there is to send and show what arrives, until either side ends."""
    async with open_websocket_client(url, **options) as ws, trio.open_nursery() as nursery:
        print_status_to_user(f"connected to {ws.url}; Ctrl-D closes")
        session = _Session(ws, settings, nursery.cancel_scope)
        nursery.start_soon(session.speak)
        await session.listen()
    print_status_to_user(f"closed: {await ws.wait_closed() or 'no Close frame'}")


class _Session:
    """What goes out and comes in on one connection.

    Args:
        ws: The connection.
        settings: How.
        scope: Cancelled at the end.
    """

    def __init__(
        self, ws: WebSocketClient, settings: ConnectSettings, scope: trio.CancelScope
    ) -> None:
        self._ws = ws
        self._settings = settings
        self._scope = scope
        self._has_sent = False
        self._shown = 0  # messages

    # In

    async def listen(self) -> None:
        """Show what comes, until either side ends."""
        async for message in self._ws:
            self._show(message)
            if self._settings.once and self._has_sent:
                break
        self._scope.cancel()

    def _show(self, message: str | bytes) -> None:
        if self._settings.binary:
            show_bytes(message.encode() if isinstance(message, str) else message)
        else:
            show(escape_controls(message) if isinstance(message, str) else repr(message))
        self._shown += 1

    def _show_rest(self) -> None:
        """Show what has come, but has not been shown because the output is slow."""
        with suppress(trio.WouldBlock):
            while True:
                self._show(self._ws.receive_nowait())

    # Out

    async def speak(self) -> None:
        """Send all there is, then end the session."""
        settings = self._settings
        with suppress(ConnectionClosed):  # The task that receives raises it, too.
            if settings.messages:
                await self._ws.send_many(
                    settings.messages[:1] if settings.once else settings.messages
                )
                self._has_sent = True
            elif settings.binary:
                await self._send_pieces()
            else:
                await self._send_lines()
            if settings.once and self._has_sent:
                return  # It ends with the answer.
            await self._wait_for_answers()
            await trio.sleep(settings.wait)
            self._show_rest()
            self._scope.cancel()

    async def _wait_for_answers(self) -> None:
        """Wait for a pong, behind which there are answers to all that was sent."""
        while True:
            shown = self._shown
            with trio.move_on_after(_PONG_PATIENCE):
                await self._ws.ping()
                return
            if shown == self._shown:  # Otherwise we are slow, not the server.
                return

    async def _send_pieces(self) -> None:
        while data := await _read():
            await self._ws.send(data)
            self._has_sent = True
            if self._settings.once:
                return

    async def _send_lines(self) -> None:
        has_commands = self._settings.slash or is_at_keyboard()
        async with aclosing(_lines()) as lines:
            async for batch in lines:
                if self._settings.once:
                    await self._ws.send(batch[0])
                    self._has_sent = True
                    return
                if not has_commands:
                    await self._ws.send_many(batch)
                    continue
                for line in batch:
                    await _run_command(self._ws, line)


async def _run_command(ws: WebSocketClient, line: str) -> None:
    """Do what a line says, or send it."""
    if not line.startswith("/") or line.startswith("//"):
        await ws.send(line.removeprefix("/"))
        return
    command, *arguments = line.split(maxsplit=2)
    if command == "/ping" and not arguments:
        print_status(f"pong after {1000 * await ws.ping():.1f} ms")
    elif command == "/close":
        try:
            code = int(arguments[0]) if arguments else 1000
            await ws.aclose(code, *arguments[1:])
        except ValueError as exc:
            print_status(str(exc))
    else:
        print_status(f"no command: {line}; // at the beginning stands for /")


async def _lines() -> AsyncGenerator[list[str], None]:
    """Yield lists of lines of standard input; lines that come together are in one list."""
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
    """Wait in a thread for input. If cancelled: a thread that begins later takes nothing."""
    is_wanted = True

    def read() -> bytes:
        return _read_stdin() if is_wanted else b""

    try:
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    finally:
        is_wanted = False


def _read_stdin() -> bytes:
    # Not sys.stdin.buffer: its lock, held by an abandoned thread, aborts the interpreter at exit.
    # Without a standard input (``<&-``) the number 0 may be that of our socket.
    return b"" if sys.stdin is None else os.read(STDIN, _READ_SIZE)


def _text(line: bytes | bytearray) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
