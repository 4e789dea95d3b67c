"""The server of `compare_connects.py`: it answers a handshake and a Close, and that is all.

    python connect_server.py [--tls CERTIFICATE]

Prints its port, and serves one connection at a time until the process is killed.
"""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress

from server_side import CLOSE, frame, response_to

READ_SIZE = 65_536
OUR_CLOSE = frame(CLOSE, b"\x03\xe8")  # 1000


def serve(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            if context is not None:
                connected = context.wrap_socket(connected, server_side=True)
            connected.sendall(response_to(connected.recv(READ_SIZE)))
            connected.recv(READ_SIZE)
            connected.sendall(OUR_CLOSE)
        connected.close()


def main() -> None:
    context = None
    if sys.argv[1:2] == ["--tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    serve(listener, context)


main()
