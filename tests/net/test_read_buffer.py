"""The buffers of a run: one for all connections, and another one for what TLS decrypts."""

from __future__ import annotations

import os

import pytest
import trio

from trio_wsclient._net.read_buffer import SIZE, ReadBuffers, read_buffers


async def both() -> ReadBuffers:
    return read_buffers()


async def test_connections_of_a_run_share_their_buffers():
    for first, second in zip(await both(), await both(), strict=True):
        first[-1] = 17
        assert second[-1] == 17
        assert len(first) == SIZE
        second[-1] = 0
        assert first[-1] == 0


async def test_plain_and_encrypted_bytes_are_apart():
    plain, decrypted = await both()
    plain[:] = b"a" * SIZE
    decrypted[:] = b"b" * SIZE
    assert bytes(plain) == b"a" * SIZE


def test_runs_have_buffers_of_their_own():
    (first, _), (second, _) = trio.run(both), trio.run(both)
    first[0] = 17
    assert second[0] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_forked_child_has_memory_of_its_own():
    buffer, _ = trio.run(both)
    buffer[0] = 1
    pid = os.fork()
    if pid == 0:
        buffer[0] = 2
        os._exit(0)
    os.waitpid(pid, 0)
    assert buffer[0] == 1


def test_windows_needs_no_flags(monkeypatch):
    """There ``mmap`` has no flags, and no process forks."""
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.delattr("mmap.MAP_PRIVATE")
    buffer, _ = trio.run(both)
    assert len(buffer) == SIZE
