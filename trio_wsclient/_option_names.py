"""The right option for a name that is none: a slip, or the name in another library."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from trio_wsclient._net.proxy import HOW_TO_MAKE_CONTEXT

_RECONNECTING: Final = "reconnecting, which has this option"
_COOKIE: Final = "extra_headers={'Cookie': 'name=value'}"
_SSL_CONTEXT: Final = f"ssl_context: {HOW_TO_MAKE_CONTEXT}"

# websockets, trio-websocket, websocket-client, aiohttp and httpx-ws, and what HTTP clients have.
_IN_OTHER_LIBRARIES: Final = {
    "additional_headers": "extra_headers",
    "allow_redirects": "max_redirects",
    "assert_fingerprint": "check_tls",
    "auth": "name:password@ in the URL, or extra_headers={'Authorization': ...}",
    "ca": _SSL_CONTEXT,
    "cafile": _SSL_CONTEXT,
    "cert": "ssl_context",
    "compress": "compression",
    "connect_timeout": "open_timeout",
    "connector": "open_stream",
    "cookie": _COOKIE,
    "cookies": _COOKIE,
    "create_connection": "open_stream",
    "disconnect_timeout": "close_timeout",
    "fingerprint": "check_tls",
    "first_delay": _RECONNECTING,
    "follow_redirects": "max_redirects",
    "header": "extra_headers",
    "headers": "extra_headers",
    "heartbeat": "ping_interval",
    "host": "the host of the URL; to connect elsewhere, use open_stream",
    "http_proxy_host": "proxy",
    "http_proxy_port": "proxy",
    "keepalive_ping_interval_seconds": "ping_interval",
    "keepalive_ping_timeout_seconds": "ping_timeout",
    "local_addr": "local_address",
    "max_delay": _RECONNECTING,
    "max_message_size_bytes": "max_message_size",
    "max_msg_size": "max_message_size",
    "max_queue": "max_buffered_bytes",
    "max_size": "max_message_size",
    "message_queue_size": "max_buffered_bytes",
    "path": "unix_socket",
    "process_exception": "retry_delay of reconnecting",
    "protocols": "subprotocols",
    "proxies": "proxy",
    "queue_size": "max_buffered_bytes",
    "reset_after": _RECONNECTING,
    "resolver": "open_stream",
    "retry_delay": _RECONNECTING,
    "server_name": "server_hostname",
    "sock": "stream",
    "socket": "stream",
    "sockopt": "open_stream",
    "ssl": "ssl_context",
    "sslopt": _SSL_CONTEXT,
    "subprotocol": "subprotocols",
    "timeout": "open_timeout",
    "trust_env": 'proxy="environment"',
    "uds": "unix_socket",
    "use_ssl": "a wss URL",
    "user_agent_header": "user_agent",
    "verify": _SSL_CONTEXT,
    "verify_ssl": _SSL_CONTEXT,
}


def unknown_option(name: str, known: Collection[str]) -> TypeError:
    """Return the error for an option that there is not, with the right name if one is likely.

    Args:
        name: The name that was passed.
        known: The names that could be.
    """
    from difflib import get_close_matches  # noqa: PLC0415 it takes a millisecond to import

    text = f"there is no option {name!r}"
    # A slip comes first, so that "subprotocol" is one, and not a name of another library.
    if close := get_close_matches(name, known, n=1, cutoff=0.85):
        return TypeError(f"{text}; did you mean {close[0]}?")
    if other := _IN_OTHER_LIBRARIES.get(name):
        return TypeError(f"{text}; use {other}")
    if close := get_close_matches(name, known, n=1):
        return TypeError(f"{text}; did you mean {close[0]}?")
    return TypeError(f"{text}; see ClientOptions for all options")
