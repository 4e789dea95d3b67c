"""The messages between a client and a SOCKS5 proxy (RFC 1928, RFC 1929)."""

from __future__ import annotations

import ipaddress

# What the proxy answers: the method, the verdict on name and password, the reply with the address
NO_AUTH, PASSWORD, WELCOME = b"\x05\x00", b"\x05\x02", b"\x01\x00"
BOUND_IPV4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"
BOUND_IPV6 = b"\x05\x00\x00\x04" + ipaddress.ip_address("2001:db8::1").packed + b"\x04\x38"
BOUND_NAME = b"\x05\x00\x00\x03\x05proxy\x04\x38"

# What is sent
GREETING, GREETING_WITH_PASSWORD = b"\x05\x01\x00", b"\x05\x02\x00\x02"
REQUEST = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"

# Credentials, and all that a proxy answers until the tunnel is open
ANSWERS = {
    "an IPv4 address": (None, NO_AUTH + BOUND_IPV4),
    "an IPv6 address": (None, NO_AUTH + BOUND_IPV6),
    "a name": (None, NO_AUTH + BOUND_NAME),
    "an empty name": (None, NO_AUTH + b"\x05\x00\x00\x03\x00\x00\x00"),
    "the longest name": (None, NO_AUTH + b"\x05\x00\x00\x03\xff" + b"n" * 255 + b"\x04\x38"),
    "a reserved byte": (None, NO_AUTH + b"\x05\x00\xff\x01" + bytes(6)),
    "a password": ((b"name", b"pass"), PASSWORD + WELCOME + BOUND_IPV4),
    # Such proxies are found; RFC 1929 §2 has its own version.
    "the version of SOCKS for that of RFC 1929": (
        (b"name", b"pass"),
        PASSWORD + b"\x05\x00" + BOUND_NAME,
    ),
}
