"""The two servers, plain and TLS, for the length of a block."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

HOST = "127.0.0.1"
SERVER = Path(__file__).with_name("server.py")


@dataclass(frozen=True)
class Servers:
    """Where they listen.

    Attributes:
        plain: URL of the one without TLS.
        secure: URL of the one with.
        ca: File of the authority that has signed its certificate.
    """

    plain: str
    secure: str
    ca: str


@contextmanager
def run_servers(script: Path = SERVER) -> Iterator[Servers]:
    """Make a certificate, start both servers, and end them however the block is left."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        ca, certificate = Path(folder, "ca.pem"), Path(folder, "server.pem")
        authority.cert_pem.write_to_path(ca)
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
        tls = ("--tls", str(certificate))
        with run_server(script) as port, run_server(script, *tls) as tls_port:
            yield Servers(f"ws://{HOST}:{port}", f"wss://{HOST}:{tls_port}", str(ca))


@contextmanager
def run_server(script: Path, *arguments: str) -> Iterator[int]:
    """Run a server, and give its port; it ends by itself when this process is no more."""
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the server has not started")
            yield int(line)
        finally:
            process.kill()
