"""Programs that are no Python: nginx, lighttpd, tinyproxy, microsocks; on 127.0.0.1 only."""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_TIMEOUT = 30  # seconds: they take a fraction of one
USER = "user"
PASSWORD = "pass-word"  # tinyproxy's configuration takes letters, digits and little else

NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""

LIGHTTPD = """
server.document-root = "{directory}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "/dev/stderr"
server.modules = ("mod_auth", "mod_authn_file", "mod_proxy")
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "{directory}/users"
auth.require = (
    "/" => ("method" => "digest", "algorithm" => "SHA-256", "realm" => "{realm}",
            "require" => "valid-user")
)
proxy.header = ("upgrade" => "enable")
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {upstream})))
"""

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 20
LogLevel Warning
BasicAuth {user} {password}
ConnectPort {allowed}
"""


def find(name: str) -> str:
    """Return where a program is; the case is skipped, by name, if it is nowhere."""
    # Debian has daemons where only root looks for them.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    program = shutil.which(name, path=path)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a program until the block is left; its log goes where pytest shows it."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen, exit status {process.poll()}")


@contextmanager
def nginx(directory: Path, certificate: Path, upstream: int) -> Iterator[int]:
    """Run nginx, which ends TLS in front of a server; gives its port."""
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(
        NGINX.format(directory=directory, certificate=certificate, port=port, upstream=upstream)
    )
    with running([find("nginx"), "-p", str(directory), "-c", str(conf), "-e", "stderr"], port):
        yield port


@contextmanager
def lighttpd(directory: Path, upstream: int) -> Iterator[int]:
    """Run lighttpd, which wants Digest in front of a server; gives its port."""
    port, realm = free_port(), "the realm"
    secret = hashlib.sha256(f"{USER}:{realm}:{PASSWORD}".encode()).hexdigest()
    (directory / "users").write_text(f"{USER}:{realm}:{secret}\n")
    conf = directory / "lighttpd.conf"
    conf.write_text(LIGHTTPD.format(directory=directory, port=port, realm=realm, upstream=upstream))
    with running([find("lighttpd"), "-D", "-f", str(conf)], port):
        yield port


@contextmanager
def tinyproxy(directory: Path, allowed: int) -> Iterator[int]:
    """Run an HTTP proxy that wants a password, and connects to one port only; gives its port."""
    port = free_port()
    conf = directory / "tinyproxy.conf"
    conf.write_text(TINYPROXY.format(port=port, user=USER, password=PASSWORD, allowed=allowed))
    with running([find("tinyproxy"), "-d", "-c", str(conf)], port):
        yield port


@contextmanager
def microsocks() -> Iterator[int]:
    """Run a SOCKS5 proxy that wants a password; gives its port."""
    port = free_port()
    program = find("microsocks")
    command = [program, "-i", "127.0.0.1", "-p", str(port), "-u", USER, "-P", PASSWORD]
    with running(command, port):
        yield port
