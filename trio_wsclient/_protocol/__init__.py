"""The WebSocket protocol on an open connection (RFC 6455 §5 to §8): no I/O, no clock.

Bytes from the server become events; messages, pings and Close become bytes. Start with `protocol`.

* `reader` reads frames, with `header` and `utf8`.
* `closing` records how the connection ends.
* `frames` has the fast functions on bytes, in C and in Python.
* `deflate` and `extensions` change payloads.
* `limits` bounds memory and work.
* `events` has the data that is handed over.
"""
