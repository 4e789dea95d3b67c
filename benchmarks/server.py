"""The servers of the benchmarks: on picows and uvloop, so that they are not the bottleneck.

    python server.py [--tls CERTIFICATE]

prints its port, and ends when its standard input does. The path of the URL says what a connection
is for:

* `/echo` sends back what it gets.
* `/sink` takes everything. It answers a Text message with the number of Binary messages before
  it, in twelve digits.
* `/flood?size=100&kind=text` sends without end. `kind` is text, binary, or json, which is
  compressed if the client has offered that.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import picows
import trustme
import uvloop

HOST = "127.0.0.1"
SERVER = Path(__file__)
WINDOW_BITS = 12  # what websockets offers by default; others accept it
BLOB_SIZE = 262_144  # bytes a write, at least
RSV1 = 0x40
EXTENSION = "permessage-deflate; server_max_window_bits=%d; client_max_window_bits=%d"


def build_frame(first_byte: int, payload: bytes) -> bytes:
    """Serialise a server's frame."""
    size = len(payload)
    if size < 126:
        return bytes([first_byte, size]) + payload
    if size < 65_536:
        return bytes([first_byte, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first_byte, 127]) + size.to_bytes(8, "big") + payload


def messages(kind: str, size: int, *, compress: bool) -> list[bytes]:
    """Return payloads of about that size, so that they fill a blob."""
    count = max(1, BLOB_SIZE // size)
    source = random.Random(1)
    if kind == "binary":
        return [source.randbytes(size)] * count
    if kind == "text":
        return [b"x" * size] * count
    return [document(size, source, compress=compress) for _ in range(count)]


def document(size: int, source: random.Random, *, compress: bool) -> bytes:
    """Return JSON of about that size: changes of an order book, and whether it is compressed."""
    changes: list[object] = []
    content = {"type": "l2update", "compressed": compress, "changes": changes}
    while len(data := json.dumps(content)) < size - 40:
        side = source.choice(["buy", "sell"])
        changes.append([side, f"{source.gauss(42_000, 30):.2f}", f"{source.random():.8f}"])
    return data.encode()


def compressed(payloads: list[bytes]) -> bytes:
    """Return frames with takeover, which can follow themselves: the last flush forgets all."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -WINDOW_BITS)
    frames = []
    for number, payload in enumerate(payloads, 1):
        flush = zlib.Z_FULL_FLUSH if number == len(payloads) else zlib.Z_SYNC_FLUSH
        data = compressor.compress(payload) + compressor.flush(flush)
        frames.append(build_frame(0x81 | RSV1, data.removesuffix(b"\0\0\xff\xff")))
    return b"".join(frames)


@functools.cache
def make_blob(kind: str, size: int, *, compress: bool) -> bytes:
    """Return many frames, to be sent again and again."""
    payloads = messages(kind, size, compress=compress)
    if compress:
        return compressed(payloads)
    return b"".join(build_frame(0x82 if kind == "binary" else 0x81, data) for data in payloads)


class Listener(picows.WSListener):
    """What all have in common: Close and Ping are answered."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        else:
            self.on_message(transport, frame)

    def on_message(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take a message."""


class Echo(Listener):
    """Sends back what it gets."""

    def on_message(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Sink(Listener):
    """Counts Binary messages, and answers a Text message with the number."""

    def __init__(self) -> None:
        self.count = 0

    def on_message(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            transport.send(picows.WSMsgType.TEXT, f"{self.count:012}".encode())
        else:
            self.count += 1


class Flood(Listener):
    """Sends the blob as long as somebody takes it."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.may_write = asyncio.Event()
        self.may_write.set()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.task = asyncio.ensure_future(self.pour(transport.underlying_transport))

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002
        self.task.cancel()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def pour(self, transport: asyncio.Transport) -> None:
        while not transport.is_closing():
            await self.may_write.wait()
            transport.write(self.blob)
            await asyncio.sleep(0)


def answer(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
    """Accept a connection, for what its path says."""
    parts = urlsplit(request.path.decode())
    query = dict(parse_qsl(parts.query))
    headers = {}
    listener: Listener
    if parts.path == "/flood":
        compress = query["kind"] == "json" and "Sec-WebSocket-Extensions" in request.headers
        if compress:
            headers["Sec-WebSocket-Extensions"] = EXTENSION % (WINDOW_BITS, WINDOW_BITS)
        listener = Flood(make_blob(query["kind"], int(query["size"]), compress=compress))
    else:
        listener = {"/echo": Echo, "/sink": Sink}[parts.path]()
    response = picows.WSUpgradeResponse.create_101_response(headers)
    return picows.WSUpgradeResponseWithListener(response, listener)


async def serve(certificate: str | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await picows.ws_create_server(
        answer, HOST, 0, ssl=context, max_frame_size=2**26, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_standard_input() -> None:
    """Wait for the end of the process that has started this one, however it ends."""
    sys.stdin.read()
    os._exit(0)


# The servers for the length of a block


@dataclass(frozen=True)
class Servers:
    """Where they listen.

    Attributes:
        plain: URL of the one without TLS.
        secure: URL of the one with.
        ca: File of the authority that has signed its certificate.
    """

    plain: str
    secure: str
    ca: str


@contextmanager
def run_servers(script: Path = SERVER) -> Iterator[Servers]:
    """Make a certificate, start both servers, and end them however the block is left."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        ca, certificate = Path(folder, "ca.pem"), Path(folder, "server.pem")
        authority.cert_pem.write_to_path(ca)
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
        tls = ("--tls", str(certificate))
        with run_server(script) as port, run_server(script, *tls) as tls_port:
            yield Servers(f"ws://{HOST}:{port}", f"wss://{HOST}:{tls_port}", str(ca))


@contextmanager
def run_server(script: Path, *arguments: str) -> Iterator[int]:
    """Run a server, and give its port; it ends by itself when this process is no more."""
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the server has not started")
            yield int(line)
        finally:
            process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", metavar="CERTIFICATE")
    arguments = parser.parse_args()
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    # Allow as many files, and so connections, as the system lets this process have.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(arguments.tls))
