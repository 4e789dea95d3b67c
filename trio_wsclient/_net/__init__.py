"""The ways to a server: TCP, TLS and proxies.

* `connect` opens a stream, and starts TLS on it, by default with the context of `trust`.
* `sockets` reads and writes a TCP socket. `tls` does the same for TLS on such a socket.
* `proxy` has a proxy as data. `no_proxy` finds the one that the environment asks for.
* `draining` reads what has come before it raises the error of a write.
* `tunnel` goes through a proxy, by `http_connect` or `socks`.
"""
