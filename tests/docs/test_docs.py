"""The pages of the docs against the code: defaults, errors, names, and that nothing is untested."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import shlex
import textwrap
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import trio

import trio_wsclient
import trio_wsclient.testing
from trio_wsclient import (
    ConnectionRejected,
    Headers,
    PerMessageDeflate,
    TypedChannel,
    WebSocketClient,
    WebSocketError,
    background_task,
    open_websocket_client,
    reconnecting,
    retry_delay,
)
from trio_wsclient._cli.arguments import parse
from trio_wsclient._options import ClientOptions, Options
from trio_wsclient.testing import Peer, memory_websocket_pair, open_loopback_server

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "examples" not in path.parts)
REFERENCE = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("reference/*.rst")}

TABLE = re.compile(r"^\.\. list-table::\n(?:   .*\n|\n)+", re.MULTILINE)
ROW = re.compile(r"^   \* - ``(\w+)``\n     - ``(.+?)``", re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. (?:auto)?(?:function|class|exception|data):: (\w+)", re.MULTILINE)


def defaults(source: object) -> dict[str, str]:
    found = {each.name: each.default for each in fields(source)}
    return {name: repr(default) for name, default in found.items()}


def test_each_default_is_the_codes():
    options, deflate, loop = (
        dict(ROW.findall(table)) for table in TABLE.findall(REFERENCE["options"])
    )
    expected = {name: repr(getattr(Options, name)) for name in ClientOptions.__annotations__}
    expected["logger"] = "logging.getLogger('trio_wsclient')"
    assert Options().logger.name == "trio_wsclient"
    assert options == expected
    assert deflate == defaults(PerMessageDeflate)
    parameters = inspect.signature(reconnecting).parameters
    assert loop == {name: repr(parameters[name].default) for name in loop}
    assert loop.keys() == parameters.keys() - {"target", "retry_delay", "options"}


def test_each_error_has_its_row_with_when_and_what_to_do():
    ours, _ = TABLE.findall(REFERENCE["errors"])
    rows = re.findall(
        r"^   \* - ``(\w+)``\n     - .+\n(?:       .+\n)*     - .+\n", ours, re.MULTILINE
    )
    errors = [
        name
        for name in trio_wsclient.__all__
        if inspect.isclass(error := getattr(trio_wsclient, name))
        and issubclass(error, WebSocketError)
    ]
    assert sorted(rows) == sorted(errors)


@pytest.mark.parametrize("module", [trio_wsclient, trio_wsclient.testing])
def test_each_public_name_is_in_the_reference_once(module):
    pages = [name for name in REFERENCE if (name == "testing") is (module is trio_wsclient.testing)]
    named = [name for page in pages for name in DIRECTIVE.findall(REFERENCE[page])]
    assert sorted(named) == sorted(module.__all__)


def test_signatures_that_pages_spell_out_are_the_codes():
    """Those with a function as a default, which can't be shown otherwise."""
    spelt = re.findall(
        r"^\.\. autofunction:: (\w+)\((.+)\)$", "\n".join(REFERENCE.values()), re.MULTILINE
    )
    assert [name for name, _ in spelt] == ["reconnecting", "open_loopback_server"]
    for name, signature in spelt:
        function = getattr(trio_wsclient, name, None) or getattr(trio_wsclient.testing, name)
        parameters = inspect.signature(function).parameters.values()
        shown = [
            each.name if each.default is each.empty else f"{each.name}={_shown(each.default)}"
            for each in parameters
            if each.kind is not each.VAR_KEYWORD
        ]
        assert [part for part in re.split(r", (?!\))", signature) if part not in {"/", "*"}] == [
            *shown,
            *(f"**{each.name}" for each in parameters if each.kind is each.VAR_KEYWORD),
        ]


def _shown(default: object) -> str:
    return default.__name__ if inspect.isfunction(default) else repr(default)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_code_in_a_page_is_a_file_that_is_run(page: Path):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"code-block:: (\w+)", text)) <= {"text"}
    assert not re.search(r"^(?! *\.\. ).*::$", text, re.MULTILINE)
    for name in re.findall(r"literalinclude:: (\S+)", text):
        path = (page.parent / name).resolve()
        assert path.is_file()
        # They are run by tests/docs/test_examples.py, tests/interop/test_before.py, and below.
        assert path.is_relative_to(DOCS / "examples") or path.is_relative_to(DOCS.parent / "tests")


def test_commands_of_the_docs_are_understood():
    shell = (DOCS / "examples" / "shell" / "command_line.sh").read_text(encoding="utf-8")
    commands = [line.rpartition("| ")[2] for line in shell.splitlines()]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "trio-wsclient"
        parse(arguments)


def test_tutorial_begins_as_the_readme():
    install, demo = (
        (DOCS / "examples" / "shell" / f"{name}.sh").read_text(encoding="utf-8").strip()
        for name in ("install", "demo")
    )
    assert f"{install} && {demo}" in (DOCS.parent / "README.md").read_text(encoding="utf-8")


# Code in docstrings, which the reference shows

BLOCK = re.compile(r"::\n\n(( +).*\n(?:\2.*\n|\n)*)")


def documented() -> dict[str, str]:
    """Return the code in all public docstrings, by the names of what they are of."""
    found = {"trio_wsclient.testing": trio_wsclient.testing}
    for module in (trio_wsclient, trio_wsclient.testing):
        for name in module.__all__:
            found[name] = getattr(module, name)
            if inspect.isclass(found[name]):
                members = vars(found[name]).items()
                found |= {f"{name}.{key}": each for key, each in members if callable(each)}
    blocks = {}
    for name, each in found.items():
        for number, (code, _) in enumerate(BLOCK.findall((inspect.getdoc(each) or "") + "\n")):
            blocks[f"{name}[{number}]"] = textwrap.dedent(code).strip("\n") + "\n"
    return blocks


async def run_block(code: str, **names: object) -> None:
    """Run code that awaits, as if it were in an asynchronous function."""
    program = compile(code, "docstring", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names |= {"open_websocket_client": open_websocket_client, "reconnecting": reconnecting}
    with trio.fail_after(60):
        running = eval(program, names)
        if running is not None:
            await running


async def feed(peer: Peer) -> None:
    assert await peer.receive() == "subscribe"
    await peer.send("first")


@pytest.mark.parametrize("name", ["open_websocket_client[0]", "reconnecting[0]"])
async def test_blocks_in_docstrings_print_a_feed(name: str, capsys):
    connections = itertools.count()
    async with open_loopback_server(
        feed, refuse=lambda _: 404 if next(connections) else None
    ) as server:
        with suppress(ConnectionRejected):  # which ends a loop
            await run_block(documented()[name].replace("wss://example.org/feed", server.url))
    assert capsys.readouterr().out == "first\n"


async def test_block_of_text_writer_sends_one_message():
    async with memory_websocket_pair() as (ws, peer):
        await run_block(documented()["WebSocketClient.text_writer[0]"], ws=ws)
        assert await peer.receive() == "one, two"


async def test_block_of_typed_channel_prints_prices(autojump_clock, capsys):
    async with memory_websocket_pair() as (ws, peer):

        async def serve() -> None:
            assert await peer.receive() == '{"op": "subscribe"}'
            await peer.send('{"price": 42}')
            await peer.send_close()

        names = {"ws": ws, "json": json, "TypedChannel": TypedChannel}
        async with background_task(serve):
            await run_block(documented()["TypedChannel[0]"], **names)
    assert capsys.readouterr().out == "42\n"


def test_function_in_a_docstring_counts_tries():
    delay = eval(documented()["reconnecting[1]"].strip(), {"retry_delay": retry_delay})
    error = ConnectionRejected(503, Headers([]), b"")
    assert [delay(error, failures) for failures in (5, 6)] == [0, None]


async def test_test_in_a_docstring_passes(autojump_clock):
    async def my_program(ws: WebSocketClient) -> None:
        await ws.send("hello")

    names = {"memory_websocket_pair": memory_websocket_pair, "my_program": my_program}
    exec(documented()["trio_wsclient.testing[0]"], names)
    await names["test_it_says_hello"](autojump_clock)


def test_no_block_in_a_docstring_is_overlooked():
    tests = Path(__file__).read_text(encoding="utf-8")
    assert len(documented()) == 6
    assert all(f'"{name}"' in tests for name in documented())
