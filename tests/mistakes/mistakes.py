"""How a mistake is made, and how its error is shown in the table.

A row of ``table.txt`` is a line of Python, or the name of a situation, and the error that it gives.
A situation is a server, a proxy or a certificate that is not as it should be.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import math
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import trio
import trio.testing
import trustme
from scripted_server import Peer, Script, echo_script, loopback_server
from thread_server import ThreadPeer, thread_server

import trio_wsclient
from trio_wsclient import open_websocket_client

T = TypeVar("T")

TABLE = Path(__file__).with_name("table.txt")
_INDENT = "    "
_ACCEPT = re.compile(r"[A-Za-z0-9+/]{27}=")  # a value of Sec-WebSocket-Accept


class Place:
    """Where a mistake is made: it has the servers, and ends them.

    Args:
        stack: Ends the servers.
        ca: The CA that the client trusts.
    """

    def __init__(self, stack: AsyncExitStack, ca: trustme.CA) -> None:
        self._stack = stack
        self.ca = ca
        self._ports: list[str] = []

    @property
    def trusting(self) -> ssl.SSLContext:
        """TLS of a client that trusts the CA of the servers."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        return context

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that lasts until the mistake is made."""
        return self._stack.enter_context(context)

    def unused_port(self) -> str:
        """Return a port on which nobody listens."""
        bound = self.enter(closing(socket.socket()))
        bound.bind(("127.0.0.1", 0))
        self._ports.append(str(bound.getsockname()[1]))
        return self._ports[-1]

    async def serve(self, script: Script, *, tls: ssl.SSLContext | None = None) -> str:
        """Start a server on loopback, and return its URL."""

        async def patient(peer: Peer) -> None:
            with suppress(trio.BrokenResourceError):  # The client has ended TCP, as it should.
                await script(peer)

        url = await self._stack.enter_async_context(loopback_server(patient, ssl_context=tls))
        await trio.testing.wait_all_tasks_blocked()  # It listens.
        self._ports.append(url.rpartition(":")[2].strip("/"))
        return url

    def serve_tls(self, tls: ssl.SSLContext) -> str:
        """Start a server that tells its faults by alerts, which `trio.SSLStream` does not."""

        def script(peer: ThreadPeer) -> None:
            assert peer.read(1) == b"", "the client has said something to a server that is not it"

        url = self.enter(thread_server(script, tls=tls)).url
        self._ports.append(url.rpartition(":")[2].strip("/"))
        return url

    async def open(self, url: str, **options: Any) -> NoReturn:
        """Try to open a connection."""
        async with open_websocket_client(url, **options):
            pytest.fail("it is open")

    def shown(self, error: BaseException) -> str:
        """Return what a traceback says of an error, without what differs from run to run."""
        kind = type(error)
        name = (
            kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        )
        text = f"{name}: {error}" if str(error) else name
        text = "\n".join([text, *getattr(error, "__notes__", ())])
        for port in self._ports:
            text = text.replace(port, "PORT")
        return _ACCEPT.sub("ACCEPT", text)


Situation = Callable[[Place], Awaitable[object]]
SITUATIONS: dict[str, Situation] = {}


def situation(title: str) -> Callable[[Situation], Situation]:
    """Decorate a situation with its title in the table."""

    def decorate(run: Situation) -> Situation:
        assert title not in SITUATIONS
        SITUATIONS[title] = run
        return run

    return decorate


@dataclass(frozen=True)
class Mistake:
    """A row of the table.

    Attributes:
        section: The title above it.
        title: A line of Python, or the name of a situation.
        error: What a traceback says of its error.
    """

    section: str
    title: str
    error: str

    @property
    def is_of_time(self) -> bool:
        """Whether it takes a clock that the situation moves."""
        return self.section.endswith("timeouts")


def read_table() -> Iterator[Mistake]:
    """Read the table: a title is not indented, an error is. Blank lines separate the rows."""
    section = ""
    for block in re.split(r"\n\n+", TABLE.read_text(encoding="utf-8").strip()):
        first, *rest = block.split("\n")
        if first.startswith("== "):
            section = first.strip("= ")
        elif not first.startswith("#"):
            yield Mistake(section, first, "\n".join(line.removeprefix(_INDENT) for line in rest))


def write_table(errors: dict[str, str]) -> None:
    """Write the table again, with other errors of the same mistakes."""
    blocks = re.split(r"\n\n+", TABLE.read_text(encoding="utf-8").strip())
    titles = [block.split("\n")[0] for block in blocks]
    new = [
        f"{title}\n{_INDENT}{errors[title].replace(chr(10), chr(10) + _INDENT)}"
        if title in errors
        else block
        for title, block in zip(titles, blocks, strict=True)
    ]
    TABLE.write_text("\n\n".join(new) + "\n", encoding="utf-8")


async def error_of(title: str, ca: trustme.CA) -> str:
    """Make a mistake, and return what is said of it."""
    make = SITUATIONS.get(title) or (lambda place: _run_line(title, place))
    with trio.fail_after(10):
        async with AsyncExitStack() as stack:
            place = Place(stack, ca)
            try:
                await make(place)
            except Exception as exc:
                return place.shown(exc)
    pytest.fail("there is no error")


async def _run_line(line: str, place: Place) -> None:
    names = {
        **vars(trio_wsclient),
        "asyncio": asyncio,
        "handler": _handler,
        "logging": logging,
        "math": math,
        "run_in_thread": trio.to_thread.run_sync,  # what runs there is not under Trio
        "ssl": ssl,
        "sync_handler": lambda ws: None,
        "trio": trio,
        "url": await place.serve(echo_script),
    }
    result = eval(compile(line, "<table>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(result):
        await result


async def _handler(ws: object) -> None:
    pytest.fail("it is called")
