"""Fuzz targets: all code that reads a peer's bytes. A target gets any bytes, and must not raise.

Each target knows more than that: the reader finds the same in pieces as in a whole, and the same as
wsproto; and a response means the same however it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from unittest import mock

import trio
import wire
from handshake_tables import complete, outcome, upgrade
from protocol_tables import make_protocol, sent
from protocol_tables import read as read_events
from test_against_wsproto import is_intended, read, read_by_wsproto

from trio_wsclient import PerMessageDeflate, ProxyError
from trio_wsclient._http.http11 import HTTP11Exchange, MalformedResponse
from trio_wsclient._net.socks import connect as connect_by_socks
from trio_wsclient._protocol.closing import ProtocolViolation
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.limits import Limits

LIMITS = [None, 1, 20, 125, 126, 1000, 65_535, 65_536]


class Choices:
    """Choices and data that are taken out of the bytes of the fuzzer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, most: int) -> int:
        """Take a number from 0 to `most`."""
        byte = self._data[:1] or b"\0"
        self._data = self._data[1:]
        return byte[0] % (most + 1)

    def take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    @property
    def rest(self) -> bytes:
        return self._data


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return wire.cut(data, range(size, len(data), size)) if data else []


# Bytes at the end of an input, so that the header in which it ends is complete, and one byte of its
# payload is here. Before these, wsproto waits where the reader refuses a header, or the other way.
_REST = bytes(10)


def is_allowed(end: object, expected_end: object, *, deflate: bool) -> bool:
    """Return whether the reader may end in another way than wsproto.

    For wsproto, `Inflate` inflates a frame when it is complete; the reader inflates what has come.
    So in the last frame the reader may find bad data, or bad text, for which wsproto still waits.
    """
    if is_intended(end, expected_end):
        return True
    return deflate and expected_end is None and getattr(end, "code", None) == 1007


def compare_with_wsproto(data: bytes, size: int, *, deflate: bool) -> None:
    """Check that the reader, given pieces, finds what wsproto finds in the whole."""
    data += _REST
    found, end = read(pieces_of(data, size), deflate=deflate)
    expected, expected_end = read_by_wsproto(data, deflate=deflate)
    if is_allowed(end, expected_end, deflate=deflate):
        end = expected_end
    if isinstance(end, ProtocolViolation):
        end = end.code
    assert (found, end) == (expected, expected_end)
    assert [*map(type, found)] == [*map(type, expected)]


# Faults in what comes out of a compressed message, or of its beginning.
_FAULTS_INSIDE = ("not deflate data", "that is not UTF-8", "max_message_size")


def conversation(
    pieces: list[bytes], limits: Limits, *, decode_text: bool, deflate: bool
) -> tuple[object, object]:
    """Return the events in the pieces, and how the connection ends after them."""
    extensions = []
    if deflate:
        extensions.append(Deflate(PerMessageDeflate(), limits))
        extensions[0].finalize("permessage-deflate")
    protocol = make_protocol(**limits._asdict(), decode_text=decode_text, extensions=extensions)
    events = [(type(event), event) for event in read_events(protocol, *pieces)]
    closing = protocol.closing
    if deflate and any(fault in str(closing.cause) for fault in _FAULTS_INSIDE):
        # A message may have several of them. Which one is found first depends on how much has
        # come: the reader inflates all of that before it looks at the text.
        return events, "a fault inside of a compressed message"
    how = (closing.closed_by, closing.closed_mid_message, type(closing.cause), str(closing.cause))
    return events, (how, closing.received, closing.sent, sent(protocol))


def compare(choices: Choices, data: bytes, size: int) -> None:
    """Check the reader against wsproto, and against itself: in pieces, and in one piece."""
    options = {"decode_text": choices.number(1) == 0, "deflate": choices.number(1) == 1}
    limits = Limits(LIMITS[choices.number(7)], LIMITS[choices.number(7)])
    compare_with_wsproto(data, size, deflate=options["deflate"])
    cut = conversation(pieces_of(data, size), limits, **options)
    assert cut == conversation([data] if data else [], limits, **options)


def frames(data: bytes) -> None:
    """Frames, as any bytes."""
    choices = Choices(data)
    size, settings = 1 + choices.number(255), Choices(choices.take(4))
    compare(settings, choices.rest, size)


def messages(data: bytes) -> None:
    """Frames that are sound as such, with anything in them: above all what is to be inflated."""
    choices = Choices(data)
    size, settings = 1 + choices.number(255), Choices(b"\0\1" + choices.take(2))
    sent = b""
    while choices.rest:
        kind = choices.number(11)
        payload = choices.take(choices.number(130))
        opcode = (wire.TEXT, wire.BINARY, wire.CONTINUATION, wire.PING, wire.PONG, wire.CLOSE)[
            kind % 6
        ]
        is_control = opcode >= wire.CLOSE
        rsv = 4 if kind < 6 and not is_control and opcode != wire.CONTINUATION else 0
        fin = is_control or choices.number(3) > 0
        sent += wire.frame(opcode, payload[:125] if is_control else payload, fin=fin, rsv=rsv)
    compare(settings, sent, size)


def handshake(data: bytes) -> None:
    """The answer to the opening handshake."""
    choices = Choices(data)
    size = 1 + choices.number(255)
    subprotocols = ["chat", "x"][: choices.number(2)]
    has_deflate = choices.number(1) == 1

    def result(cut: Callable[[bytes], list[bytes]]) -> tuple[object, ...]:
        extensions = [Deflate(PerMessageDeflate(), Limits(1000))] if has_deflate else []
        shake = upgrade("ws://x/", subprotocols=subprotocols, extensions=extensions)
        kind, *facts = outcome(shake, *cut(complete(shake, choices.rest)))
        # h11's words may depend on how the bytes were cut.
        return (kind, str(facts[0]).partition(": ")[0]) if kind == "invalid" else (kind, *facts)

    with mock.patch("os.urandom", bytes):  # so that each uses the same key
        whole = result(lambda answer: [answer] if answer else [])  # b"" would be the end
        assert result(lambda answer: pieces_of(answer, size)) == whole


class Canned(trio.abc.Stream):
    """A stream whose calls never wait, so that no event loop is needed."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data = data
        self._size = size

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        pass

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = min(self._size, max_bytes or self._size)
        data, self.data = self.data[:size], self.data[size:]
        return data

    async def aclose(self) -> None:
        pass


def run(function: Coroutine[object, object, object]) -> None:
    try:
        function.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def socks(data: bytes) -> None:
    """The answers of a SOCKS5 proxy."""
    choices = Choices(data)
    credentials = (b"name", b"password") if choices.number(1) else None

    def result(size: int) -> tuple[str, bytes]:
        stream = Canned(choices.rest, size)
        try:
            run(connect_by_socks(stream, "host.example", 80, credentials=credentials))
        except ProxyError as exc:
            assert "\n" not in str(exc)
            return str(exc), b""
        return "connected", stream.data

    assert result(1) == result(1000)


def connect(data: bytes) -> None:
    """The answer of an HTTP proxy to CONNECT."""
    choices = Choices(data)
    size = 1 + choices.number(255)

    def result(pieces: list[bytes]) -> tuple[object, ...]:
        exchange = HTTP11Exchange("CONNECT", "x:1", [("Host", "x:1")])
        try:
            for number, piece in enumerate(pieces):
                if exchange.complete:
                    rest = b"".join(pieces[number:])
                    return exchange.response, exchange.trailing_data + rest, exchange.body
                exchange.receive_data(piece)
        except MalformedResponse as exc:
            assert "\n" not in str(exc)
            return (str(exc).partition(": ")[0],)
        return exchange.response, exchange.trailing_data, exchange.body

    answer = choices.rest
    whole, cut = result([answer] if answer else []), result(pieces_of(answer, size))
    if len(whole) == 1 or len(cut) == 1:
        assert whole == cut
    else:
        assert (whole[0] is None) == (cut[0] is None)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (frames, messages, handshake, socks, connect)
}
