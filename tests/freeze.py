"""Freeze a small program by PyInstaller, run it, and check that it uses the accelerator (E42).

It takes the `trio_wsclient` that is installed, not the source next to it: `nox -s build -- frozen`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """\
import sys

import trio

from trio_wsclient import IMPLEMENTATION, open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def echo() -> None:
    async with open_loopback_server() as server, open_websocket_client(server.url) as ws:
        await ws.send("Hello, Trio!")
        print(IMPLEMENTATION, await ws.receive(), getattr(sys, "frozen", False), sep="|")


trio.run(echo)
"""
EXPECTED = "c|Hello, Trio!|True"


def freeze(source: Path) -> Path:
    """Freeze a program into one file next to its source; return that file."""
    folder = source.parent
    # In the folder of the program, and with -P: PyInstaller must not find our source by the path.
    command = [sys.executable, "-P", "-m", "PyInstaller", "--onefile", "--log-level=WARN"]
    subprocess.run([*command, source.name], cwd=folder, check=True)
    return folder / "dist" / (f"{source.stem}.exe" if os.name == "nt" else source.stem)


def main() -> None:
    # The variable would turn the accelerator off, in the frozen program too.
    environ = {name: value for name, value in os.environ.items() if name != "TRIO_WSCLIENT_PURE"}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "program.py")
        source.write_text(PROGRAM, encoding="utf-8")
        start = time.monotonic()
        frozen = freeze(source)
        print(f"froze {frozen.stat().st_size:,} bytes in {time.monotonic() - start:.0f} s")
        done = subprocess.run([frozen], env=environ, check=True, capture_output=True, text=True)
    printed = done.stdout.strip()
    print(f"the frozen program printed: {printed}")
    if printed != EXPECTED:
        sys.exit(f"it should have printed: {EXPECTED}")


if __name__ == "__main__":
    main()
