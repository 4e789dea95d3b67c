"""Unguessable values come from the operating system (RFC 6455 §5.3, §4.1)."""

from __future__ import annotations

import base64
import os
import re

import pytest
from deflate_tables import deflating
from handshake_tables import handshake

from trio_wsclient import Opcode
from trio_wsclient._protocol import frames as frames_module
from trio_wsclient._protocol.protocol import Protocol


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes that `os.urandom` has returned, in pieces of four bytes."""
    pieces: list[bytes] = []
    urandom = os.urandom

    def draw(size: int) -> bytes:
        data = urandom(size)
        pieces.extend(data[start : start + 4] for start in range(0, size, 4))
        return data

    monkeypatch.setattr(os, "urandom", draw)
    monkeypatch.setattr(frames_module, "_keys", [])  # those in store
    return pieces


def mask_of(frame: bytes) -> bytes:
    start = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return frame[start : start + 4]


@pytest.mark.parametrize("make", [Protocol, deflating])
def test_each_mask_comes_from_urandom(drawn, make):
    protocol = make()
    frames = [protocol.send_data(Opcode.TEXT, b"a") for _ in range(1025)]  # more than are in store
    frames += [
        protocol.send_data(Opcode.BINARY, b"a" * 400),
        protocol.send_data(Opcode.TEXT, b"a", fin=False),
        protocol.send_data(Opcode.CONTINUATION, b"b"),
        protocol.send_ping(b"a"),
        protocol.send_pong(b"a"),
    ]
    protocol.close(1000)
    frames.append(protocol.take_close())
    for frame in frames:
        assert mask_of(frame) in drawn
        drawn.remove(mask_of(frame))  # so that it is no other frame's


def test_handshake_key_comes_from_urandom(drawn):
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", handshake().request_data)
    assert key is not None
    assert base64.b64decode(key[1]) == b"".join(drawn)
