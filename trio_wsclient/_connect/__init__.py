"""From a URL to an open connection, attempt by attempt, without a nursery.

* `connector` makes the attempts: TCP, TLS and the handshake, redirects and ``on_rejected``.
* `route` is the way to the server that the options ask for: direct, or through a proxy.
* `attempt_headers` asks for the user's header fields of each attempt.
* `phases` notes which phase is under way, and how long each has taken.
"""
