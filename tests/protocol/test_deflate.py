"""permessage-deflate: its settings, messages sent (RFC 7692 §7.2.1), and the memory it takes."""

from __future__ import annotations

import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import wire
from deflate_tables import RSV1, TAIL, Compressor, deflating, repetitive, squeezed, stored
from extensions import Reserved, protocol_with
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_tables import read

from trio_wsclient import Opcode, PerMessageDeflate
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol


class Server:
    """Reads what a client sends, and inflates it with no larger window than was negotiated."""

    def __init__(self, *, bits: int = 15, takeover: bool = True) -> None:
        self.frames = wire.ClientFrameReader()
        self.frames.has_extensions = True
        self._bits = bits
        self._takeover = takeover
        self._zlib = zlib.decompressobj(-bits)
        self._is_compressed = False

    def frame(self, data: bytes) -> wire.ClientFrame:
        """Return the one frame that was sent."""
        (frame,) = self.frames.feed(data)
        return frame

    def read(self, data: bytes) -> bytes:
        """Return the payload of one data frame, inflated where it has to be."""
        frame = self.frame(data)
        assert frame.rsv in {0, RSV1}
        if frame.opcode != wire.CONTINUATION:
            self._is_compressed = frame.rsv == RSV1
        if not self._is_compressed:
            return frame.payload
        inflated = self._inflate(frame.payload)
        if frame.fin:
            assert self._inflate(TAIL) == b""
            # A new block follows a complete message.
            probe = self._zlib.copy()
            assert probe.decompress(b"\1\0\0\xff\xff") == b""
            assert probe.eof
            if not self._takeover:
                self._zlib = zlib.decompressobj(-self._bits)
        return inflated

    def _inflate(self, data: bytes) -> bytes:
        # zlib accepts a distance beyond the window if it is within the output of this call.
        inflated = bytearray()
        while piece := self._zlib.decompress(data, 1):
            inflated += piece
            data = self._zlib.unconsumed_tail
        return bytes(inflated)


# The settings

WRONG: dict[str, list[tuple[object, str]]] = {
    "client_max_window_bits": [
        (7, "client_max_window_bits has to be from 8 to 15, not 7"),
        (16, "client_max_window_bits has to be from 8 to 15, not 16"),
        ("15", "client_max_window_bits is an int, not str"),
    ],
    "server_max_window_bits": [
        (-15, "server_max_window_bits has to be from 8 to 15, not -15"),
        (31, "server_max_window_bits has to be from 8 to 15, not 31"),
        (None, "server_max_window_bits is an int, not NoneType"),
    ],
    "client_no_context_takeover": [(1, "client_no_context_takeover is a bool, not int")],
    "server_no_context_takeover": [(None, "server_no_context_takeover is a bool, not NoneType")],
    "level": [
        (-1, "level has to be from 0 to 9, not -1"),
        (10, "level has to be from 0 to 9, not 10"),
        (True, "level is an int, not bool"),
        (6.0, "level is an int, not float"),
    ],
    "memory_level": [
        (0, "memory_level has to be from 1 to 9, not 0"),
        (10, "memory_level has to be from 1 to 9, not 10"),
        (False, "memory_level is an int, not bool"),
    ],
    "min_size": [
        (-1, "min_size has to be at least 0, not -1"),
        (None, "min_size is an int, not NoneType"),
    ],
}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [(name, value, problem) for name, rows in WRONG.items() for value, problem in rows],
)
def test_wrong_setting_is_a_type_or_value_error(name: str, value: object, problem: str):
    error = ValueError if "has to be" in problem else TypeError
    with pytest.raises(error) as caught:
        PerMessageDeflate(**{name: value})
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("client_max_window_bits", range(8, 16)),
        ("server_max_window_bits", range(8, 16)),
        ("client_no_context_takeover", [False, True]),
        ("server_no_context_takeover", [False, True]),
        ("level", range(10)),
        ("memory_level", range(1, 10)),
        ("min_size", [0, 1, 2**40]),
    ],
)
def test_setting_may_have_any_value_in_its_range(name: str, values: list[int]):
    assert [getattr(PerMessageDeflate(**{name: value}), name) for value in values] == [*values]


def test_settings_are_comparable_and_frozen():
    assert PerMessageDeflate(level=1) == PerMessageDeflate(level=1)
    assert PerMessageDeflate(level=1) != PerMessageDeflate(level=2)
    with pytest.raises(AttributeError):
        PerMessageDeflate().level = 1


# Which messages are compressed


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize(
    ("min_size", "size", "rsv"),
    [(0, 0, RSV1), (1, 0, 0), (1, 1, RSV1), (256, 255, 0), (256, 256, RSV1), (1000, 256, 0)],
)
def test_message_is_compressed_from_min_size_on(min_size: int, size: int, rsv: int, opcode: Opcode):
    server, payload = Server(), b"a" * size
    data = deflating(min_size=min_size).send_data(opcode, payload)
    frame = Server().frame(data)
    assert (frame.opcode, frame.rsv, frame.fin) == (opcode, rsv, True)
    assert server.read(data) == payload


def test_message_of_unknown_size_is_compressed():
    protocol, server = deflating(min_size=1000), Server()
    sent = [
        protocol.send_data(Opcode.TEXT, b"a", fin=False),
        protocol.send_data(Opcode.CONTINUATION, b"b"),
        protocol.send_data(Opcode.TEXT, b"plain"),
    ]
    assert [data[0] for data in sent] == [0x41, 0x80, 0x81]
    assert [server.read(data) for data in sent] == [b"a", b"b", b"plain"]


def test_control_frames_between_fragments_are_not_compressed():
    protocol, server = deflating(), Server()
    assert server.read(protocol.send_data(Opcode.BINARY, b"one", fin=False)) == b"one"
    assert server.frame(protocol.send_ping(b"p" * 125)) == wire.ClientFrame(wire.PING, b"p" * 125)
    assert server.read(protocol.send_data(Opcode.CONTINUATION, b"two", fin=False)) == b"two"
    assert server.frame(protocol.send_pong(b"")) == wire.ClientFrame(wire.PONG, b"")
    assert server.read(protocol.send_data(Opcode.CONTINUATION, b"")) == b""
    protocol.close(1000)
    assert server.frame(protocol.take_close()) == wire.ClientFrame(wire.CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("times", [1, 2])
def test_empty_message_is_compressed_to_one_byte(times: int):
    protocol = deflating(min_size=0)
    frames = [Server().frame(protocol.send_data(Opcode.TEXT, b"")) for _ in range(times)]
    assert frames == [wire.ClientFrame(wire.TEXT, b"\0", rsv=RSV1)] * times


def test_other_reserved_bits_are_left_to_other_extensions():
    deflate = Deflate(PerMessageDeflate(min_size=0), Limits())
    deflate.finalize("permessage-deflate")
    protocol = protocol_with(Reserved(1), Reserved(2), deflate)
    assert protocol.send_data(Opcode.BINARY, b"a")[0] == 0x80 | 0x70 | wire.BINARY
    payload = Compressor().compress(b"a")
    assert read(protocol, wire.frame(wire.BINARY, payload, rsv=7)) == [b"a"]


# What a server makes of them

parts = st.binary(max_size=40) | st.binary(min_size=1, max_size=9).map(lambda part: part * 30)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(parts, min_size=1, max_size=4), max_size=5),
    st.integers(8, 15),
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "level": st.integers(0, 9),
            "memory_level": st.integers(1, 9),
            "min_size": st.sampled_from([0, 1, 30]),
        },
    ),
)
def test_server_can_read_each_fragment_at_once(
    messages: list[list[bytes]], bits: int, takeover: bool, options: dict[str, int]
):
    params = f"; client_max_window_bits={bits}"
    params += "" if takeover else "; client_no_context_takeover"
    protocol, server = deflating(params, **options), Server(bits=bits, takeover=takeover)
    for message in messages:
        opcode = Opcode.BINARY
        for index, part in enumerate(message):
            data = protocol.send_data(opcode, part, fin=index == len(message) - 1)
            assert server.read(data) == part
            opcode = Opcode.CONTINUATION


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(8, 16))
def test_compressor_refers_back_within_the_window(bits: int, takeover: bool, level: int):
    params = f"; client_max_window_bits={bits}"
    params += "" if takeover else "; client_no_context_takeover"
    protocol, server = deflating(params, level=level), Server(bits=bits, takeover=takeover)
    for message in [bytes(range(256)) * 8, *repetitive(5, 100, 600, 100)]:
        assert server.read(protocol.send_data(Opcode.BINARY, message)) == message


def sizes(count: int, params: str = "", **options: int) -> list[int]:
    """Send a message `count` times; return the size on the wire of each."""
    protocol, (message,) = deflating(params, **options), repetitive(300)
    return [len(protocol.send_data(Opcode.BINARY, message)) for _ in range(count)]


def test_context_is_kept_unless_the_response_forbids_it():
    first, second = sizes(2)
    assert second < first / 10
    first, second = sizes(2, "; client_no_context_takeover")
    assert second == first


def test_client_settings_apply_when_the_server_echoes_none():
    first, second = sizes(2, client_no_context_takeover=True)
    assert second == first
    assert sizes(1, client_max_window_bits=9) == sizes(1, "; client_max_window_bits=9")


def test_level_is_passed_to_zlib():
    none, little, most = (sizes(1, level=level)[0] for level in (0, 1, 9))
    assert none > 300 * 60 > little > most


# Memory


def test_zlib_inflates_one_byte_over_the_limit(monkeypatch):
    """An output of that size shows that the message is too long."""
    asked = []

    class Watched:
        def __init__(self, bits: int) -> None:
            self._zlib = decompressobj(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self._zlib.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._zlib, name)

    decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Watched)
    first = squeezed(stored(bytes(600)) + TAIL, fin=False)
    read(deflating(limit=1000), first, wire.continuation(stored(bytes(400))))
    assert asked == [1001, 401, 1]


@pytest.mark.parametrize("limit", [sys.maxsize, sys.maxsize + 1, 2**70])
def test_limit_over_maxsize_works_with_compression(limit: int):
    assert read(deflating(limit=limit), squeezed(Compressor().compress(b"a"), wire.BINARY)) == [
        b"a"
    ]


def retained(protocol: Protocol, use: Callable[[Protocol], object]) -> int:
    """Return how many bytes more are in use after an action than before it."""
    use(deflating())  # The first frame of a process makes tables and keys, for all connections.
    tracemalloc.start()
    try:
        use(protocol)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return size


def send(protocol: Protocol) -> None:
    protocol.send_data(Opcode.BINARY, bytes(1000))


def receive(protocol: Protocol) -> None:
    read(protocol, squeezed(Compressor().compress(bytes(1000)), wire.BINARY))


SMALL = 8192  # bytes


@pytest.mark.parametrize(("use", "least"), [(send, 100_000), (receive, 32_768)])
def test_context_is_kept_between_messages(use: Callable[[Protocol], None], least: int):
    assert retained(deflating(), use) > least


@pytest.mark.parametrize(
    ("use", "params"),
    [(send, "; client_no_context_takeover"), (receive, "; server_no_context_takeover")],
)
def test_context_is_freed_after_a_message_without_takeover(
    use: Callable[[Protocol], None], params: str
):
    assert retained(deflating(params), use) < SMALL


def test_unused_compression_takes_no_memory():
    def nothing_to_do(protocol: Protocol) -> None:
        protocol.send_data(Opcode.TEXT, b"short")
        read(protocol, wire.text("a") + squeezed(b""))

    assert retained(deflating(), nothing_to_do) < SMALL


def test_smaller_window_takes_less_memory():
    assert retained(deflating("; client_max_window_bits=10"), send) < 40_000
    assert retained(deflating("; server_max_window_bits=10"), receive) < 16_384


def test_lower_memory_level_takes_less_memory():
    low, high = (retained(deflating(memory_level=level), send) for level in (1, 9))
    assert low + 200_000 < high
