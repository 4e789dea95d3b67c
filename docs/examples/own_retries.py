"""Come back at most five times in a row, with a new token each time, and also after a 401."""

from contextlib import AbstractAsyncContextManager

import trio

from trio_wsclient import (
    ConnectionRejected,
    WebSocketClient,
    WebSocketError,
    open_websocket_client,
    reconnecting,
    retry_delay,
)


def connect() -> AbstractAsyncContextManager[WebSocketClient]:
    headers = {"Authorization": f"Bearer {make_token()}"}
    return open_websocket_client("wss://example.org/feed", extra_headers=headers)


def make_token() -> str:
    return "made again for each try"


def delay(error: WebSocketError, failures: int) -> float | None:
    if failures > 5:
        return None
    if isinstance(error, ConnectionRejected) and error.status_code == 401:
        return 0.0
    return retry_delay(error, failures)


async def main() -> None:
    try:
        async for connection in reconnecting(connect, retry_delay=delay, first_delay=0.01):
            async with connection as ws:
                print("try", connection.attempt)
                async for message in ws:
                    print(message)
    except WebSocketError as exc:
        print("gave up:", exc)


trio.run(main)
