"""A server's process, from its start to its end."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT = 30  # seconds: for a process to import its libraries and listen, on a busy machine


@dataclass(frozen=True)
class Server:
    """A listening server: `name` is one of `capabilities.SERVERS`, `ports` go by scheme."""

    name: str
    ports: dict[str, int]
    process: subprocess.Popen[str]

    def url(self, scheme: str, path: str) -> str:
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}{path}"


@contextmanager
def started(name: str, certificate: Path) -> Iterator[Server]:
    """Start the server, wait until it listens, and kill it at the end.

    Its log goes to standard error, where pytest shows it with a case that fails.
    """
    package = __package__ or ""
    with subprocess.Popen(
        [sys.executable, "-m", f"{package}.servers", name, str(certificate)],
        cwd=Path(__file__).parents[package.count(".") + 1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(START_TIMEOUT, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
            watchdog.cancel()
            if not line:
                raise RuntimeError(f"{name} did not start: exit status {process.wait()}")
            yield Server(name, json.loads(line), process)
        finally:
            watchdog.cancel()
            process.kill()
