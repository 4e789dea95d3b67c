"""The ways to a server: sockets and TLS.

* `sockets` reads and writes a TCP socket.
* `tls` does the same for TLS on such a socket.
"""
