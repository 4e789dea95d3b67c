"""An open connection: how its tasks wait, read, write and close together.

Start with `connection`. The modules below it, from the bottom:

* `queue` holds the messages that were received.
* `shared_reader` says which task reads.
* `slot` is a lock whose waiting tasks are served first come, first served.
* `pings` has the pings of the client, and `replies` the frames that are due: pongs and our Close.
* `closing` has the deadline of the closing handshake, and tells everybody how it ends.
* `writer` writes frames, and `stream_reader` reads the stream.

Above `connection`, `receiving` and `sending` have the user's calls, and `keepalive` pings in time.
"""
