"""Check every library in every situation, and print the table: `python -m peers.run [E1 ...]`.

The exit status is 0 if this library has no fault. The faults of others are the reason for these
tests.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from peers import leaving, opening, traffic
from peers.check import CHECKS

LIBRARIES = {
    "trio-websocket": "peers.on_trio_websocket",
    "websockets": "peers.on_websockets",
    "trio-wsclient": "peers.on_trio_wsclient",
}
OWN = "trio-wsclient"
MODULES = (opening, traffic, leaving)  # they fill CHECKS


def verdict(name: str, module: str) -> str:
    """Say what is wrong with a library in a situation, or "ok"."""
    try:
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "peers.one", name, module],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=CHECKS[name].bound,
            check=False,
        )
        output, hangs = process.stdout, False
    except subprocess.TimeoutExpired as exc:
        output, hangs = exc.stdout or b"", True
    lines = [line.partition(" ") for line in output.decode().splitlines()]
    faults = [text for kind, _, text in lines if kind == "fault"]
    if hangs:
        steps = [text for kind, _, text in lines if kind == "step"]
        faults.append(f"hangs: {steps[-1] if steps else 'before anything'}")
    elif not lines or lines[-1][0] != "done":
        faults.append(f"exit status {process.returncode}")
    return "; ".join(faults) or "ok"


def main(wanted: list[str]) -> int:
    heads = [f"{library} {version(library)}" for library in LIBRARIES]
    print("| |", " | ".join(["situation", *heads]), "|")
    print("| --- |", " | ".join(["---"] * (1 + len(heads))), "|")
    faulty = False
    for name, check in sorted(CHECKS.items(), key=lambda item: order(item[0])):
        if wanted and name.partition(",")[0] not in wanted:
            continue
        verdicts = {library: verdict(name, module) for library, module in LIBRARIES.items()}
        print(f"| {name} |", " | ".join([check.situation, *verdicts.values()]), "|", flush=True)
        faulty = faulty or verdicts[OWN] != "ok"
    return 1 if faulty else 0


def order(name: str) -> tuple[int, str]:
    number, _, variant = name.partition(",")
    return int(number[1:]), variant


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
