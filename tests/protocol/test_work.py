"""Input that takes more than one time slice: all of it is read in the end."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import TypeAlias

import pytest
import trio
import wire
from deflate_tables import FINAL, RSV1, raw, stored
from extensions import Unoffered, Watching
from protocol_tables import read
from scripted_server import Peer, memory_server
from wsproto.extensions import Extension

from trio_wsclient import PerMessageDeflate, open_websocket_client
from trio_wsclient._protocol import deflate as deflate_module
from trio_wsclient._protocol import reader as reader_module
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.events import Ping
from trio_wsclient._protocol.limits import (
    DEFLATED_BYTE_COST,
    FLUSH_COST,
    FRAME_COST,
    HOOKS_COST,
    INFLATE_COST,
    INFLATED_BYTE_COST,
    MESSAGE_COST,
    REPORT_COST,
    SENT_BYTE_COST,
    SENT_HOOK_COST,
    SENT_MESSAGE_COST,
    SLICE_COST,
    STREAM_COST,
    TEXT_FRAME_COST,
    Limits,
    WorkBudget,
)
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._protocol.reader import FrameReader

EMPTY = wire.frame(wire.TEXT, b"", rsv=4)  # a compressed message without a byte


def deflating() -> Protocol:
    deflate = Deflate(PerMessageDeflate(), Limits(1_048_576))
    deflate.finalize("permessage-deflate")
    return Protocol(extensions=[deflate], limits=Limits(1_048_576))


def test_input_after_an_empty_compressed_message_is_read():
    subject = deflating()
    subject.receive_data(EMPTY + wire.text("x") * 100 + wire.ping(b"p"))
    events = subject.next_events()
    while subject.has_input:
        events += subject.next_events()
    assert events[-1] == Ping(b"p")


@pytest.mark.parametrize("count", [1, 63, 64, 65, 100])
async def test_all_input_is_received_and_answered(autojump_clock, count: int):
    messages = EMPTY + wire.text("x") * count + wire.ping(b"p")
    messages += wire.text("y", fin=False) + wire.continuation(b"z")
    answers = []

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.send(messages)
        answers.append(await peer.next_frame())
        await peer.close_politely()

    async with memory_server(script) as stream:
        async with open_websocket_client(
            "ws://server/", stream=stream, compression="deflate", close_timeout=1
        ) as ws:
            got = []
            with trio.fail_after(5):
                while len(got) < count + 2:
                    got.append(await ws.receive())
    assert got == ["", *"x" * count, "yz"]
    assert answers == [wire.ClientFrame(wire.PONG, b"p")]


def test_deflate_streams_of_two_bytes_are_charged(monkeypatch):
    """Thousands of blocks with BFINAL make a stream each, and not a byte of payload."""
    begun = []

    class Counting:
        decompressobj = staticmethod(lambda bits: begun.append(bits) or zlib.decompressobj(bits))

        def __getattr__(self, name: str) -> object:
            return getattr(zlib, name)

    monkeypatch.setattr(deflate_module, "zlib", Counting())
    subject = deflating()
    subject.receive_data(wire.frame(wire.BINARY, b"\x03\x00" * 32_000, rsv=4))
    slices = []
    while subject.has_input:
        subject.next_events()
        slices.append(len(begun))
        begun.clear()
    assert sum(slices) == 32_000
    assert max(slices) <= 4096 / 2  # those in a piece of a payload


# What work is charged with


class Switch:
    """A listener that wants frames while it is on."""

    wants_payloads = False

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on

    def wants_frames(self) -> bool:
        return self._is_on

    def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
        pass

    def frame_sent(self, first_byte: int, size: int, payload: bytes) -> None:
        pass


def compression(*, level: int = 6) -> Deflate:
    deflate = Deflate(PerMessageDeflate(level=level), Limits())
    deflate.finalize("permessage-deflate; server_no_context_takeover")
    return deflate


def inflating(plain: bytes) -> int:
    """Return what it costs to inflate a message in one piece, with a stream of its own."""
    payload_cost = len(raw(plain)) * DEFLATED_BYTE_COST + len(plain) * INFLATED_BYTE_COST
    return INFLATE_COST + STREAM_COST + payload_cost


PLAIN = b"Hello" * 20
SQUEEZED = wire.frame(wire.BINARY, raw(PLAIN), rsv=RSV1)
PING = wire.ping(b"p")
FRAGMENTS = wire.binary(b"ab", fin=False) + wire.continuation(b"c")

# Extensions keep state, so each test makes its own.
Kinds: TypeAlias = list[Callable[[], Extension]]

WORK: dict[str, tuple[bytes, Kinds, int]] = {
    "control frames": (PING * 3, [], 3 * FRAME_COST),
    "fragments": (FRAGMENTS * 2, [], 4 * FRAME_COST),
    "messages": (wire.text("a") * 9 + PING, [], 9 * MESSAGE_COST + FRAME_COST),
    "compressed messages": (
        SQUEEZED * 2 + PING,
        [compression],
        2 * (MESSAGE_COST + inflating(PLAIN)) + FRAME_COST,
    ),
    "compressed fragments": (
        PING + wire.frame(wire.BINARY, raw(PLAIN), rsv=RSV1, fin=False),
        [compression],
        2 * FRAME_COST + inflating(PLAIN),
    ),
    "hooks of control frames": (PING * 3, [Unoffered], 3 * (FRAME_COST + HOOKS_COST)),
    "hooks of messages": (
        wire.binary(b"ab") * 2,
        [Unoffered],
        2 * (FRAME_COST + HOOKS_COST + 2 * INFLATED_BYTE_COST),
    ),
    "compression beside hooks": (
        SQUEEZED * 2,
        [compression, Unoffered],
        2 * (FRAME_COST + HOOKS_COST + inflating(PLAIN) + len(PLAIN) * INFLATED_BYTE_COST),
    ),
}


def work_of(data: bytes, **options: object) -> int:
    """Return what the work of reading some frames is charged with."""
    arguments = {"decode_text": True, "extensions": [], "listener": None} | options
    budget = WorkBudget()
    reader = FrameReader(Limits(), budget, **arguments)
    reader.feed(data)
    reader.read()
    assert reader.is_starved
    return SLICE_COST - budget.left


@pytest.mark.parametrize(("data", "kinds", "cost"), WORK.values(), ids=WORK)
def test_budget_is_charged_for_all_work(data: bytes, kinds: Kinds, cost: int):
    assert work_of(data, extensions=[make() for make in kinds]) == cost


def test_budget_is_charged_for_text_as_frames():
    cost = work_of(wire.text("a") * 9 + PING, decode_text=False)
    assert cost == 9 * TEXT_FRAME_COST + FRAME_COST


def test_budget_is_charged_for_frames_reported():
    for is_on, cost in ((False, FRAME_COST), (True, FRAME_COST + REPORT_COST)):
        assert work_of(PING * 2, listener=Switch(is_on=is_on)) == 2 * cost


def test_slice_ends_when_its_budget_is_spent():
    protocol = Protocol()
    for frames in (1, 1000):  # Each slice has the whole budget.
        protocol.receive_data(PING * frames)
        counts = []
        while protocol.has_input:
            counts.append(len(protocol.next_events()))
        assert sum(counts) == frames
        assert max(counts) == min(frames, SLICE_COST // FRAME_COST)


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (wire.text("a"), 512),
        (SQUEEZED, -(-SLICE_COST // inflating(PLAIN))),
    ],
    ids=["plain", "compressed"],
)
def test_slice_of_messages_ends_when_its_budget_is_spent(data: bytes, most: int):
    protocol = Protocol(extensions=[compression()])
    protocol.receive_data(data * 5000)
    sizes, sums = [], []
    while protocol.has_input:
        batches = [messages for messages, _ in protocol.next_events()]
        sizes += map(len, batches)
        sums.append(sum(map(len, batches)))
    assert sum(sizes) == 5000
    assert max(sizes) == most
    assert max(sums) * MESSAGE_COST < SLICE_COST + 512 * MESSAGE_COST


def test_inflating_stops_when_the_budget_is_just_spent(monkeypatch):
    monkeypatch.setattr(reader_module, "SLICE_COST", inflating(PLAIN))
    protocol = Protocol(extensions=[compression()])
    protocol.receive_data(SQUEEZED * 2)
    assert [messages for messages, _ in protocol.next_events()] == [[PLAIN]]


def test_inflate_stops_between_streams_when_the_budget_is_just_spent():
    deflate, budget = compression(), WorkBudget()
    budget.left = INFLATE_COST + STREAM_COST + len(b"Hello") * INFLATED_BYTE_COST
    assert deflate.inflate(FINAL * 2, budget) == (b"Hello", len(FINAL))


@pytest.mark.parametrize(("size", "is_fast"), [(512, True), (513, False)])
def test_fast_path_inflates_up_to_512_bytes(size: int, is_fast: bool):
    protocol = Protocol(extensions=[compression()])
    payload = stored(bytes(size - len(stored(b""))))
    protocol.receive_data(wire.frame(wire.BINARY, payload, rsv=RSV1))
    (event,) = protocol.next_events()
    assert isinstance(event, tuple) is is_fast  # of the messages, and how many bytes they take


@pytest.mark.parametrize("size", [1, 100, 512, 513, 2000])
def test_inflating_in_a_chain_is_charged_for_each_piece(size: int):
    deflate, budget = compression(), WorkBudget()
    payload = raw(random.Random(1).randbytes(size * 2))[:size]
    deflate.begin_message()
    inflated = deflate.inflate_all(payload, budget)
    pieces = -(-size // 512)
    cost = pieces * INFLATE_COST + STREAM_COST + size * DEFLATED_BYTE_COST
    assert SLICE_COST - budget.left == cost + len(inflated) * INFLATED_BYTE_COST


def test_empty_piece_takes_nothing_from_the_stream():
    deflate, budget = compression(), WorkBudget()
    assert deflate.inflate(b"", budget) == (b"", 0)
    assert SLICE_COST - budget.left == INFLATE_COST


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("level", [6, 7, 9])
def test_send_cost_grows_with_size_and_compression(size: int, level: int):
    plain = SENT_MESSAGE_COST + size * SENT_BYTE_COST
    assert Protocol().send_cost(size) == plain
    protocol = Protocol(extensions=[compression(level=level)])
    steps_cost = 2 * SLICE_COST * size // protocol.max_step_size
    assert protocol.send_cost(size) == plain + FLUSH_COST + steps_cost


@pytest.mark.parametrize("count", [1, 3])
def test_send_cost_grows_with_hooks_and_reports(count: int):
    hooks = count * SENT_HOOK_COST
    extensions = [Unoffered() for _ in range(count)]
    for is_on, report in ((False, 0), (True, REPORT_COST)):
        listener = Switch(is_on=is_on)
        protocol = Protocol(extensions=extensions, listener=listener)
        assert protocol.send_cost(10) - Protocol().send_cost(10) == hooks + report
        assert Protocol(listener=listener).send_cost(0) == SENT_MESSAGE_COST + report
        both = Protocol(extensions=[*extensions, compression()], listener=listener)
        cost = SENT_MESSAGE_COST + FLUSH_COST + hooks + SENT_HOOK_COST + report
        assert both.send_cost(0) == cost


@pytest.mark.parametrize(("level", "size"), [(0, 16_384), (6, 16_384), (7, 4096), (9, 256)])
def test_step_size_shrinks_with_the_level(level: int, size: int):
    assert Protocol(extensions=[compression(level=level)]).max_step_size == size
    assert Protocol().max_step_size == 262_143


@pytest.mark.parametrize(
    ("kinds", "most"),
    [([Watching], 4096), ([Watching, compression], 256), ([compression, Watching], 256)],
)
def test_hooks_get_a_long_payload_in_pieces(kinds: Kinds, most: int):
    extensions = [make() for make in kinds]
    protocol = Protocol(extensions=extensions)
    (watching,) = (each for each in extensions if isinstance(each, Watching))
    read(protocol, wire.binary(bytes(10_000)))
    sizes = [len(call[1]) for call in watching.calls if call[0] == "payload"]
    assert sum(sizes) == 10_000
    assert max(sizes) == most
