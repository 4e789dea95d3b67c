"""What each server is asked, and what it cannot do, with the reason.

A case that is not in `LEFT_OUT` runs on every server, over `ws` and over `wss`.
"""

WEBSOCKETS = ("websockets",)
AIOHTTP = ("aiohttp",)
UVICORN = ("uvicorn-websockets", "uvicorn-websockets-sansio", "uvicorn-wsproto")
HYPERCORN = ("hypercorn-asyncio", "hypercorn-trio")
TORNADO = ("tornado",)
SERVERS = WEBSOCKETS + AIOHTTP + UVICORN + HYPERCORN + TORNADO

# The code that the client sees when the server's application raises: a Close 1011, or 1006 because
# the server ends TCP without a Close.
CRASH_CODES = {
    **dict.fromkeys(WEBSOCKETS, 1011),
    **dict.fromkeys(AIOHTTP, 1006),
    **dict.fromkeys(UVICORN, 1006),
    **dict.fromkeys(HYPERCORN, 1011),
    **dict.fromkeys(TORNADO, 1006),
}

_ASGI_HAS_MESSAGES_ONLY = dict.fromkeys(
    UVICORN + HYPERCORN, "ASGI shows the application whole messages, no frames"
)
_ASGI_HIDES_THE_TRANSPORT = dict.fromkeys(
    UVICORN + HYPERCORN, "ASGI gives the application no hold of the connection"
)

LEFT_OUT: dict[str, dict[str, str]] = {
    "test_written_parts_arrive_as_fragments": {
        "aiohttp": "receive() joins the fragments",
        "tornado": "on_message() is given whole messages",
        **_ASGI_HAS_MESSAGES_ONLY,
    },
    "test_long_message_is_split_at_fragment_size": {
        "aiohttp": "receive() joins the fragments",
        "tornado": "on_message() is given whole messages",
        **_ASGI_HAS_MESSAGES_ONLY,
    },
    "test_servers_fragments_are_joined": {
        "aiohttp": "every frame it sends is final",
        "tornado": "every frame it sends is final",
        **_ASGI_HAS_MESSAGES_ONLY,
    },
    "test_servers_fragments_can_be_taken_apart": {
        "aiohttp": "every frame it sends is final",
        "tornado": "every frame it sends is final",
        **_ASGI_HAS_MESSAGES_ONLY,
    },
    "test_server_sees_its_ping_answered": {
        **dict.fromkeys(UVICORN + HYPERCORN, "ASGI has no pings; the keepalive's case covers them"),
    },
    "test_keepalives_ping_is_answered_with_its_payload": {
        "websockets": "pings at will, which shows more: the case above",
        "aiohttp": "its keepalive waits for the pong half its interval: too short if it is busy",
    },
    "test_reset_is_1006": _ASGI_HIDES_THE_TRANSPORT,
}
