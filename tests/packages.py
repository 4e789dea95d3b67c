"""Build what is published, and try each package: ``packages.py FOLDER [--all-tests]``.

The folder gets an sdist, and the two wheels that are made from it: with the accelerator, and in
pure Python. Each is installed into an empty environment and has to pass some tests there. The sdist
is tried without a compiler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TESTS = Path(__file__).parent
SMOKE_TESTS = ["client/test_open.py", "protocol/test_frames.py", "cli/test_main_as_process.py"]
PURE = {"TRIO_WSCLIENT_PURE": "1"}


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command, show it, and return what it prints; if it fails, end with its status."""
    print("+", *command, flush=True)
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, check=False, env=environment, cwd=cwd, stdout=-1, text=True)
    print(done.stdout, end="")
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def build(folder: Path) -> tuple[Path, list[Path]]:
    """Make the sdist and its wheels, and check what they say of themselves."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", f"--outdir={folder}", TESTS.parent)
    (sdist,) = folder.glob("*.tar.gz")
    for env in ({}, PURE):
        run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", folder, sdist, env=env)
    wheels = sorted(folder.glob("*.whl"))
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, *wheels)
    run(sys.executable, "-m", "check_wheel_contents", *wheels)
    return sdist, wheels


def try_out(
    package: Path, implementation: str, tests: list[str], env: dict[str, str] | None = None
) -> None:
    """Install a package into an empty environment, and run tests there."""
    with tempfile.TemporaryDirectory() as name:
        run(sys.executable, "-m", "venv", name)
        folder = Path(name, "Scripts" if os.name == "nt" else "bin")
        python = folder / "python"
        run(python, "-m", "pip", "-q", "install", package, env=env)
        code = "import trio_wsclient as t; print(t.IMPLEMENTATION, t.__file__)"
        told = run(python, "-P", "-c", code)
        if not told.startswith(f"{implementation} {name}"):
            sys.exit(f"{package}: {told}")
        run(folder / "trio-wsclient", "demo")
        groups = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["dependency-groups"]
        pins = TESTS.parent / "pins.txt"
        run(python, "-m", "pip", "-q", "install", "-c", pins, *groups["test"])
        # Without the variable, the tests in CI fail if there is no accelerator.
        pure = PURE if implementation == "python" else None
        # In this folder, `python -m trio_wsclient` does not find the source.
        left_out = ("--ignore=interop", "--ignore=conformance")
        run(folder / "pytest", "-q", "-n", "auto", *left_out, *tests, env=pure, cwd=TESTS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the packages, and try each.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all-tests", action="store_true", help="not only a few of them")
    arguments = parser.parse_args()
    tests = ["."] if arguments.all_tests else SMOKE_TESTS
    sdist, wheels = build(arguments.folder.absolute())
    for wheel in wheels:
        try_out(wheel, "python" if "none-any" in wheel.name else "c", tests)
    try_out(sdist, "python", tests, env={"CC": "false"})


if __name__ == "__main__":
    main()
