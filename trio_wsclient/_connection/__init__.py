"""An open connection: how its tasks wait, read, write and close together.

Start with `connection`.

* `shared_reader` says which task reads.
* `queue` holds what has come, and `receiving` hands it to the user.
* `writer` writes, `sending` has the user's messages, and `pongs` the replies to pings.
* `pings` are those of the client, and `keepalive` sends them in time.
* `outcome` turns how the connection ended into an exception.
"""
