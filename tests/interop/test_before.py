"""What the migration pages show of other libraries runs, and prints what they say."""

import sys
from pathlib import Path

import pytest
import trio

from trio_wsclient.testing import Peer, echo, open_loopback_server

BEFORE = Path(__file__).parent.parent.parent / "docs" / "examples" / "before"


async def feed(peer: Peer) -> None:
    assert await peer.receive() == "subscribe"
    for message in ("first", "second"):
        await peer.send(message)
    await peer.close(1000, "that is all")


@pytest.mark.parametrize(
    ("name", "handler", "printed"),
    [
        ("trio_websocket_feed", feed, "first\nsecond\nclosed: 1000 that is all\n"),
        ("trio_websocket_nursery", echo, "Hello, Trio!\n"),
        ("websockets_tasks", echo, "question 0\nquestion 1\nquestion 2\n"),
        ("websockets_fragments", echo, "one, two\n"),
        ("websockets_json", echo, "{'answer': 42}\n"),
    ],
)
async def test_what_was_before_runs(name: str, handler, printed: str) -> None:
    program = (BEFORE / f"{name}.py").read_text(encoding="utf-8")
    async with open_loopback_server(handler) as server:
        for path in ("echo", "feed"):
            program = program.replace(f"wss://example.org/{path}", server.url)
        with trio.fail_after(60):
            done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)
    assert done.stdout.decode() == printed


def test_all_of_them_are_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.stem}"' in source for path in BEFORE.glob("*.py"))
