"""TLS on a socket, against TLS that others wrote."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from trio_wsclient._net import tls
from trio_wsclient._net.sockets import EagerSocketStream, adopt_socket
from trio_wsclient._net.tls import EagerTLSStream
from trio_wsclient._scheduling import TimeSlice

BIG = os.urandom(3_000_000)  # more than the buffers of two sockets take
BOUND = 20  # seconds for what takes a fraction of one


class Pair:
    """Our side, and a server's: TLS over its socket."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext, **options: object) -> None:
        ours, self.raw = socket.socketpair()
        self.ours = EagerTLSStream(EagerSocketStream(ours), client, "127.0.0.1")
        self.transport = trio.SocketStream(trio.socket.from_stdlib_socket(self.raw))
        self.theirs = trio.SSLStream(self.transport, server, server_side=True, **options)

    async def shake_hands(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ours.do_handshake)
            nursery.start_soon(self.theirs.do_handshake)


@pytest.fixture
async def pair(client_ssl_context, server_ssl_context):
    pair = Pair(client_ssl_context, server_ssl_context)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        await pair.shake_hands()
        yield pair


async def test_handshake_may_be_longer_than_a_record():
    """OpenSSL gets what was read piece by piece; a certificate may be larger than a piece."""
    ca = trustme.CA()
    names = [f"host-{number}.example.org" for number in range(2_000)]
    client, server = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    )
    ca.configure_trust(client)
    ca.issue_cert("127.0.0.1", *names).configure_cert(server)
    pair = Pair(client, server)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        await pair.shake_hands()
        await pair.theirs.send_all(b"hello")
        assert await pair.ours.receive_some() == b"hello"


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # RFC 8446 §6: fatal, handshake_failure


async def test_e35_alert_counts_though_the_hello_was_not_written(client_ssl_context):
    ours, theirs = socket.socketpair()
    tls = EagerTLSStream(EagerSocketStream(ours), client_ssl_context, "127.0.0.1")
    with ours:
        theirs.sendall(ALERT)
        theirs.close()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await tls.do_handshake()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert "HANDSHAKE_FAILURE" in caught.value.__cause__.reason


async def read(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some()
        assert piece, "it has ended"
        data += piece
    return bytes(data)


async def test_what_is_sent_arrives_both_ways_at_once(pair):
    got = []

    async def reader(stream: trio.abc.ReceiveStream) -> None:
        got.append(await read(stream, len(BIG)))

    async with trio.open_nursery() as nursery:
        for stream in (pair.ours, pair.theirs):
            nursery.start_soon(stream.send_all, BIG)
            nursery.start_soon(reader, stream)
    assert got == [BIG, BIG]


async def test_unsent_bytes_leave_with_flush_in_order(pair):
    assert pair.ours.send_nowait(b"")
    assert pair.ours.send_nowait(b"first")
    assert not pair.ours.send_nowait(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.ours.flush)
        assert await read(pair.theirs, 5 + len(BIG)) == b"first" + BIG
    assert pair.ours.send_nowait(b"last")
    assert await read(pair.theirs, 4) == b"last"


async def test_no_more_is_returned_than_was_asked_for(pair):
    await pair.theirs.send_all(b"abcde")
    assert await pair.ours.receive_some(2) == b"ab"
    assert await pair.ours.receive_some(2) == b"cd"
    assert await pair.ours.receive_some() == b"e"


async def test_close_notify_is_the_end(pair):
    await pair.theirs.send_all(b"last")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.theirs.aclose)
        assert await pair.ours.receive_some() == b"last"
        assert await pair.ours.receive_some() == b""
        assert await pair.ours.receive_some() == b""
        await pair.ours.aclose()


async def test_so_is_tcps_without_it(pair):
    await pair.theirs.send_all(b"last")
    pair.transport.socket.shutdown(socket.SHUT_WR)
    assert await pair.ours.receive_some() == b"last"
    assert await pair.ours.receive_some() == b""


async def test_closing_sends_close_notify(pair):
    await pair.ours.aclose()
    assert await pair.theirs.receive_some() == b""  # not a BrokenResourceError


async def test_half_closing_sends_close_notify_and_reads_on(pair):
    pair.ours.half_close()
    assert await pair.theirs.receive_some() == b""  # not a BrokenResourceError
    await pair.theirs.send_all(b"last")
    assert await pair.ours.receive_some() == b"last"


async def test_closing_within_a_write_sends_nothing_more(pair):
    assert not pair.ours.send_nowait(BIG)
    await pair.ours.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await read(pair.theirs, len(BIG))


async def test_data_without_tls_breaks_the_stream(pair):
    """Data that came before it is still received."""
    await pair.theirs.send_all(b"last")
    await pair.transport.send_all(b"this is no record")
    assert await pair.ours.receive_some() == b"last"
    with pytest.raises(trio.BrokenResourceError) as caught:
        await pair.ours.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_nothing_can_be_sent_after_a_break(pair):
    await pair.transport.send_all(b"this is no record")
    with pytest.raises(trio.BrokenResourceError):
        await pair.ours.receive_some()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await pair.ours.send_all(b"x")
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_there_is_room_when_the_socket_has_some(pair):
    await pair.ours.wait_send_all_might_not_block()
    pair.ours.send_nowait(BIG)
    with trio.move_on_after(0.01) as scope:
        await pair.ours.wait_send_all_might_not_block()
    assert scope.cancelled_caught


async def test_refused_server_gets_an_alert(server_ssl_context):
    strangers = ssl.create_default_context(cadata=trustme.CA().cert_pem.bytes().decode())
    pair = Pair(strangers, server_ssl_context)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def server() -> None:
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await pair.theirs.do_handshake()
                assert "unknown ca" in str(caught.value.__cause__).lower()

            with pytest.raises(trio.BrokenResourceError) as caught:
                await pair.ours.do_handshake()
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_handshake_that_stalls_can_be_cancelled(client_ssl_context, server_ssl_context):
    pair = Pair(client_ssl_context, server_ssl_context)
    with pair.ours.socket, pair.raw:
        with trio.move_on_after(0.01) as scope:
            await pair.ours.do_handshake()
        assert scope.cancelled_caught
        await pair.ours.aclose()


async def test_records_of_a_byte_are_read_for_a_time_slice(pair, monkeypatch):
    """OpenSSL takes 3 µs for a record, so 256 KiB of such records take 40 ms."""
    monkeypatch.setattr(tls, "SLICE_SECONDS", 0)
    for byte in b"abc":
        await pair.theirs.send_all(bytes([byte]))
    assert [pair.ours.receive_nowait() for _ in range(4)] == [1, 1, 1, None]
    assert pair.ours.is_drained


async def test_records_without_data_are_read_for_a_time_slice(client_ssl_context, ca):
    """A session ticket takes OpenSSL 20 µs, and a server may send any number of them."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.num_tickets = 255
    ca.issue_cert("127.0.0.1").configure_cert(server)
    pair = Pair(client_ssl_context, server)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        await pair.shake_hands()
        await pair.theirs.send_all(b"hello")
        assert pair.ours.receive_nowait() is None
        assert not pair.ours.is_drained
        assert await pair.ours.receive_some() == b"hello"


class Feeds:
    """A buffer of TLS that notes the sizes of what it is fed with."""

    def __init__(self, inner: ssl.MemoryBIO) -> None:
        self.inner = inner
        self.sizes: list[int] = []

    def write(self, data: memoryview) -> None:
        self.sizes.append(len(data))
        self.inner.write(data)

    @property
    def pending(self) -> int:
        return self.inner.pending


@pytest.fixture
def feeds(pair) -> Feeds:
    pair.ours._incoming = feeds = Feeds(pair.ours._incoming)
    return feeds


RECORD = 22  # bytes around the data of a record: header, type and tag (RFC 8446 §5.2)


async def send_records(pair: Pair, *sizes: int) -> None:
    """Send a record of each size, before any of them is read; read the session tickets first."""
    await pair.theirs.send_all(b"x")
    assert await pair.ours.receive_some() == b"x"
    for size in sizes:
        await pair.theirs.send_all(bytes(size))


async def test_long_records_are_fed_one_by_one(pair, feeds):
    await send_records(pair, 16_384, 16_384, 5_000, 4_000)
    del feeds.sizes[:]
    assert len(await read(pair.ours, 41_768)) == 41_768
    assert feeds.sizes == [size + RECORD for size in (16_384, 16_384, 5_000, 4_000)]


async def test_small_records_are_fed_sixteen_at_a_time(pair, feeds):
    await send_records(pair, *[1] * 40)
    del feeds.sizes[:]
    await read(pair.ours, 40)
    assert feeds.sizes == [16 * (1 + RECORD)] * 2 + [8 * (1 + RECORD)]


async def test_records_are_fed_up_to_4_kib_together(pair, feeds):
    await send_records(pair, 1_100, 1_100, 1_100, 1_100, 10_000)
    del feeds.sizes[:]
    await read(pair.ours, 14_400)
    assert feeds.sizes == [3 * (1_100 + RECORD), 1_100 + RECORD, 10_000 + RECORD]


@pytest.mark.parametrize("size", [1, 4, 7, 1_000])
async def test_records_may_come_in_any_pieces(pair, feeds, monkeypatch, size):
    """A header is fed as a whole; the rest of a record is fed alone."""
    receive = pair.ours._transport.receive_nowait
    monkeypatch.setattr(pair.ours._transport, "receive_nowait", lambda: receive(size))
    await pair.theirs.send_all(b"hello")
    await pair.theirs.send_all(BIG[:3_000])
    await pair.theirs.send_all(b"last")
    assert await read(pair.ours, 3_009) == b"hello" + BIG[:3_000] + b"last"
    assert pair.ours.receive_nowait() is None
    assert pair.ours.is_drained
    assert max(feeds.sizes) <= max(size + 4, 5)


async def test_end_of_tcp_within_a_header_is_the_end(pair):
    await pair.transport.send_all(b"\x17\x03")
    pair.transport.socket.shutdown(socket.SHUT_WR)
    assert await pair.ours.receive_some() == b""


async def test_each_feed_of_a_handshake_is_followed_by_a_checkpoint(
    client_ssl_context, server_ssl_context, monkeypatch
):
    """A server could make OpenSSL work on records without end."""
    pair = Pair(client_ssl_context, server_ssl_context)
    pair.ours._incoming = feeds = Feeds(pair.ours._incoming)
    checkpoints = 0
    checkpoint = TimeSlice.checkpoint

    async def counted(time_slice: TimeSlice) -> None:
        nonlocal checkpoints
        checkpoints += 1
        await checkpoint(time_slice)

    monkeypatch.setattr(TimeSlice, "checkpoint", counted)
    monkeypatch.setattr(tls, "_MAX_FED_RECORDS", 1)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        await pair.shake_hands()
    assert len(feeds.sizes) > 2
    assert checkpoints >= len(feeds.sizes) - 1


async def test_read_of_records_without_data_ends_with_its_time_slice(
    client_ssl_context, ca, monkeypatch
):
    monkeypatch.setattr(tls, "SLICE_SECONDS", 0)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.num_tickets = 100
    ca.issue_cert("127.0.0.1").configure_cert(server)
    pair = Pair(client_ssl_context, server)
    with trio.fail_after(BOUND), pair.ours.socket, pair.raw:
        await pair.shake_hands()
        pair.ours._incoming = feeds = Feeds(pair.ours._incoming)
        while pair.ours.receive_nowait() is None and not pair.ours.is_drained:
            assert len(feeds.sizes) <= 3  # what was taken from the socket, and what is next
            del feeds.sizes[:]
        assert pair.ours.is_drained


async def test_write_continues_after_a_read_of_leftover_bytes(pair):
    """This may be the end of a renegotiation."""
    await pair.theirs.send_all(b"a")
    await pair.theirs.send_all(b"b")
    assert pair.ours.receive_nowait(1) == 1
    pair.ours._object = Waits(pair.ours._object)
    assert not pair.ours.send_nowait(b"hello")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.ours.flush)
        await wait_all_tasks_blocked()
        assert pair.ours.receive_nowait(1) == 1
    assert await pair.theirs.receive_some() == b"hello"


class Waits:
    """A fake of OpenSSL in a renegotiation: it writes only once it has read."""

    def __init__(self, inner: ssl.SSLObject) -> None:
        self.inner = inner
        self.has_read = False

    def read(self, size: int, buffer: memoryview) -> int:
        count = self.inner.read(size, buffer)
        self.has_read = True
        return count

    def write(self, data: bytes) -> int:
        if not self.has_read:
            raise ssl.SSLWantReadError
        return self.inner.write(data)


async def test_write_that_needs_a_read_follows_it(pair):
    pair.ours._object = Waits(pair.ours._object)
    assert not pair.ours.send_nowait(b"hello")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.ours.flush)
        await wait_all_tasks_blocked()
        await pair.theirs.send_all(b"a")
        assert await pair.ours.receive_some() == b"a"
    assert await pair.theirs.receive_some() == b"hello"


async def test_write_that_needs_a_read_ends_when_the_stream_is_closed(pair):
    pair.ours._object = Waits(pair.ours._object)
    assert not pair.ours.send_nowait(b"hello")
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.ours.flush)
            await wait_all_tasks_blocked()
            pair.ours.close()


# Cases that only openssl's own server can show


@pytest.fixture
def certificate(ca: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


@asynccontextmanager
async def s_server(certificate: str, option: str) -> AsyncIterator[tuple[trio.Process, int]]:
    """Run openssl s_server: it prints what it gets, and takes lines and commands."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
    command += ["-cert", certificate, option]
    pipe = subprocess.PIPE
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            check=False,
        )
        process = await nursery.start(run)
        line = await until(process, b"ACCEPT 127.0.0.1:")
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        yield process, int(line.split(b"ACCEPT 127.0.0.1:")[1].split()[0])
        nursery.cancel_scope.cancel()


async def until(process: trio.Process, *texts: bytes) -> bytes:
    data = b""
    while not all(text in data for text in texts):
        piece = await process.stdout.receive_some()
        assert piece, data
        data += piece
    return data


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None and not os.environ.get("CI"), reason="openssl is not here"
)


@needs_openssl
@pytest.mark.parametrize(
    ("version", "command", "done"),
    [
        ("-tls1_3", b"K\n", b""),
        ("-tls1_3", b"k\n", b""),
        ("-tls1_2", b"r\n", b"Read BLOCK"),
    ],
    ids=["a key update that asks for ours", "a key update", "a renegotiation of TLS 1.2"],
)
async def test_keys_may_change_between_messages(
    client_ssl_context, certificate, version, command, done
):
    with trio.fail_after(BOUND):
        async with s_server(certificate, version) as (process, port):
            stream = adopt_socket(await trio.open_tcp_stream("127.0.0.1", port))
            assert isinstance(stream, EagerSocketStream)
            tls = EagerTLSStream(stream, client_ssl_context, "127.0.0.1")
            await tls.do_handshake()
            for number in range(3):
                await tls.send_all(b"from us %d\n" % number)
                await until(process, b"from us %d\n" % number)
                await process.stdin.send_all(command)
                async with trio.open_nursery() as nursery:
                    got = bytearray()

                    @nursery.start_soon
                    async def reader(got=got) -> None:
                        while not got.endswith(b"\n"):
                            got += await tls.receive_some()

                    # Whatever has come of the change so far, this goes through.
                    await tls.send_all(b"meanwhile %d\n" % number)
                    await until(process, b"meanwhile %d\n" % number, done)
                    await process.stdin.send_all(b"from them %d\n" % number)
                assert got == b"from them %d\n" % number
            await tls.aclose()
