"""The log of a connection (S40), and what it costs while it is off."""

from __future__ import annotations

import logging

import pytest
import wire
from log_records import KeepingLogger, facts

from trio_wsclient import Opcode
from trio_wsclient._observe import FRAMES, Log
from trio_wsclient._protocol.protocol import Protocol

URL = "wss://example.org/chat"


def log_at(level: int) -> tuple[Log, KeepingLogger]:
    logger = KeepingLogger(level)
    return Log(logger, URL), logger


# The connection


def test_record_has_the_facts_of_its_event():
    log, logger = log_at(logging.DEBUG)
    log.debug("asking for %s", "it", phase="handshake")
    (record,) = logger.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == f"[{log.connection_id}] asking for it"
    assert facts(record) == {
        "connection_id": log.connection_id,
        "url": URL,
        "phase": "handshake",
    }


def test_each_connection_has_its_own_number():
    numbers = [log_at(FRAMES)[0].connection_id for _ in range(10)]
    assert sorted(set(numbers)) == numbers


def test_record_has_the_url_of_the_latest_redirect():
    log, logger = log_at(logging.DEBUG)
    log.url = "wss://example.org/there"
    log.debug("redirected")
    assert facts(logger.records[0])["url"] == "wss://example.org/there"


def test_message_arguments_are_not_formats():
    log, logger = log_at(logging.DEBUG)
    log.debug("not open: %s", "100 %d %s")
    assert logger.texts(logging.DEBUG) == ["not open: 100 %d %s"]


def test_log_is_silent_when_level_is_above_debug():
    log, logger = log_at(logging.INFO)
    log.debug("open")
    Protocol(listener=log).send_ping(b"")
    assert not log.wants_frames()
    assert logger.records == []


# Frames


def received(data: bytes) -> KeepingLogger:
    log, logger = log_at(FRAMES)
    protocol = Protocol(listener=log)
    protocol.receive_data(data)
    while protocol.has_input:
        protocol.next_events()
    return logger


RECEIVED = {
    "text": (wire.text("Hello"), 1, 5, "Text, FIN, 5 bytes: 48 65 6c 6c 6f"),
    "empty": (wire.binary(b""), 2, 0, "Binary, FIN, 0 bytes: "),
    "fragment": (wire.text("a", fin=False), 1, 1, "Text, no flag, 1 bytes: 61"),
    "ping": (wire.ping(b"p"), 9, 1, "Ping, FIN, 1 bytes: 70"),
    "pong": (wire.pong(b"q"), 10, 1, "Pong, FIN, 1 bytes: 71"),
    "close": (wire.close(1000, b"a"), 8, 3, "Close, FIN, 3 bytes: 03 e8 61"),
    "24 bytes": (
        wire.binary(bytes(24)),
        2,
        24,
        "Binary, FIN, 24 bytes: " + " ".join(["00"] * 24),
    ),
    "25 bytes": (
        wire.binary(bytes(25)),
        2,
        25,
        "Binary, FIN, 25 bytes: " + " ".join(["00"] * 24) + "...",
    ),
    "70,000 bytes": (
        wire.binary(b"a" * 70_000),
        2,
        70_000,
        "Binary, FIN, 70000 bytes: " + " ".join(["61"] * 24) + "...",
    ),
    "reserved bits": (
        wire.frame(wire.BINARY, b"a", rsv=7),
        2,
        1,
        "Binary, FIN RSV1 RSV2 RSV3, 1 bytes: 61",
    ),
    "a reserved opcode": (wire.frame(5, b"ab", rsv=2), 5, 2, "opcode 5, FIN RSV2, 2 bytes: 61 62"),
    "a continuation out of place": (
        wire.continuation(b"ab"),
        0,
        2,
        "Continuation, FIN, 2 bytes: 61 62",
    ),
}


@pytest.mark.parametrize(("data", "opcode", "length", "text"), RECEIVED.values(), ids=RECEIVED)
def test_received_frame_is_logged_with_its_facts(data: bytes, opcode: int, length: int, text: str):
    logger = received(data)
    (record,) = logger.records
    assert record.levelno == FRAMES == 5
    assert logger.texts(FRAMES) == [f"received {text}"]
    assert facts(record) == {
        "connection_id": record.args[0],
        "url": URL,
        "direction": "received",
        "opcode": opcode,
        "length": length,
    }
    assert type(record.opcode) is int


SENT = {
    "text": (lambda protocol: protocol.send_data(Opcode.TEXT, b"Hello"), 1, b"Hello"),
    "fragment": (lambda protocol: protocol.send_data(Opcode.TEXT, b"a", fin=False), 1, b"a"),
    "empty": (lambda protocol: protocol.send_data(Opcode.BINARY, b""), 2, b""),
    "126 bytes": (lambda protocol: protocol.send_data(Opcode.BINARY, b"a" * 126), 2, b"a" * 126),
    "70,000 bytes": (
        lambda protocol: protocol.send_data(Opcode.BINARY, b"b" * 70_000),
        2,
        b"b" * 70_000,
    ),
    "ping": (lambda protocol: protocol.send_ping(b"p"), 9, b"p"),
    "pong": (lambda protocol: protocol.send_pong(b"q" * 125), 10, b"q" * 125),
}


@pytest.mark.parametrize(("make", "opcode", "payload"), SENT.values(), ids=SENT)
def test_sent_frame_is_logged_unmasked_with_its_facts(make, opcode: int, payload: bytes):
    log, logger = log_at(FRAMES)
    make(Protocol(listener=log))
    (record,) = logger.records
    assert facts(record) == {
        "connection_id": log.connection_id,
        "url": URL,
        "direction": "sent",
        "opcode": opcode,
        "length": len(payload),
    }
    shown = payload[:24].hex(" ") + ("..." if len(payload) > 24 else "")
    assert logger.texts(FRAMES)[0].endswith(f", {len(payload)} bytes: {shown}")


def test_each_frame_of_a_write_is_logged_in_order():
    log, logger = log_at(FRAMES)
    protocol = Protocol(listener=log)
    for name, (make, _, _) in SENT.items():
        if name != "fragment":
            make(protocol)
    protocol.close(1000)
    assert [record.opcode for record in logger.records] == [1, 2, 2, 2, 9, 10, 8]
    texts = logger.texts(FRAMES)
    assert texts[0] == "sent Text, FIN, 5 bytes: 48 65 6c 6c 6f"
    assert texts[1] == "sent Binary, FIN, 0 bytes: "
    assert texts[-1] == "sent Close, FIN, 2 bytes: 03 e8"


@pytest.mark.parametrize("level", [FRAMES + 1, logging.DEBUG, logging.WARNING])
def test_frame_costs_one_check_when_frames_are_off(level: int):
    log, logger = log_at(level)
    protocol = Protocol(listener=log)
    logger.asked.clear()  # A connection asks once when it opens.
    protocol.receive_data(wire.text("a") * 10)
    protocol.next_events()
    assert logger.asked == [FRAMES]
    protocol.send_ping(b"a")
    assert logger.asked == [FRAMES, FRAMES]
    assert logger.records == []


@pytest.mark.parametrize("place", ["handler", "filter"])
def test_log_survives_a_logger_that_raises(place: str):
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log server is gone")

        def filter(self, record: logging.LogRecord) -> bool:
            if place == "filter":
                raise OSError("the filter is broken")
            return True

    logger = logging.getLogger("the user's own")
    logger.setLevel(FRAMES)
    logger.propagate = False
    logger.addHandler(Broken())
    log = Log(logger, URL)
    log.debug("hello")
    log.frame_sent(0x81, 1, b"a")
