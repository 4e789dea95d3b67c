"""``docs/how-to/migrate-*.rst``: every name of ours in them exists, and is used as it can be.

The column ``trio_wsclient`` of each table is about this library: what is in double backquotes there
is read as Python. The libraries that the pages are about are not needed.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import trio_wsclient
import trio_wsclient.testing
from trio_wsclient import ClientOptions, MessageWriter, WebSocketClient, open_websocket_client

PAGES = sorted((Path(__file__).parent.parent.parent / "docs" / "how-to").glob("migrate-*.rst"))
OURS = "``trio_wsclient``"
NOTHING = "—"

TABLE = re.compile(r"^\.\. list-table::\n(?:   .*\n|\n)+", re.MULTILINE)
CELL = re.compile(r"^   (?:\*| ) -(?: |$)(.*(?:\n {7}.*|\n(?= {7}))*)", re.MULTILINE)
LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
INCLUDED = re.compile(r"^\.\. literalinclude:: (\S+)$", re.MULTILINE)

# Other names in that column: variables of the environment, schemes, what every exception has.
OTHERS = {
    *("wss_proxy", "https_proxy", "http_proxy", "socks_proxy", "all_proxy", "no_proxy"),
    *("wss", "ws", "__cause__"),
}
OPTIONS = ClientOptions.__annotations__
# What a call is given is called like the parameter, or like the option.
VARIABLES = {
    "target",
    "code",
    "data",
    "handler",
    "name",
    "part",
    "path",
    "payload",
    "reason",
    "url",
    "value",
}
BUILTINS = [value for value in vars(builtins).values() if callable(value)]
ROOTS = {
    **vars(builtins),
    **{name: getattr(trio_wsclient, name) for name in trio_wsclient.__all__},
    "nursery": trio.Nursery,
    "trio": trio,
    "trio_wsclient": trio_wsclient,
    "writer": MessageWriter,
    "ws": WebSocketClient,
}


def tables(page: str) -> list[list[list[str]]]:
    """Return the tables of a page, as rows of cells."""
    found = []
    for table in TABLE.findall(page):
        width = len(re.search(r":widths: (.*)", table)[1].split())
        cells = [" ".join(cell.split()) for cell in CELL.findall(table)]
        assert len(cells) % width == 0, table
        found.append([cells[start : start + width] for start in range(0, len(cells), width)])
    return found


def about_us(page: str) -> Iterator[str]:
    """Give the cells that are about this library."""
    for header, *rows in tables(page):
        column = header.index(OURS)
        yield from (row[column] for row in rows)


def literals(text: str) -> list[str]:
    return [" ".join(literal.split()) for literal in LITERAL.findall(text)]


def problems(literal: str) -> list[str]:
    """Tell what is wrong with a piece of code that names something of ours."""
    if literal in OTHERS or literal in OPTIONS:
        return []
    if re.match(r"[a-z_]+=", literal):
        return list(_problems_of_options(ast.parse(f"dict({literal})", mode="eval").body))
    if literal.startswith("async "):
        literal = f"async def function():\n    {literal}: pass"
    tree = ast.parse(literal)
    return [problem for node in ast.walk(tree) for problem in _problems(node)]


def _problems(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute():
            if not _has(_resolve(node.value), node.attr):
                yield f"{ast.unparse(node)} does not exist"
        case ast.Call():
            callee = _resolve(node.func)
            if callee is open_websocket_client:
                yield from _problems_of_options(node)
            elif callee is not trio.Nursery.start:
                yield from _problems_of_call(node, callee)
        case ast.Name(ctx=ast.Load()) if node.id not in {*ROOTS, *VARIABLES, *OPTIONS}:
            yield f"{node.id} is no public name"


def _problems_of_call(node: ast.Call, callee: object) -> Iterator[str]:
    if callee is None or callee in BUILTINS:  # None: it was reported already
        return
    signature = inspect.signature(callee)
    own = list(signature.parameters.values())
    skipped = 1 if own and own[0].name == "self" else 0
    positional = [each.name for each in own[skipped:] if each.kind is not each.KEYWORD_ONLY]
    if len(node.args) > len(positional):
        yield f"{ast.unparse(node)} has too many arguments"
    for keyword in node.keywords:
        if keyword.arg not in signature.parameters:
            yield f"{ast.unparse(node)}: {keyword.arg} does not exist"
    if inspect.isfunction(callee):  # Arguments of a class may have other names.
        for given, name in zip(node.args, positional, strict=False):
            if not isinstance(given, ast.Name) or given.id != name:
                yield f"{ast.unparse(node)}: the argument is called {name}"


def _problems_of_options(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        if keyword.arg not in OPTIONS:
            yield f"{keyword.arg} is no option"
            continue
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:
            continue  # a name, which `_problems` checks
        try:
            open_websocket_client("ws://example.org/", **{keyword.arg: value})
        except (TypeError, ValueError) as exc:
            yield str(exc)


def _resolve(node: ast.expr) -> object:
    match node:
        case ast.Name():
            return ROOTS.get(node.id)
        case ast.Attribute():
            return getattr(_resolve(node.value), node.attr, None)
    return None


def _has(owner: object, name: str) -> bool:
    if hasattr(owner, name):
        return True
    # An attribute that the constructor sets is called like its parameter here.
    return isinstance(owner, type) and name in inspect.signature(owner).parameters


@pytest.fixture(params=PAGES, ids=[page.stem for page in PAGES])
def page(request: pytest.FixtureRequest) -> str:
    return request.param.read_text(encoding="utf-8")


def test_there_are_two_pages():
    assert [page.name for page in PAGES] == [
        "migrate-from-trio-websocket.rst",
        "migrate-from-websockets.rst",
    ]


def test_every_table_has_a_column_about_us(page: str):
    assert page.count(".. list-table::") == len(tables(page)) == 5
    assert all(OURS in table[0] for table in tables(page))


def test_every_name_of_ours_in_the_tables_exists(page: str):
    found = {literal: problems(literal) for cell in about_us(page) for literal in literals(cell)}
    assert len(found) > 60
    assert {literal: wrong for literal, wrong in found.items() if wrong} == {}


def test_every_name_of_ours_elsewhere_exists(page: str):
    named = [each for each in literals(page) if re.match(r"(ws|trio_wsclient)\.\w", each)]
    assert named
    assert [problem for each in named for problem in problems(each)] == []


def test_name_has_its_counterpart_or_a_dash(page: str):
    *names, _behaviour = tables(page)
    for _header, *rows in names:
        for theirs, ours, _ in rows:
            assert theirs
            assert ours == NOTHING or literals(ours), theirs


def test_what_is_included_exists(page: str):
    names = INCLUDED.findall(page)
    assert names
    assert [name for name in names if not (PAGES[0].parent / name).is_file()] == []


@pytest.mark.parametrize(
    "literal",
    [
        "ws.recv()",
        "ws.aclose(status)",
        "ws.aclose(reason, code)",
        "ws.pong(payload, timeout=1)",
        "ws.receive(1)",
        "OpenTimeout.stage",
        "ConnectionClosed.rcvd",
        "Timeout",
        "timeout",
        "timeout=5",
        "close_timeout=None",
        "open_websocket_client(url, timeout=5)",
        "PerMessageDeflate(window=9)",
        "trio_wsclient.connect",
        "trio.SlowError",
        "async for message in ws.messages()",
    ],
)
def test_name_that_does_not_exist_is_found(literal: str):
    assert problems(literal)
