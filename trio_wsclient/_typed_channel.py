"""A channel of values over a connection: JSON, or whatever two functions make of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from trio_wsclient._client import WebSocketClient, describe_message
from trio_wsclient._errors import UnexpectedMessage
from trio_wsclient._functions import refuse_async, refuse_coroutine
from trio_wsclient._interrupts import call_interruptible

Value = TypeVar("Value")


class TypedChannel(trio.abc.Channel[Value], Generic[Value]):
    """A ``trio.abc.Channel`` of values over a connection (JSON, msgspec, pydantic, protobuf, …).

    Example:
        ::

            channel = TypedChannel(ws, encode=json.dumps, decode=json.loads)
            await channel.send({"op": "subscribe"})
            async for event in channel:
                print(event["price"])

    Several channels may use one connection, and the connection may be used directly as well.

    Args:
        ws: The connection. Its methods raise what they always raise.
        encode: A plain function that makes a message of a value. A ``str`` is sent as Text, bytes
            as Binary.
        decode: A plain function that makes a value of a message. It is called with a ``str`` for
            Text, unless ``decode_text`` is off, and with ``bytes`` for Binary.
        text: Whether bytes that ``encode`` returns are sent as Text too. They have to be UTF-8.
            For encoders that return bytes, such as those of orjson and msgspec.

    Raises:
        TypeError: ``encode`` or ``decode`` is not a function.
    """

    def __init__(
        self,
        ws: WebSocketClient,
        *,
        encode: Callable[[Value], str | bytes | bytearray | memoryview],
        decode: Callable[[Any], Value],
        text: bool = False,
    ) -> None:
        for name, function in (("encode", encode), ("decode", decode)):
            refuse_coroutine(name, function)
            if not callable(function):
                raise TypeError(f"{name} has to be a function, not {type(function).__name__}")
        self._ws = ws
        self._encode = encode
        self._decode = decode
        self._text = text

    async def send(self, value: Value) -> None:
        """Encode a value, and send the message.

        What ``encode`` raises leaves as it is, and nothing is sent. For all else, also if
        cancelled, see ``WebSocketClient.send``.

        Args:
            value: What ``encode`` takes.

        Raises:
            TypeError: ``encode`` returned neither a ``str`` nor bytes.
            ConnectionClosed: The connection is over. The message may or may not have arrived.
        """
        message = call_interruptible(self._encode, value)
        refuse_async("encode", message)
        await (self._ws.send_text(message) if self._text else self._ws.send(message))

    async def receive(self) -> Value:
        """Wait for a message, and decode it.

        If cancelled: nothing is taken.

        Returns:
            What ``decode`` has made of the message.

        Raises:
            UnexpectedMessage: ``decode`` raised an ``Exception``, which is the ``__cause__``. The
                message is taken, and the channel goes on.
            ConnectionClosed: The connection is over, and no message is left.
                ``ConnectionClosedOK`` is also a ``trio.EndOfChannel`` here.
        """
        message = await self._ws.receive()
        try:
            value = call_interruptible(self._decode, message)
        except Exception as exc:
            problem = f"decode raised {type(exc).__name__} for {describe_message(message)}"
            raise UnexpectedMessage(problem, message) from exc
        refuse_async("decode", value)
        return value

    async def aclose(self) -> None:
        """Close the connection, as ``WebSocketClient.aclose`` does, with code 1000."""
        await self._ws.aclose()
