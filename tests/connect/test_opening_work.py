"""E32: hostile responses to a handshake, of a server and of a proxy.

Other tasks wait for 5 ms of CPU at most; ``pauses`` says how that is measured.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import wire
from pauses import Ticks, best_of_runs, check_pause, ticking
from thread_server import ThreadPeer, thread_server

from trio_wsclient import HandshakeError, PerMessageDeflate, open_websocket_client
from trio_wsclient._http.http11 import MAX_HEAD_SIZE

BOUND = 60  # seconds for what takes a few
KIB = 1024
INTERIM = b"HTTP/1.1 100 \r\n\r\n"
SIZED = b"HTTP/1.1 403 No\r\nContent-Length: 80000\r\n\r\n"
CHUNKED = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"
REJECTED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n"
REDIRECTED = b"HTTP/1.1 302 No\r\nContent-Length: 0\r\nLocation: "

# Each makes a response of a request.
RESPONSES: dict[str, Callable[[bytes], bytes]] = {
    "interim responses": lambda _: INTERIM * ((MAX_HEAD_SIZE - 100) // 17) + REJECTED + b"\r\n",
    "fields": lambda _: REJECTED + b"a:\n" * 20_000 + b"\r\n",
    "chunks of a byte": lambda _: CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n",
    "trailers": lambda _: CHUNKED + b"0\r\n" + b"a:\r\n" * 15_000 + b"\r\n",
    "a trailer of spaces": lambda _: CHUNKED + b"0\r\na:" + b" " * 60_000 + b"\0\r\n\r\n",
    "spaces and a NUL": lambda _: REJECTED + b"a:" + b" " * 60_000 + b"\0\r\n\r\n",
    "a reason of spaces and a NUL": lambda _: b"HTTP/1.1 503 " + b" " * 60_000 + b"\0\r\n\r\n",
    "members of Connection": lambda _: REJECTED + b"Connection: " + b"a," * 30_000 + b"\r\n\r\n",
    "lengths": lambda _: b"HTTP/1.1 503 No\r\nContent-Length: " + b"1," * 30_000 + b"1\r\n\r\n",
    "a path of dots": lambda _: REDIRECTED + b"/.." * 20_000 + b"\r\n\r\n",
    "a query": lambda _: REDIRECTED + b"/?" + b"a=b&" * 15_000 + b"\r\n\r\n",
    "words of Retry-After": lambda _: REJECTED + b"Retry-After: " + b"1 " * 16_000 + b"\r\n\r\n",
    "words of a body": lambda _: SIZED + b"a " * 40_000,
    "extensions": lambda request: wire.answer(
        request, f"Sec-WebSocket-Extensions: {'a,' * 2_000}a"
    ),
    "parameters of an extension": lambda request: wire.answer(
        request, f"Sec-WebSocket-Extensions: permessage-deflate{';a' * 30_000}"
    ),
}


async def worst_pause(make: Callable[[bytes], bytes], **options: object) -> float:
    def script(peer: ThreadPeer) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += peer.read(1)
        peer.send(make(request))
        peer.read(1)

    async def run() -> Ticks:
        async with ticking() as ticks:
            with pytest.raises(HandshakeError):
                async with open_websocket_client(
                    url, compression=PerMessageDeflate(), max_redirects=1, **options
                ):
                    pytest.fail("it is not open")
        return ticks

    with trio.fail_after(BOUND), thread_server(script) as server:
        url = server.url
        if "proxy" in options:
            options["proxy"] = server.url.replace("ws://", "http://")
        return await best_of_runs(run)


@pytest.mark.parametrize("make", RESPONSES.values(), ids=RESPONSES)
async def test_e32_hostile_response_lets_other_tasks_run(make):
    check_pause(await worst_pause(make))


@pytest.mark.slow
@pytest.mark.parametrize("make", [*RESPONSES.values()][:9], ids=[*RESPONSES][:9])
async def test_e32_hostile_response_of_a_proxy_lets_other_tasks_run(make):
    check_pause(await worst_pause(make, proxy="its own"))
