"""The opening handshake, from the URL to the verdict on the response (RFC 6455 §3, §4): no I/O.

* `url` parses a URL, with `authority`. `redirects` says where a redirect leads.
* `handshake` has what is asked for, and checks the response, in any version of HTTP.
* `negotiation` settles which extensions are in use.
* `excerpts` has what an error may quote of a response.
* `upgrade` carries a handshake over HTTP/1.1, by an exchange of `http11`.
"""
