"""The suite: where it comes from, and its server (fuzzing, in its own word) on 127.0.0.1.

`autobahntestsuite` is the suite. It runs on Python 2.7 only. `kosoku` runs the same cases on the
Python that runs this file, and replaces it where there is no Python 2.7. `run.py` says what is
asked of the server, and what its verdicts mean.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

HERE = Path(__file__).resolve().parent

_INSTALL_TIMEOUT = 600  # seconds: it takes 15, more where a wheel has to be compiled
_START_TIMEOUT = 60  # seconds: it takes 1


class SuiteError(Exception):
    """There is no suite to be had, or its server does not start."""


@dataclass(frozen=True)
class Suite:
    """A suite that is installed: which, the interpreter that runs it, and its directory."""

    name: str
    python: str
    directory: Path

    @property
    def is_autobahn(self) -> bool:
        """Whether it is autobahntestsuite itself."""
        return self.name == "autobahntestsuite"


@dataclass(frozen=True)
class Server:
    """A suite's server that is running: where to reach it, and where it leaves its reports."""

    suite: Suite
    url: str
    reports: Path
    process: trio.Process


def find_suite(cache: Path) -> Suite:
    """Install the suite, or its replacement, into `cache`, unless an earlier run did.

    Raises:
        SuiteError: If there is no Python 2.7 where there has to be one (the environment variable
            `CI` is set), or if pip fails.
    """
    if python := _find_python27():
        requirements = HERE / "requirements-wstest-py27.txt"
        return Suite("autobahntestsuite", python, _install(python, requirements, cache))
    if os.environ.get("CI"):
        raise SuiteError("no Python 2.7 found: autobahntestsuite, which CI demands, can't run")
    requirements = HERE / "requirements-kosoku.txt"
    return Suite("kosoku", sys.executable, _install(sys.executable, requirements, cache))


def _find_python27() -> str | None:
    # A name on the path is no proof: version managers leave stubs there that only fail.
    check = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"
    for python in _candidates():
        found = subprocess.run([python, "-E", "-c", check], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    return None


def _candidates() -> Iterator[str]:
    for name in ("python2.7", "python2"):
        if python := shutil.which(name):
            yield python
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        for python27 in sorted(Path(root.stdout.strip()).glob("versions/2.7*/bin/python2.7")):
            yield str(python27)


def _install(python: str, requirements: Path, cache: Path) -> Path:
    contents = hashlib.sha256(requirements.read_bytes() + python.encode()).hexdigest()[:12]
    installed = cache / f"{requirements.stem}-{contents}"
    if installed.is_dir():
        return installed
    cache.mkdir(parents=True, exist_ok=True)
    # Only what is complete gets the name that the next run looks for.
    with tempfile.TemporaryDirectory(prefix="incomplete-", dir=cache) as scratch:
        target = Path(scratch, "suite")
        pip = [python, "-E", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        print(f"installing {requirements.name}", flush=True)
        done = subprocess.run(
            [*pip, "--target", str(target), "-r", str(requirements)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INSTALL_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise SuiteError(f"pip could not install {requirements.name}:\n{done.stdout}")
        try:
            target.rename(installed)
        except OSError:
            if not installed.is_dir():  # else another run was faster
                raise
    return installed


@asynccontextmanager
async def open_server(suite: Suite, cases: Sequence[str], reports: Path) -> AsyncIterator[Server]:
    """Run the suite's server for `cases` (its own patterns); ended however the block is left."""
    _forget(reports)
    log = reports / "server.log"
    command = [suite.python, "-E", "-u", str(HERE / "launcher.py"), str(suite.directory)]
    command += [suite.name, "-m", "fuzzingserver"]
    if suite.is_autobahn:
        spec = {"url": "ws://127.0.0.1", "outdir": str(reports), "cases": [*cases]}
        (reports / "spec.json").write_text(json.dumps(spec))
        command += ["-s", str(reports / "spec.json"), "-u", "0"]  # 0: no web page on port 8080
    else:
        command += ["127.0.0.1:0", "-o", str(reports)]
        command += [argument for case in cases for argument in ("-i", case)]
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Server(suite, await _wait_for_url(process, log), reports, process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _forget(reports: Path) -> None:
    # Verdicts of an earlier run must not be taken for this one's.
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "index.json").unlink(missing_ok=True)


async def _wait_for_url(process: trio.Process, log: Path) -> str:
    with trio.move_on_after(_START_TIMEOUT):
        while process.poll() is None:
            if url := _find_url(log):
                return url
            await trio.sleep(0.05)
    raise SuiteError(f"the server of the suite did not start, see {log}")


def _find_url(log: Path) -> str | None:
    listening = re.search(r"listening on (ws://\S+)\s", log.read_text())
    return listening[1] if listening else None
