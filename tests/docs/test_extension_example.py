"""An extension of a user's own, whole, and how it works together with compression.

``XorBlocks`` is an example for the interface, and hides nothing from anybody.
"""

from __future__ import annotations

import zlib

import pytest
import trio
import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_server import Peer, memory_server
from trio.testing import wait_all_tasks_blocked
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

from trio_wsclient import (
    ConnectionClosedError,
    InvalidResponse,
    open_websocket_client,
)


class XorBlocks(Extension):
    """Turns payloads round in blocks of four bytes, and XORs each byte with a key.

    The key is negotiated: the client offers ``x-xor-blocks; max-key=200``, and the server chooses
    by ``x-xor-blocks; key=42``. RSV2 marks the frames that were changed; control frames never are.
    One object is for one connection.
    """

    name = "x-xor-blocks"
    _BLOCK_SIZE = 4

    def __init__(self, max_key: int = 255) -> None:
        self._max_key = max_key
        self._key: int | None = None
        self._is_changed = False  # whether the frame under way is
        self._held = b""  # what has come of a block

    # Negotiation

    def offer(self) -> str:
        return f"max-key={self._max_key}"

    def finalize(self, offer: str) -> None:
        """Take the server's answer, its complete element of the header."""
        _, _, param = offer.partition(";")
        name, _, value = param.strip().partition("=")
        if name != "key" or not value.isdecimal() or int(value) > self._max_key:
            raise ValueError(f"not a key up to {self._max_key}: {param.strip()}")
        self._key = int(value)

    def enabled(self) -> bool:
        return self._key is not None

    # Frames received: a header, its payload in as many pieces as it comes in, and its end

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        self._is_changed = rsv.rsv2
        if rsv.rsv2 and opcode.iscontrol():
            return CloseReason.PROTOCOL_ERROR
        return RsvBits(False, True, False)  # the bits that are this extension's

    def frame_inbound_payload_data(self, proto, data):
        if not self._is_changed:
            return data
        data = self._held + data
        end = len(data) - len(data) % self._BLOCK_SIZE
        self._held = data[end:]
        return self._change(data[:end])

    def frame_inbound_complete(self, proto, fin):
        rest, self._held = self._held, b""
        return self._change(rest)  # the last block may be shorter

    # Frames to send, each at once

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        if opcode.iscontrol():
            return rsv, data
        return RsvBits(rsv.rsv1, True, rsv.rsv3), self._change(data)

    def _change(self, data: bytes) -> bytes:
        size = self._BLOCK_SIZE
        turned = b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
        return bytes(byte ^ self._key for byte in turned)


# The example ends here.

RSV1, RSV2 = 4, 2
TAIL = b"\0\0\xff\xff"


def changed(data: bytes) -> bytes:
    """Do by hand what `XorBlocks` does with the key 42, both ways."""
    blocks = [data[start : start + 4] for start in range(0, len(data), 4)]
    return bytes(byte ^ 42 for block in blocks for byte in reversed(block))


class Server:
    """Echoes messages through the extensions, done by hand; control frames are left alone."""

    def __init__(self, answer: str = "x-xor-blocks; key=42") -> None:
        self._answer = f"Sec-WebSocket-Extensions: {answer}"
        self._deflates = "permessage-deflate" in answer
        self._inflater = zlib.decompressobj(wbits=-15)
        self._deflater = zlib.compressobj(wbits=-15)
        self.frames: list[wire.ClientFrame] = []

    async def __call__(self, peer: Peer) -> None:
        self.peer = peer
        await peer.accept(self._answer)
        message = b""
        while (frame := await peer.next_frame()) is not None:
            self.frames.append(frame)
            if frame.opcode == wire.CLOSE:
                await peer.send(wire.close(frame.code))
                await peer.stream.aclose()
                break
            if frame.opcode == wire.PONG:
                assert (frame.payload, frame.rsv) == (b"between", 0)
                continue
            assert frame.rsv & RSV2
            assert bool(frame.rsv & RSV1) == (self._deflates and frame.opcode != wire.CONTINUATION)
            message += changed(frame.payload)
            if frame.opcode != wire.CONTINUATION:
                opcode = frame.opcode
            if frame.fin:
                await peer.send(self.encoded(opcode, self._inflated(message)))
                message = b""

    def _inflated(self, data: bytes) -> bytes:
        return self._inflater.decompress(data + TAIL) if self._deflates else data

    def encoded(self, opcode: int, data: bytes) -> bytes:
        """Make a message of two fragments with a ping between them."""
        rsv = RSV2
        if self._deflates:
            data = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
            data, rsv = data.removesuffix(TAIL), RSV1 | RSV2
        half = len(data) // 2
        first, rest = changed(data[:half]), changed(data[half:])
        return (
            wire.frame(opcode, first, fin=False, rsv=rsv)
            + wire.ping(b"between")
            + wire.frame(wire.CONTINUATION, rest, rsv=RSV2)
        )


def opened(stream: trio.abc.Stream, extension: XorBlocks, **options: object):
    return open_websocket_client("ws://x/", stream=stream, extensions=[extension], **options)


MESSAGES = ["", "a", "abcd", "wörld" * 100, b"", bytes(range(256)) * 50]


@pytest.mark.parametrize("fragment_size", [None, 7])
async def test_it_is_negotiated_and_works_both_ways(fragment_size, autojump_clock):
    server = Server()
    async with memory_server(server) as stream:
        async with opened(stream, XorBlocks(200), fragment_size=fragment_size) as ws:
            assert ws.extensions == ("x-xor-blocks",)
            request = server.peer.request
            assert b"\r\nSec-WebSocket-Extensions: x-xor-blocks; max-key=200\r\n" in request
            for message in MESSAGES:
                await ws.send(message)
                assert await ws.receive() == message


@pytest.mark.parametrize("fragment_size", [None, 7])
async def test_it_works_together_with_compression(fragment_size, autojump_clock):
    """What is sent is compressed first, what is received is inflated last."""
    server = Server("permessage-deflate, x-xor-blocks; key=42")
    options = {"compression": "deflate", "fragment_size": fragment_size}
    async with memory_server(server) as stream:
        async with opened(stream, XorBlocks(), **options) as ws:
            assert ws.extensions == ("permessage-deflate", "x-xor-blocks")
            assert b": permessage-deflate; client_max_window_bits, x-xor" in server.peer.request
            for message in ["wörld" * 100, bytes(10_000), "abcd" * 1000]:
                await ws.send(message)
                assert await ws.receive() == message
    sent = sum(len(frame.payload) for frame in server.frames)
    assert fragment_size or sent < 500


async def test_what_it_makes_is_on_the_wire(autojump_clock):
    server = Server()
    async with memory_server(server) as stream:
        async with opened(stream, XorBlocks()) as ws:
            await ws.send("abcdef")
            await ws.receive()
            await wait_all_tasks_blocked()
    payload = bytes(byte ^ 42 for byte in b"dcbafe")
    assert server.frames[0] == wire.ClientFrame(wire.TEXT, payload, rsv=RSV2)
    assert server.frames[1:] == [
        wire.ClientFrame(wire.PONG, b"between"),
        wire.ClientFrame(wire.CLOSE, b"\x03\xe8"),
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("x-xor-blocks", "not a key up to 200: "),
        ("x-xor-blocks; key=201", "not a key up to 200: key=201"),
        ("x-xor-blocks; max-key=1", "not a key up to 200: max-key=1"),
        ("x-xor-blocks; key=x", "not a key up to 200: key=x"),
    ],
)
async def test_answer_that_it_does_not_take_fails_the_handshake(
    answer: str, problem: str, autojump_clock
):
    async with memory_server(Server(answer)) as stream:
        with pytest.raises(InvalidResponse) as caught:
            async with opened(stream, XorBlocks(200)):
                pass
    assert str(caught.value) == f"header Sec-WebSocket-Extensions: x-xor-blocks: {problem}"
    assert isinstance(caught.value.__cause__, ValueError)


async def test_server_may_do_without(autojump_clock):
    async def accept_and_echo(peer: Peer) -> None:
        await peer.accept()
        await peer.echo()

    async with memory_server(accept_and_echo) as stream:
        async with opened(stream, XorBlocks()) as ws:
            assert ws.extensions == ()
            await ws.send("plain")
            assert await ws.receive() == "plain"


async def test_frame_that_it_refuses_fails_the_connection(autojump_clock):
    server = Server()
    async with memory_server(server) as stream:
        async with opened(stream, XorBlocks()) as ws:
            await server.peer.send(wire.frame(wire.PING, rsv=RSV2))
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
    assert str(caught.value.__cause__) == "the extension x-xor-blocks refused a frame"
    assert [frame.code for frame in server.frames] == [1002]


async def test_frame_without_its_bit_is_left_as_it_is(autojump_clock):
    server = Server()
    async with memory_server(server) as stream:
        async with opened(stream, XorBlocks()) as ws:
            await server.peer.send(wire.text("plain") + server.encoded(wire.TEXT, b"changed"))
            assert [await ws.receive(), await ws.receive()] == ["plain", "changed"]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=5))
def test_however_its_payload_is_cut_it_is_the_same(pieces: list[bytes]):
    extension = XorBlocks()
    extension.finalize("x-xor-blocks; key=42")
    data = b"".join(pieces)
    bits, payload = extension.frame_outbound(
        None, Opcode.BINARY, RsvBits(False, False, False), data, True
    )
    assert payload == changed(data)
    extension.frame_inbound_header(None, Opcode.BINARY, bits, len(payload))
    cut = wire.cut(payload, [sum(map(len, pieces[:count])) for count in range(len(pieces))])
    received = [extension.frame_inbound_payload_data(None, piece) for piece in cut]
    assert b"".join(received) + extension.frame_inbound_complete(None, True) == data
