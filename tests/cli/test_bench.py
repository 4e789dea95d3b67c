"""Round-trip times on the command line: what is sent, shown, and refused."""

from __future__ import annotations

import io
import sys

import pytest
import wire
from command_line import run_main
from scripted_server import Peer, echo_script, loopback_server

from trio_wsclient._cli import bench
from trio_wsclient._cli.bench import summary


async def test_round_trips_are_counted_and_shown(capsys):
    sizes = set()

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (frame := await peer.next_frame()) is not None and frame.opcode == wire.TEXT:
            sizes.add(len(frame.payload))
            await peer.send(wire.frame(wire.TEXT, frame.payload))
        await peer.send(wire.close(1000))
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        assert await run_main("bench", "--seconds", "0.1", "--size", "200", url) == 0
    first, second, empty, *bars = capsys.readouterr().out.splitlines()
    assert sizes == {200}
    assert "round trips, " in first
    assert second.startswith("min ")
    assert empty == ""
    count = int(first.split()[0].replace(",", ""))
    assert sum(int(bar.split()[4].replace(",", "")) for bar in bars) == count
    assert bars[-1].split()[:2] == ["up", "to"]


async def test_live_line_is_for_terminals_only(capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(bench, "_SHOWN_EVERY", 0.0)
    async with loopback_server(echo_script) as url:
        assert await run_main("bench", "-t", "0", url) == 0
        assert capsys.readouterr().err == ""
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert await run_main("bench", "-t", "0", url) == 0
    shown, cleared = terminal.getvalue().split("\r")[1:]
    assert shown.startswith("1 round trips; p50 ")
    assert ", p99 " in shown
    assert cleared == "\x1b[K"


async def test_server_that_does_not_echo_is_reported(capsys):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(wire.text("welcome"))
        await peer.close_politely()

    async with loopback_server(script) as url:
        assert await run_main("bench", url) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"trio-wsclient: no echo server: it answered 'welcome' to {'0'.ljust(40)!r}\n"


async def test_what_was_measured_before_the_end_is_shown(capsys):
    async def script(peer: Peer) -> None:
        await peer.accept()
        frame = await peer.next_frame()
        await peer.send(wire.frame(wire.TEXT, frame.payload) + wire.close(1013))
        await peer.expect_close()
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        assert await run_main("bench", url) == 3
    out, err = capsys.readouterr()
    assert out.startswith("1 round trips, ")
    assert err == "trio-wsclient: closed by the server: 1013 (try again later)\n"


@pytest.mark.parametrize("size", ["19", "-1", "x", "1000000001"])
async def test_message_has_room_for_its_number(size: str, capsys):
    with pytest.raises(SystemExit) as caught:
        await run_main("bench", "--size", size, "ws://127.0.0.1:1/")
    assert caught.value.code == 2


async def test_message_may_be_larger_than_others_may(capsys):
    async with loopback_server(echo_script) as url:
        assert await run_main("bench", "-t", "0", "-s", "2000000", url) == 0
    assert capsys.readouterr().out.startswith("1 round trips, ")


def test_histogram_has_bars_of_logarithmic_scale():
    times = [0.00015] * 80 + [0.0003] * 40 + [0.0015] * 2 + [1.5]
    assert list(summary(times)) == [
        f"123 round trips, {123 / sum(times):,.0f} a second",
        "min 150 µs, p50 150 µs, p90 300 µs, p99 1.5 ms, max 1.5 s",
        "",
        "    up to 200 µs         80  ########################################",
        "    up to 500 µs         40  ####################",
        "      up to 1 ms          0",
        "      up to 2 ms          2  #",
        "      up to 5 ms          0",
        "     up to 10 ms          0",
        "     up to 20 ms          0",
        "     up to 50 ms          0",
        "    up to 100 ms          0",
        "    up to 200 ms          0",
        "    up to 500 ms          0",
        "       up to 1 s          0",
        "       up to 2 s          1  #",
    ]


def test_histogram_of_one_is_one_bar():
    *_, bar = summary([0.004])
    assert bar == f"{'up to 5 ms':>16}  {1:>9}  {'#' * 40}"
