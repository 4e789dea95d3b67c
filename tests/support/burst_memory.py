"""What connections hold after bursts, in bytes of malloc: Python's memory and OpenSSL's.

This is a program, because all memory is malloc's only in a process of its own: `ENVIRONMENT`
switches off Python's allocator, and the caches of glibc. glibc says how much is in use on the heap
of the main thread. The server is another thread, which has another heap.

Each line of output has the name of a burst, `ws` or `wss`, and the bytes held after the burst,
beyond what was held before it.
"""

from __future__ import annotations

import ctypes
import ssl

import trio
import trustme
from bursts import BURSTS, Bursts, held_after_bursts
from scripted_server import tls_of
from thread_server import thread_server

ENVIRONMENT = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
}
_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def can_measure() -> bool:
    """Tell whether this platform has what is needed: glibc 2.33 or newer."""
    try:
        return hasattr(ctypes.CDLL(None), "mallinfo2")
    except TypeError:  # Windows
        return False


async def main() -> None:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2

    def in_use() -> int:
        info = mallinfo2()
        return info.uordblks + info.hblkhd

    ca = trustme.CA()
    client = ssl.create_default_context()
    ca.configure_trust(client)
    for tls in (None, tls_of(ca, "127.0.0.1")):
        for burst in BURSTS:
            with thread_server(Bursts(burst), tls=tls) as server:
                held = await held_after_bursts(server.url, tls and client, in_use)
                print(burst.__name__, "ws" if tls is None else "wss", held)


if __name__ == "__main__":
    trio.run(main)
