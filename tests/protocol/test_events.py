"""The protocol's events: data that can be compared, kept and passed on."""

from __future__ import annotations

import pickle

import pytest

from trio_wsclient import DataFrame, Opcode
from trio_wsclient._protocol.events import Ping, Pong


def test_data_frame_is_frozen_comparable_and_picklable():
    frame = DataFrame(Opcode.TEXT, b"a", fin=True)
    with pytest.raises(AttributeError):
        frame.payload = b"b"
    assert (
        frame == DataFrame(Opcode.TEXT, b"a", fin=True) != DataFrame(Opcode.TEXT, b"a", fin=False)
    )
    assert pickle.loads(pickle.dumps(frame)) == frame


def test_opcodes_are_those_of_the_rfc():
    assert [(opcode.name, opcode.value) for opcode in Opcode] == [
        ("CONTINUATION", 0x0),
        ("TEXT", 0x1),
        ("BINARY", 0x2),
    ]


def test_ping_does_not_equal_a_pong():
    assert Ping(b"a") != Pong(b"a")
