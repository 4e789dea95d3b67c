"""The servers' side: what `python -m …servers NAME CERTIFICATE` serves, plain and over TLS.

==========================  ================================================================
`/echo`                     sends every message back; chooses `SUBPROTOCOL` if it is offered
`/parts`                    takes one message and answers with its fragments, as a JSON list
`/fragments`                sends "frag", "men", "ted" as one message, and a ping amid it:
                            goes on only when that is answered
`/ping`                     pings; tells the payload of the pong in a message
`/quiet`                    sends nothing but its keepalive's pings
`/close?code=…&reason=…`    sends "last words", then a Close of this code and reason
`/refuse`                   answers the opening handshake with the `REJECTION_…`
`/crash`                    sends "last words", then raises
`/abort`                    sends "last words"; resets TCP at the first message that comes
==========================  ================================================================

Not every server can serve them all: `capabilities.py` has the table.
"""

import socket
from dataclasses import dataclass

SUBPROTOCOL = "chat.v1"
REJECTION_STATUS = 401
REJECTION_HEADERS = {"WWW-Authenticate": 'Bearer realm="interop"', "X-Shard": "seven"}
REJECTION_BODY = "Who are you? Wer bist du? Кто ты?\n"
MAX_MESSAGE_SIZE = 16 << 20  # bytes: the tests' largest message is half of it
PING_INTERVAL = 0.25  # seconds: how long a keepalive test waits for its ping


@dataclass(frozen=True)
class Listeners:
    """Two listening sockets, one per scheme, and the PEM file with key and chain."""

    ws: socket.socket
    wss: socket.socket
    certificate: str
