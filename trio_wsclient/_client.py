"""What the user holds: the open WebSocket."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from time import perf_counter
from typing import Literal, NamedTuple

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.pings import check_ping_payload, random_payload
from trio_wsclient._connection.receiving import Frames, Receiver
from trio_wsclient._connection.sending import (
    BytesLike,
    MessageWriter,
    Sender,
    encode,
    encode_binary,
    encode_binary_part,
    encode_text,
    encode_text_part,
)
from trio_wsclient._errors import (
    ClosedOnSend,
    ConnectionClosed,
    ConnectionClosedOK,
    UnexpectedMessage,
)
from trio_wsclient._headers import Headers
from trio_wsclient._http.url import URL
from trio_wsclient._net.tls_info import TLSInfo
from trio_wsclient._observe import ClientStatistics
from trio_wsclient._protocol.closing import CloseFrame, check_close
from trio_wsclient._protocol.events import Opcode


class ConnectionInfo(NamedTuple):
    """The facts that opening the connection has found."""

    url: URL
    shown_url: str  # fit for a log
    redirects: tuple[str, ...]
    subprotocol: str | None
    extensions: tuple[str, ...]
    response_headers: Headers
    local_address: object
    remote_address: object
    tls: TLSInfo | None
    fragment_size: int | None
    logger: logging.Logger


def describe_message(message: str | bytes) -> str:
    """Tell the type and the size of a message, for the text of an error."""
    kind = "Text" if isinstance(message, str) else "Binary"
    return f"a {kind} message of length {len(message)}"


class WebSocketClient(trio.abc.Channel[str | bytes]):
    """An open WebSocket, as ``open_websocket_client`` hands it over.

    Any number of tasks may use it at once. Each message goes to one of the tasks that receive.

    ``async for`` takes messages as ``receive`` does. It ends where ``receive`` would raise
    ``ConnectionClosedOK``, and raises ``ConnectionClosedError``.

    All methods raise a ``ConnectionClosed`` once the connection is over and every message that came
    before is taken: ``ConnectionClosedOK`` after a Close with 1000, 1001 or no code, or if this
    side asked for the end, ``ConnectionClosedError`` otherwise.
    """

    def __init__(self, connection: Connection, info: ConnectionInfo) -> None:
        self._connection = connection
        self._queue = connection.queue
        self._time_slice = connection.time_slice
        self._receiver = Receiver(connection)
        self._sender = Sender(connection, fragment_size=info.fragment_size)
        self._info = info

    def __repr__(self) -> str:
        state = self._connection.record.state.name
        return f"<WebSocketClient {self._info.shown_url} {state}>"

    # About the connection

    @property
    def url(self) -> str:
        """The URL, without the userinfo; after redirects the last one."""
        return str(self._info.url)

    @property
    def redirects(self) -> tuple[str, ...]:
        """The URLs that have redirected us, in their order, without userinfo."""
        return self._info.redirects

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has chosen (RFC 6455 §1.9)."""
        return self._info.subprotocol

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of the extensions in use, in their order (RFC 6455 §9)."""
        return self._info.extensions

    @property
    def response_headers(self) -> Headers:
        """The header fields of the server's response to the handshake."""
        return self._info.response_headers

    @property
    def local_address(self) -> object:
        """The address of this side, from ``socket.getsockname``; ``None`` if not on a socket."""
        return self._info.local_address

    @property
    def remote_address(self) -> object:
        """The address of the other side, from ``socket.getpeername``, or ``None``."""
        return self._info.remote_address

    @property
    def tls(self) -> TLSInfo | None:
        """What TLS with the server has agreed on; ``None`` without TLS.

        For TLS that you have started yourself, it is there if ``stream``, or what ``open_stream``
        returned, is a ``trio.SSLStream``.
        """
        return self._info.tls

    @property
    def logger(self) -> logging.Logger:
        """The logger of the connection."""
        return self._info.logger

    @property
    def connection_id(self) -> int:
        """The number of the connection in this process, as its log and its errors have it."""
        return self._connection.log.connection_id

    @property
    @enable_ki_protection
    def outcome(self) -> ConnectionClosed | None:
        """How the connection ended, as its calls would raise it; ``None`` until that is known.

        What has arrived is read first, without waiting.
        """
        connection = self._connection
        if not connection.record.is_known:
            connection.stream_reader.read_arrived_nowait()
        is_known = connection.record.is_known
        return connection.closing.close_error(ConnectionClosedOK) if is_known else None

    @property
    def closed_by(self) -> Literal["client", "server"] | None:
        """The side that decided first to close.

        ``None`` while the connection is open, if TCP ended without a Close, or if the client failed
        the connection: the server broke the protocol, or a keepalive ping was not answered.
        """
        return self._connection.record.closer

    @property
    def latency(self) -> float | None:
        """Seconds from the latest ping that was answered to its pong; ``None`` before one was."""
        return self._connection.pings.latency

    def statistics(self) -> ClientStatistics:
        """Return what the connection has done so far."""
        connection = self._connection
        queue, writer, pings = connection.queue, connection.writer, connection.pings
        saved_sent, saved_received = connection.protocol.saved
        return ClientStatistics(
            messages_sent=self._sender.messages_sent,
            messages_received=queue.messages_taken,
            bytes_sent=writer.bytes_sent,
            bytes_received=connection.stream_reader.bytes_received,
            uncompressed_bytes_sent=writer.bytes_sent + saved_sent,
            uncompressed_bytes_received=connection.stream_reader.bytes_received + saved_received,
            pings_sent=pings.sent,
            pings_received=connection.replies.pings_received,
            latency=pings.latency,
            smoothed_latency=pings.smoothed_latency,
            buffered_messages=queue.messages,
            buffered_bytes=queue.buffered_bytes,
            most_buffered_bytes=queue.most_bytes,
            seconds_full=connection.shared_reader.paused.seconds,
            seconds_writing=writer.time_blocked.seconds,
            tasks_waiting_send=self._sender.tasks_waiting,
            tasks_waiting_receive=self._receiver.tasks_waiting,
        )

    # Sending

    @enable_ki_protection
    async def send(self, value: str | BytesLike) -> None:
        """Send a message (RFC 6455 §5.6).

        It returns when the stream has taken the message. The server may not have received it yet.
        If the server replies while you send, receive in another task. Once ``max_buffered_bytes``
        are waiting, the client stops reading, and the server may stop reading too.

        If cancelled while other messages are sent first, nothing is sent. If cancelled while the
        message is being written, the frame is torn, and the connection has failed.

        If another task closes the connection meanwhile, the message has half of ``close_timeout``
        to finish. If it does not finish, the ``__cause__`` of the ``ConnectionClosedOK`` is
        ``RuntimeError("a message was left unfinished")``.

        Args:
            value: A ``str`` is sent as Text; ``bytes``, ``bytearray`` and ``memoryview`` as Binary,
                copied first.

        Raises:
            TypeError: It is of another type.
            ValueError: A ``str`` has a lone surrogate.
            RuntimeError: This task is inside a ``text_writer`` or ``binary_writer``.
            ConnectionClosed: The connection is over. The message may or may not have arrived.
        """
        await self._sender.send_message(*encode(value))

    @enable_ki_protection
    async def send_text(self, data: str | BytesLike) -> None:
        """Send a Text message, also from bytes that are UTF-8 already.

        Args:
            data: The text.

        Raises:
            ValueError: It is not UTF-8. For all else see ``send``.
        """
        await self._sender.send_message(Opcode.TEXT, encode_text(data))

    @enable_ki_protection
    async def send_binary(self, data: str | BytesLike) -> None:
        """Send a Binary message, also from a ``str``, as UTF-8. For all else see ``send``."""
        await self._sender.send_message(Opcode.BINARY, encode_binary(data))

    @enable_ki_protection
    async def send_many(self, messages: Iterable[str | BytesLike]) -> None:
        """Send several messages, one after the other, with no other message in between.

        This costs less than a call of ``send`` for each message, as many messages go in one write.
        While a long call is under way, other tasks run, and pings are answered.

        All messages are checked and copied before the first one is sent. In a long call other tasks
        run meanwhile: they must not change the messages until it returns.

        Args:
            messages: Each a ``str``, which is sent as Text, or bytes-like, which is sent as Binary.

        Raises:
            TypeError: A message is neither ``str`` nor bytes-like, or ``messages`` is one message.
                Nothing was sent.
            ValueError: A ``str`` has a lone surrogate. Nothing was sent.
            RuntimeError: This task is inside a ``text_writer`` or ``binary_writer``.
            ConnectionClosed: The connection is over. Some of the messages may have arrived.

        If cancelled before anything is written, nothing is sent, and the connection goes on. If
        cancelled once a part is written, the connection fails, as the rest never comes.
        """
        if isinstance(messages, str | bytes | bytearray | memoryview):
            raise TypeError("send_many takes messages, not one message")
        await self._sender.send_many(messages)

    def text_writer(self) -> MessageWriter[str]:
        """Return a context manager for sending a Text message part by part (RFC 6455 §5.4).

        Example:
            ::

                async with ws.text_writer() as writer:
                    await writer.write("one, ")
                    await writer.write("two")

        While its block is open other messages wait, but pings and pongs pass. If another task
        closes the connection meanwhile, the message has half of ``close_timeout`` to finish, as
        in ``send``. If the block is left by an exception, the connection is failed. It may raise
        what ``send`` raises.
        """
        return MessageWriter(self._sender, Opcode.TEXT, encode_text_part)

    def binary_writer(self) -> MessageWriter[BytesLike]:
        """Return a context manager for a Binary message part by part; see ``text_writer``."""
        return MessageWriter(self._sender, Opcode.BINARY, encode_binary_part)

    # Receiving

    @enable_ki_protection
    async def receive(self) -> str | bytes:
        """Wait for a message and take it.

        Cancelled, it takes nothing. Every call is a cancellation point. It is a schedule point only
        if the task has run for 0.3 ms.

        Returns:
            A ``str`` for Text, unless ``decode_text`` is off, ``bytes`` for Binary.

        Raises:
            ConnectionClosed: The connection is over, and no message is left.
                ``ConnectionClosedOK`` is also a ``trio.EndOfChannel`` here.
            trio.BusyResourceError: Another task waits in ``frames``.
            RuntimeError: ``frames`` has taken only a part of the message under way.
        """
        queue = self._queue
        if not queue.is_simple:
            self._receiver.check_between_messages()
        elif queue.front and perf_counter() < self._time_slice.ends:
            # A scheduler tick for each message would cost ten times the message.
            await checkpoint_if_cancelled()
            return queue.take_message()
        return await self._receiver.take(queue.take_message, is_message=True)

    @enable_ki_protection
    async def receive_text(self) -> str:
        """Wait for a message, which has to be Text, and take it.

        If cancelled: nothing is taken.

        Returns:
            The text.

        Raises:
            UnexpectedMessage: The message is Binary. It is taken, and the connection stays open.
            RuntimeError: ``decode_text`` is off, so Text can't be told from Binary. For all else
                see ``receive``.
        """
        if not self._queue.decode_text:
            raise RuntimeError("receive_text can't tell Text from Binary while decode_text is off")
        message = await self.receive()
        if isinstance(message, str):
            return message
        problem = f"received {describe_message(message)} instead of a Text message"
        raise UnexpectedMessage(problem, message)

    @enable_ki_protection
    async def receive_binary(self) -> bytes:
        """Wait for a message, which has to be Binary, and take it.

        If cancelled: nothing is taken.

        Returns:
            The bytes. If ``decode_text`` is off, those of a Text message too.

        Raises:
            UnexpectedMessage: The message is Text. It is taken, and the connection stays open. For
                all else see ``receive``.
        """
        message = await self.receive()
        if isinstance(message, bytes):
            return message
        problem = f"received {describe_message(message)} instead of a Binary message"
        raise UnexpectedMessage(problem, message)

    @enable_ki_protection
    def receive_nowait(self) -> str | bytes:
        """Take a message that is here already; raises ``trio.WouldBlock`` if there is none.

        What has arrived is read first, without waiting. For all else see ``receive``.
        """
        return self._receiver.receive_nowait()

    @enable_ki_protection
    async def receive_batch(self, max_messages: int | None = None) -> list[str | bytes]:
        """Wait for a message, and take it with all others that are here.

        Args:
            max_messages: How many to take at the most, 1 or more; ``None`` for no limit.

        Returns:
            One message or more. For all else see ``receive``.

        Raises:
            TypeError: ``max_messages`` is not a number.
            ValueError: ``max_messages`` is less than 1.
        """
        if max_messages is not None:
            if not isinstance(max_messages, int) or isinstance(max_messages, bool):
                raise TypeError(f"max_messages is an int, not {type(max_messages).__name__}")
            if max_messages < 1:
                raise ValueError(f"max_messages has to be at least 1, not {max_messages}")
        self._receiver.check_between_messages()
        return await self._receiver.take(partial(self._queue.take_messages, max_messages))

    def frames(self) -> Frames:
        """Return an iterator over the data frames, as they come (RFC 6455 §5.4).

        Between two messages ``receive`` may be used again. ``max_message_size`` holds here too:
        pass ``None`` for it to stream messages without end.
        """
        return Frames(self._receiver)

    # Pings

    @enable_ki_protection
    async def ping(self, payload: BytesLike | None = None) -> float:
        """Send a ping and wait for its pong (RFC 6455 §5.5.2).

        While more than ``max_buffered_bytes`` wait to be taken nothing is read: a task that pings
        and receives in turns has to bound this wait, or leave it to another task. Cancelled, the
        ping may have been sent; its pong is ignored.

        Args:
            payload: At most 125 bytes, other than those of a ping in flight; random by default.

        Returns:
            Seconds until the pong.

        Raises:
            TypeError: The payload is not bytes-like.
            ValueError: The payload is too long, or a ping with the same payload is in flight.
            ConnectionClosed: The connection ended first.
        """
        frozen = random_payload() if payload is None else check_ping_payload(payload)
        return await self._connection.ping(frozen)

    @enable_ki_protection
    async def pong(self, payload: BytesLike = b"") -> None:
        """Send an unsolicited pong, as a heartbeat (RFC 6455 §5.5.3).

        Args:
            payload: At most 125 bytes.

        Raises:
            TypeError: The payload is not bytes-like.
            ValueError: The payload is too long.
            ConnectionClosed: The connection is over.
        """
        frozen = check_ping_payload(payload)
        connection = self._connection
        if connection.record.closed_by is not None or not await connection.writer.write(
            lambda: [connection.protocol.send_pong(frozen)]
        ):
            raise await connection.closing.wait_close_error(ClosedOnSend)

    # Closing

    @enable_ki_protection
    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection (RFC 6455 §7.1.2), within ``close_timeout``.

        It returns when TCP is closed. What has arrived is read first: its messages may still be
        taken, and if the server's Close is among it, that Close counts. The calls of other tasks
        raise ``ConnectionClosed``. Later calls wait for the first one to end.
        Leaving the block does all this by itself, with code 1000. Cancelled, it closes TCP at
        once.

        A message that another task is sending has half of ``close_timeout`` to finish. If it does
        not finish, or if this task is inside a writer of its own, the Close has the code 1011. If
        the server never answers, the ``__cause__`` of what later calls raise is a
        ``trio.TooSlowError``.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4).
            reason: Text of at most 123 bytes of UTF-8.

        Raises:
            TypeError: The code is not an ``int``, or the reason not a ``str``.
            ValueError: They can't be sent. The connection stays open.
            WebSocketInternalError: A bug in this library has ended the connection.
        """
        check_close(code, reason)
        await self._connection.close(code, reason)
        if self._connection.closing.bug is not None:
            raise self._connection.closing.call_error(ConnectionClosedOK)

    @enable_ki_protection
    async def wait_closed(self) -> CloseFrame | None:
        """Wait until it is known how the connection ended.

        Nothing is read while more than ``max_buffered_bytes`` wait to be taken, so another task
        has to receive meanwhile.

        Returns:
            The server's Close frame; ``None`` if none came.

        Raises:
            WebSocketInternalError: A bug of this library has ended the connection.
        """
        connection = self._connection
        await trio.lowlevel.checkpoint()
        await connection.closing.wait_known()
        if connection.closing.bug is not None:
            raise connection.closing.call_error(ConnectionClosedOK)
        return connection.record.received


def connection_of(client: WebSocketClient) -> Connection:
    """Return the connection of a client, for the rooms above."""
    return client._connection  # noqa: SLF001 it is this module's own
