"""The buffers that all connections of a run read into.

To allocate a buffer for each read costs more than many a read. To keep one for each connection
would cost a program with many connections much memory. One for a run of Trio is enough: the task
that has read into it copies what it keeps before any other task runs.

A buffer begins with a page of memory. The kernel may copy several times as fast to there as to the
memory of a ``bytes`` object, which begins after a header of that object.
"""

from __future__ import annotations

import mmap
import sys
from typing import Final, NamedTuple

from trio.lowlevel import RunVar

SIZE: Final = 262_144  # bytes


class ReadBuffers(NamedTuple):
    """The buffers of one run of Trio.

    Attributes:
        received: For the bytes from a socket.
        decrypted: For what TLS makes of them.
    """

    received: memoryview
    decrypted: memoryview


_buffers: Final = RunVar[ReadBuffers]("trio_wsclient.read_buffers")


def read_buffers() -> ReadBuffers:
    """Return the buffers of this run."""
    try:
        return _buffers.get()
    except LookupError:
        memory = memoryview(_allocate(2 * SIZE))
        buffers = ReadBuffers(memory[:SIZE], memory[SIZE:])
        _buffers.set(buffers)
        return buffers


def _allocate(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # By default a process and its forked child would share the memory.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
