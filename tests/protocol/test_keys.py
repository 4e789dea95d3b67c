"""Frames as they are sent: each with a key of its own, long ones in pieces (RFC 6455 §5.3)."""

from __future__ import annotations

import os

import pytest
import wire

from trio_wsclient._protocol import frames
from trio_wsclient._protocol.frames import BINARY, PIECE_SIZE, TEXT, build, build_in_pieces


def test_each_frame_has_its_own_key():
    keys = {build(BINARY, b"\0\0\0\0")[2:6] for _ in range(5000)}
    assert len(keys) > 4990  # of 2**32: two may be equal


def test_each_key_that_was_drawn_is_used(monkeypatch: pytest.MonkeyPatch):
    drawn = []

    def urandom(size: int) -> bytes:
        drawn.append(bytes(i // 4 % 256 for i in range(size)))
        return drawn[-1]

    monkeypatch.setattr(frames, "_keys", [])
    monkeypatch.setattr(os, "urandom", urandom)
    for _ in range(2048):
        build(BINARY, b"")
    assert [len(each) for each in drawn] == [4096, 4096]


def test_another_thread_may_take_the_last_key(monkeypatch: pytest.MonkeyPatch):
    class Drained(list):
        """Loses its last key as soon as somebody asks whether there is one."""

        def __bool__(self) -> bool:
            there = len(self) > 0
            self.clear()
            return there

    monkeypatch.setattr(frames, "_keys", Drained([b"last"]))
    assert len(build(BINARY, b"")) == 6
    assert len({build(BINARY, b"\0\0\0\0")[2:6] for _ in range(2000)}) > 1990


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child_does_not_use_its_parents_keys():
    build(BINARY, b"")  # There are keys in store.
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - coverage ends with the parent
        os.write(write_end, build(BINARY, b"\0\0\0\0"))
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 100) != build(BINARY, b"\0\0\0\0")
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("size", [0, 1, 262_127, 262_128, 262_129, 524_272, 524_273, 800_001])
def test_pieces_of_a_frame_make_one_frame(size: int):
    payload = bytes(i % 251 for i in range(size))
    pieces = list(build_in_pieces(TEXT, payload))
    reader = wire.ClientFrameReader()
    (frame,) = reader.feed(b"".join(pieces))
    assert not reader.pending
    assert (frame.opcode, frame.fin, frame.payload) == (1, True, payload)
    assert max(map(len, pieces)) <= PIECE_SIZE
