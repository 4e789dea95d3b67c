"""The demo: what it shows, and its own server."""

from __future__ import annotations

import functools
import re
import sys

import trio
import trio.testing
import wire
from scripted_server import memory_server

from trio_wsclient import open_websocket_client
from trio_wsclient._demo import demo, echo

STEP = re.compile(r" *(?P<milliseconds>[0-9]+\.[0-9]) ms  (?P<name>[a-z]+) +(?P<what>.+)")


def steps_of(lines):
    steps = [STEP.fullmatch(line) for line in lines]
    assert all(steps), lines
    return steps


async def test_demo_shows_each_step_with_its_time():
    lines = []
    with trio.fail_after(60):
        await demo(lines.append)
    steps = steps_of(lines)
    names = [step["name"] for step in steps]
    assert names == ["listening", "opened", *["sent", "received"] * 2, "ping", "closed"]
    times = [float(step["milliseconds"]) for step in steps]
    assert times == sorted(times)
    told = [step["what"] for step in steps]
    assert told[2] == told[3] == "'Hello, Trio!'"
    assert told[-1] == "1000 (normal closure)"


async def test_demo_works_as_a_process():
    command = [sys.executable, "-m", "trio_wsclient", "demo"]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    assert done.stderr == b""
    assert steps_of(done.stdout.decode().splitlines())[-1]["name"] == "closed"


async def test_demo_server_listens_on_loopback_only(monkeypatch):
    hosts = []
    serve_tcp = trio.serve_tcp

    @functools.wraps(serve_tcp)
    async def recording(*args, host, **options):
        hosts.append(host)
        await serve_tcp(*args, host=host, **options)

    monkeypatch.setattr(trio, "serve_tcp", recording)
    with trio.fail_after(60):
        await demo(lambda _: None)
    assert hosts == ["127.0.0.1"]


async def test_echo_sends_back_messages_and_fragments_and_answers_pings(autojump_clock):
    async with (
        memory_server(lambda peer: echo(peer.stream)) as stream,
        open_websocket_client("ws://x/", stream=stream) as ws,
    ):
        await ws.send("text")
        await ws.send(b"binary")
        assert [await ws.receive(), await ws.receive()] == ["text", b"binary"]
        async with ws.text_writer() as writer:
            await writer.write("in ")
            await writer.write("parts")
        frames = ws.frames()
        payloads = [(await anext(frames)).payload for _ in range(3)]
        assert payloads == [b"in ", b"parts", b""]
        await ws.pong(b"a heartbeat")
        await ws.ping()
    assert str(await ws.wait_closed()) == "1000 (normal closure)"


async def test_echo_ends_with_the_stream_of_a_client_that_vanishes(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo, theirs)
        await ours.aclose()


async def test_echo_does_not_mind_a_client_that_does_not_listen(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await ours.aclose()
    await echo(theirs)


async def test_echo_does_not_mind_what_is_not_http(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(wire.text("no handshake") + b"\r\n\r\n")
    await echo(theirs)
