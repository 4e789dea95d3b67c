"""Have a headless Chromium take a picture of a page, by the DevTools protocol."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from trio_wsclient import WebSocketClient, open_websocket_client

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")
PAGE = "data:text/html,<h1>Hello, Trio!</h1>"


async def end_with_all_it_started(process: trio.Process) -> None:
    os.killpg(process.pid, signal.SIGTERM)


@asynccontextmanager
async def browser() -> AsyncIterator[str]:
    """Run a browser for the length of a block, and hand out the URL of its DevTools."""
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--no-sandbox", "--remote-debugging-port=0"]
        command = [program, *flags, f"--user-data-dir={profile}"]
        run = partial(
            trio.run_process,
            command,
            check=False,
            stderr=subprocess.PIPE,
            start_new_session=True,
            deliver_cancel=end_with_all_it_started,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            assert process.stderr is not None
            said = b""
            while b"DevTools listening on " not in said or not said.endswith(b"\n"):
                piece = await process.stderr.receive_some()
                if not piece:
                    raise RuntimeError(f"the browser has ended: {said.decode()}")
                said += piece
            yield said.partition(b"DevTools listening on ")[2].split()[0].decode()
            nursery.cancel_scope.cancel()


class DevTools:
    """One task's view: it asks, and skips what is not the answer."""

    def __init__(self, ws: WebSocketClient) -> None:
        self._ws = ws
        self._ids = itertools.count(1)

    async def call(self, method: str, session: str | None = None, **params: object) -> Any:
        number = next(self._ids)
        request: dict[str, object] = {"id": number, "method": method, "params": params}
        if session is not None:
            request["sessionId"] = session
        await self._ws.send(json.dumps(request))
        answer = await self.next_with("id", number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def next_with(self, key: str, value: object) -> Any:
        while True:
            message = json.loads(await self._ws.receive())
            if message.get(key) == value:
                return message


async def main() -> None:
    # A picture is one message, and may be larger than the mebibyte that is the default limit.
    async with (
        browser() as url,
        open_websocket_client(url, max_message_size=64 * 1_048_576) as ws,
    ):
        tools = DevTools(ws)
        target = await tools.call("Target.createTarget", url="about:blank")
        attached = await tools.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        session = attached["sessionId"]
        await tools.call("Page.enable", session)
        await tools.call("Page.navigate", session, url=PAGE)
        await tools.next_with("method", "Page.loadEventFired")
        picture = await tools.call("Page.captureScreenshot", session, format="png")
        data = base64.b64decode(picture["data"])
        await trio.Path("screenshot.png").write_bytes(data)
        print(f"screenshot.png: {len(data):,} bytes")


trio.run(main)
