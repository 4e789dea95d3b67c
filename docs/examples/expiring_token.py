"""A token that expires: each connection, the first and all later ones, asks for a fresh one."""

import json
import time
from urllib.request import urlopen

import trio

from trio_wsclient import reconnecting


class Token:
    def __init__(self) -> None:
        self._value = ""
        self._expires = 0.0

    async def __call__(self) -> dict[str, str]:
        if time.monotonic() >= self._expires:
            self._value, seconds = await trio.to_thread.run_sync(fetch)
            self._expires = time.monotonic() + seconds
        return {"Authorization": f"Bearer {self._value}"}


def fetch() -> tuple[str, float]:
    with urlopen("https://example.org/token", timeout=10) as response:
        answer = json.load(response)
    return answer["access_token"], answer["expires_in"]


async def main() -> None:
    async for connection in reconnecting("wss://example.org/feed", extra_headers=Token()):
        async with connection as ws:
            async for message in ws:
                print(message)


trio.run(main)
