"""The opening handshake, from the URL to the verdict on the response (RFC 6455 §3, §4): no I/O.

* `url` parses a URL, with `authority`. `redirects` says where a redirect leads.
* `handshake` asks for a WebSocket, and checks the response.
* `negotiation` settles which extensions are in use.
* `http11` writes a request of HTTP/1.1, and reads the response.
"""
