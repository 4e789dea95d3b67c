"""Compare what an import costs, above Trio's: `python benchmarks/compare_imports.py FOLDER...`.

Each FOLDER has a `trio_wsclient/` package inside. Fresh processes take turns: one for each folder,
one for trio-websocket. Each imports Trio first, and then measures the CPU time of the import. The
bytecode is compiled before.
"""

from __future__ import annotations

import argparse
import compileall
import statistics
import subprocess
import sys
from pathlib import Path

PROCESSES = 30  # for each side
BASELINE = "trio_websocket"
PROGRAM = """
import sys, time
import trio
module, *folders = sys.argv[1:]
sys.path[:0] = folders
start = time.process_time()
__import__(module)
print(time.process_time() - start)
"""


def measure(module: str, *folders: str) -> float:
    """Return the milliseconds of one import in a new process."""
    command = [sys.executable, "-c", PROGRAM, module, *folders]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return 1000 * float(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare what an import costs, above Trio's.")
    parser.add_argument("folders", type=Path, nargs="+", help="with a trio_wsclient/ inside")
    folders = [str(folder.resolve()) for folder in parser.parse_args().folders]
    for folder in folders:
        compileall.compile_dir(Path(folder, "trio_wsclient"), quiet=1)
    sides = {BASELINE: (BASELINE,), **{each: ("trio_wsclient", each) for each in folders}}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(PROCESSES):
        for side, arguments in sides.items():
            times[side].append(measure(*arguments))
    for side, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, times[BASELINE], strict=True))
        print(f"{statistics.median(found):7.1f} ms  {ratio:5.2f} x {BASELINE}  {side}")


if __name__ == "__main__":
    main()
