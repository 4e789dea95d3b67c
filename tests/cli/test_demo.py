"""The demo: what it shows, and its own server."""

from __future__ import annotations

import re
import sys

import pytest
import trio

from trio_wsclient._cli.demo import demo

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


@pytest.mark.slow
async def test_demo_works_as_a_process():
    command = [sys.executable, "-m", "trio_wsclient", "demo"]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    assert done.stderr == b""
    assert steps_of(done.stdout.decode().splitlines())[-1]["name"] == "closed"
