"""The pages for those who come from other libraries name what there is here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import trio_wsclient
import trio_wsclient.testing
from trio_wsclient import ClientOptions, WebSocketClient

PAGES = sorted((Path(__file__).parent.parent / "docs" / "how-to").glob("migrate-*.rst"))
ROW = re.compile(r"^   \* - (.*?)\n     - (.*?)(?=^   \* - |^\S|\Z)", re.MULTILINE | re.DOTALL)
LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")

OF_ERRORS = {
    name
    for cls in vars(trio_wsclient).values()
    if isinstance(cls, type) and issubclass(cls, Exception)
    for name in [*dir(cls), *cls.__annotations__, *inspect.signature(cls.__init__).parameters]
}
KNOWN = {
    *trio_wsclient.__all__,
    *trio_wsclient.testing.__all__,
    *ClientOptions.__annotations__,
    *inspect.signature(trio_wsclient.reconnecting).parameters,
    *dir(WebSocketClient),
    *inspect.signature(WebSocketClient.send).parameters,
    *OF_ERRORS,
    # Words of Python and Trio, and names that stand for anything.
    *("async", "with", "for", "in", "as", "await", "None", "True", "str", "bytes", "bytearray"),
    *("memoryview", "trio", "TooSlowError", "BusyResourceError", "ValueError", "TypeError"),
    *("trio_wsclient", "testing", "nursery", "start", "ws", "url", "path", "handler", "message"),
    *("connection", "writer", "write", "part", "payload", "data", "code", "reason", "stream"),
    *("host", "resource", "deflate", "environment", "Extension", "phase", "fin", "websocket"),
}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_each_name_on_our_side_is_one(page: Path):
    rows = ROW.findall(page.read_text("utf-8"))
    assert len(rows) > 25
    found = {
        name
        for _, ours in rows[:]
        for literal in LITERAL.findall(ours)
        for name in NAME.findall(re.sub(r'"(ws|wss)://[^"]*"', "", literal))
    }
    assert found - KNOWN == set()


def test_there_are_two_pages():
    assert [page.stem for page in PAGES] == [
        "migrate-from-trio-websocket",
        "migrate-from-websockets",
    ]
