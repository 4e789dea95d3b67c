"""What the results depend on: the machine, the interpreter, the libraries."""

from __future__ import annotations

import os
import platform
import ssl
import zlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from trio_wsclient import __version__

LIBRARIES = (
    "trio",
    "wsproto",
    "trio-websocket",
    "websockets",
    "aiohttp",
    "picows",
    "uvloop",
)
CPU_FACTS = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, str]:
    """Return facts by their names, in the order in which to show them."""
    peers = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{python}, {ssl.OPENSSL_VERSION}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "libraries": f"trio_wsclient {__version__}, {peers}",
    }


def cpu_model() -> str:
    for line in CPU_FACTS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
