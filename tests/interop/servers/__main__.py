"""A server's process: says on standard output where it listens, and serves until it is ended."""

import importlib
import json
import os
import socket
import sys
import threading

from . import Listeners


def end_with_parent() -> None:
    """Exit when standard input ends: a killed test run leaves no server behind."""
    sys.stdin.read()
    os._exit(0)


def main(name: str, certificate: str) -> None:
    library, _, variant = name.partition("-")
    server = importlib.import_module(f"{__package__}.on_{library}")
    threading.Thread(target=end_with_parent, daemon=True).start()
    listeners = Listeners(
        ws=socket.create_server(("127.0.0.1", 0)),
        wss=socket.create_server(("127.0.0.1", 0)),
        certificate=certificate,
    )
    # The sockets listen: the kernel now holds every connection until the server accepts it.
    ports = {"ws": listeners.ws.getsockname()[1], "wss": listeners.wss.getsockname()[1]}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    # Nobody reads the pipe any more, and a log that fills it would block the server.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server.serve(variant, listeners)


if __name__ == "__main__":
    main(*sys.argv[1:])
