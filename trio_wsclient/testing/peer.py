"""The server's end of a connection, for a test to script."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

import h11
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import generate_accept_token

from trio_wsclient import CloseFrame, Headers

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10  # RFC 6455 §5.2
_FIN: Final = 0x80
_NO_STATUS: Final = 1005  # RFC 6455 §7.1.5: a Close without a code
_READ_SIZE: Final = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has asked for.

    Attributes:
        target: Path and query.
        headers: The header fields.
    """

    target: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Rejection:
    """A response other than 101, with which a server rejects an opening handshake.

    Attributes:
        status_code: The HTTP status.
        headers: The header fields. A ``Content-Length`` is added, unless it or a
            ``Transfer-Encoding`` is among them.
        body: The body.
        reason_phrase: The text after the status.
    """

    status_code: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    reason_phrase: str = "Refused"

    def __post_init__(self) -> None:
        _check("status_code", self.status_code, "an int", int)
        _check("body", self.body, "bytes", bytes)
        _check("reason_phrase", self.reason_phrase, "a str", str)


Refuse: TypeAlias = Callable[[Request], int | Rejection | None]


class Peer:
    """The server's end of a connection, for a test to script.

    It reads by itself, and unless ``answers`` is ``False`` it answers pings, and Close by closing.

    Attributes:
        request: What the client has asked for.
        answers: Whether pings and the client's Close are answered; may be changed at any time.
        messages: All messages that have come so far, also those that were taken by ``receive``.
        pings: The payloads of all pings.
        pongs: The payloads of all pongs.
        close_received: The client's Close frame, once it has come.
    """

    def __init__(self, stream: trio.abc.Stream, *, answers: bool = True) -> None:
        self._stream = stream
        self._wsproto = Connection(ConnectionType.SERVER)
        self._lock = trio.Lock()
        self._flowing = trio.Event()
        self._flowing.set()
        self._reading = trio.CancelScope()
        self._put, self._taken = trio.open_memory_channel[str | bytes](float("inf"))
        self._parts: list[str | bytes] = []
        self._close_sent = False
        self._is_over = trio.Event()
        self.request: Request = Request("", Headers())
        self.answers: bool = answers
        self.messages: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.close_received: CloseFrame | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._is_over.is_set()

    # What comes

    async def receive(self) -> str | bytes:
        """Wait for the next message and take it.

        Raises:
            trio.EndOfChannel: There is none, and none will come.
        """
        return await self._taken.receive()

    def __aiter__(self) -> Peer:
        return self

    async def __anext__(self) -> str | bytes:
        """Take the next message; the iteration ends with the client's Close, or with TCP."""
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def wait_closed(self) -> CloseFrame | None:
        """Wait until the client has closed or ended TCP; return its Close, ``None`` without one."""
        await self._is_over.wait()
        return self.close_received

    # What goes

    async def send(self, message: str | bytes, *, fragment_size: int | None = None) -> None:
        """Send a message: a ``str`` as Text, ``bytes`` as Binary, in fragments if asked for.

        Args:
            message: The message.
            fragment_size: Bytes in each fragment; ``None`` for one frame.

        Raises:
            TypeError: The message is neither ``str`` nor ``bytes``.
            ValueError: ``fragment_size`` is less than 1.
        """
        _check("message", message, "str or bytes", str, bytes)
        if fragment_size is not None:
            _check("fragment_size", fragment_size, "an int", int)
            if fragment_size < 1:
                raise ValueError(f"fragment_size has to be at least 1, not {fragment_size}")
        opcode = _TEXT if isinstance(message, str) else _BINARY
        payload = message.encode() if isinstance(message, str) else message
        size = fragment_size or max(len(payload), 1)
        data = b""
        for start in range(0, max(len(payload), 1), size):
            is_last = start + size >= len(payload)
            data += _frame(opcode if start == 0 else 0, payload[start : start + size], fin=is_last)
        await self.send_raw(data)

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping; ``pongs`` will have its answer."""
        _check("payload", payload, "bytes", bytes)
        await self.send_raw(_frame(_PING, payload))

    async def pong(self, payload: bytes = b"") -> None:
        """Send a pong, asked for or not."""
        _check("payload", payload, "bytes", bytes)
        await self.send_raw(_frame(_PONG, payload))

    async def send_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a Close, ``None`` for one without a code, and leave it at that.

        TCP is ended when the client's Close has come, unless ``answers`` is ``False``.
        """
        if code is not None:
            _check("code", code, "an int", int)
        _check("reason", reason, "a str", str)
        self._close_sent = True
        payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        await self.send_raw(_frame(_CLOSE, payload))

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close: send a Close, wait for the client's, and end TCP (RFC 6455 §7.1.1).

        It reads again, if it was stalled.
        """
        self.go_on()
        if not self._close_sent:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_close(code, reason)
        await self.wait_closed()
        await self._stream.aclose()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, be they frames or not."""
        _check("data", data, "bytes", bytes)
        async with self._lock:
            await self._stream.send_all(data)

    async def cut(self) -> None:
        """End TCP without a Close."""
        await trio.aclose_forcefully(self._stream)

    def stall(self) -> None:
        """Stop reading, so that what the client writes has to wait, sooner or later."""
        self._flowing = trio.Event()
        self._reading.cancel()

    def go_on(self) -> None:
        """Read again."""
        self._flowing.set()

    # How it works

    async def shake_hands(
        self,
        *,
        subprotocols: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        refuse: Refuse | None = None,
    ) -> bool:
        """Answer the opening handshake (RFC 6455 §4.2.2); return whether it was accepted.

        Raises:
            TypeError: ``refuse`` has returned something else than a status or a ``Rejection``.
        """
        http = h11.Connection(h11.SERVER)
        while not isinstance(event := http.next_event(), h11.Request):
            if isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("TCP ended without a request")
            http.receive_data(bytes(await self._stream.receive_some(_READ_SIZE)))
        fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        self.request = Request(event.target.decode(), Headers(fields))
        rejection = None if refuse is None else _rejection_of(refuse(self.request))
        if rejection is not None:
            await self.send_raw(_reject(rejection))
            return False
        key = self.request.headers.get("Sec-WebSocket-Key")
        if key is None:  # Somebody who asks for something else.
            await self.send_raw(_answer("400 Bad Request", [("Content-Length", "0")]))
            return False
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", generate_accept_token(key.encode()).decode()),
            *headers,
        ]
        offered = self.request.headers.tokens("Sec-WebSocket-Protocol")
        chosen = next((name for name in offered if name in subprotocols), None)
        if chosen is not None:
            fields.append(("Sec-WebSocket-Protocol", chosen))
        await self.send_raw(_answer("101 Switching Protocols", fields))
        self._wsproto.receive_data(http.trailing_data[0])
        return True

    async def read(self) -> None:
        """Read until there is nothing more to come."""
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while self.close_received is None:
                    if not self._flowing.is_set():
                        await self._flowing.wait()
                        continue  # It may have been told to stall again.
                    with trio.CancelScope() as self._reading:
                        data = await self._stream.receive_some(_READ_SIZE)
                    if self._reading.cancelled_caught:
                        continue
                    if not data:
                        break
                    self._wsproto.receive_data(bytes(data))
                    await self._take_events()
        finally:
            self._put.close()
            self._is_over.set()

    async def _take_events(self) -> None:
        for event in self._wsproto.events():
            if isinstance(event, TextMessage | BytesMessage):
                self._take_message(event)
            elif isinstance(event, Ping):
                self.pings.append(bytes(event.payload))
                if self.answers:
                    await self.pong(bytes(event.payload))
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            else:
                assert isinstance(event, CloseConnection)
                self.close_received = CloseFrame(int(event.code), event.reason or "")
                if self.answers:
                    await self._answer_close(self.close_received)

    async def _answer_close(self, close: CloseFrame) -> None:
        if not self._close_sent:
            await self.send_close(None if close.code == _NO_STATUS else close.code)
        await self._stream.aclose()

    def _take_message(self, event: TextMessage | BytesMessage) -> None:
        self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
        if event.message_finished:
            message = _join(self._parts)
            self._parts = []
            self.messages.append(message)
            self._put.send_nowait(message)


def _join(parts: Sequence[str | bytes]) -> str | bytes:
    """Join the parts of one message, which are of one type."""
    if isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Serialise a frame of a server (RFC 6455 §5.2)."""
    first_byte, size = opcode | (_FIN if fin else 0), len(payload)
    if size <= 125:  # noqa: PLR2004 RFC 6455 §5.2
        return bytes((first_byte, size)) + payload
    if size < 65_536:  # noqa: PLR2004
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def _check(name: str, value: object, wanted: str, *types: type) -> None:
    """Raise a ``TypeError`` for an argument of a wrong type; a ``bool`` is no number."""
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(f"{name} has to be {wanted}, not {type(value).__name__}")


def _rejection_of(refused: object) -> Rejection | None:
    if inspect.iscoroutine(refused):
        refused.close()  # Python would warn that it was never awaited.
        raise TypeError("refuse has to be a plain function, not an async one")
    if refused is None or isinstance(refused, Rejection):
        return refused
    if isinstance(refused, int) and not isinstance(refused, bool):
        return Rejection(refused)
    kind = type(refused).__name__
    raise TypeError(f"refuse has to return a status, a Rejection or None, not {kind}")


def _reject(rejection: Rejection) -> bytes:
    fields = list(rejection.headers)
    if not {"content-length", "transfer-encoding"} & {name.lower() for name, _ in fields}:
        fields.append(("Content-Length", str(len(rejection.body))))
    status = f"{rejection.status_code} {rejection.reason_phrase}"
    return _answer(status, fields) + rejection.body


def _answer(status: str, fields: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
