"""The layers of the package: imports point down only, and the lower ones know no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import trio_wsclient

# The lowest first. The pages of the docs draw them.
LAYERS = {
    "bottom": {"_headers", "_scheduling", "_text", "_version"},
    "the protocol": {
        *(
            "_protocol",
            "_protocol.closing",
            "_protocol.events",
            "_protocol.header",
            "_protocol.limits",
            "_protocol.listener",
            "_protocol.utf8",
        ),
        *("_protocol.frames_py", "_protocol.frames", "_protocol.deflate"),
        *("_protocol.extensions", "_protocol.reader", "_protocol.protocol"),
    },
    "errors": {"_errors"},
    "without I/O": {
        *("_functions", "_net", "_net.proxy", "_net.no_proxy", "_net.tls_info"),
        *("_options", "_option_names", "_observe"),
        *(
            "_http",
            "_http.excerpts",
            "_http.upgrade",
            "_http.authority",
            "_http.url",
            "_http.redirects",
            "_http.plain_101",
        ),
        *("_http.response", "_http.http11", "_http.handshake", "_http.negotiation"),
        "_http.subprotocols",
        *("_connection.close_error", "_connection.queue"),
    },
    "streams": {
        *("_interrupts", "_net.connect", "_net.draining", "_net.reasons", "_net.trust"),
        *("_net.read_buffer", "_net.sockets", "_net.tls"),
        *("_net.tunnel", "_net.http_connect", "_net.socks"),
    },
    "the connection": {
        *("_connection", "_connection.slot", "_connection.pings", "_connection.shared_reader"),
        *("_connection.replies", "_connection.closing"),
        *("_connection.writer", "_connection.stream_reader"),
        *("_connection.connection", "_connection.keepalive"),
        *("_connection.receiving", "_connection.sending"),
    },
    "what a user holds": {
        *("_attempt_headers", "_client", "_connect", "_misuse", "_open", "_phases", "_route"),
    },
    "a loop of them": {"_retry", "_reconnect"},
    "the public names": {"__init__"},
    "command line, testing": {
        *("__main__", "_arguments", "_demo", "_measure", "_talk", "_terminal"),
        *("_peer", "testing"),
    },
}
LAYER = {module: number for number, modules in enumerate(LAYERS.values()) for module in modules}
FIRST_WITH_IO = [*LAYERS].index("streams")
PUBLIC = [*LAYERS].index("the public names")

# What modules above the public names may import from below them.
PRIVATE_IMPORTS = {
    # Golden bytes are made by taking the place of what draws keys and nonces.
    "testing": {"_protocol.frames", "_http.upgrade"},
    # A server's text is shown on a terminal as it is shown in an error.
    "_talk": {"_text"},
    "_terminal": {"_text"},
}

ROOT = Path(trio_wsclient.__file__).parent


def name_of(path: Path) -> str:
    """Return the name of a module in the package; a folder has the name of its ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {name_of(path): path for path in ROOT.rglob("*.py")}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in PATHS.items()}
# `_scheduling` is at the bottom, as it imports nothing of ours, but it awaits and reads clocks.
WITHOUT_IO = sorted(
    module for module, number in LAYER.items() if number < FIRST_WITH_IO and module != "_scheduling"
)


def imported_names(module: str) -> Iterator[str]:
    """Yield the full names of all that a module imports, wherever it does so."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(module: str) -> set[str]:
    """Return the modules of ours that a module imports."""
    return {
        module_of(name.removeprefix("trio_wsclient").lstrip("."))
        for name in imported_names(module)
        if name.split(".")[0] == "trio_wsclient"
    }


def module_of(name: str) -> str:
    """Return the module that has a name, or is it."""
    while name and name not in PATHS:
        name = name.rpartition(".")[0]
    return name or "__init__"


def test_every_module_has_a_layer():
    assert LAYER.keys() == PATHS.keys()


@pytest.mark.parametrize("module", sorted(PATHS))
def test_imports_point_down(module: str):
    assert [name for name in imported_modules(module) if LAYER[name] > LAYER[module]] == []


def test_within_a_layer_imports_make_no_circle():
    graph = TopologicalSorter({module: imported_modules(module) for module in PATHS})
    assert len([*graph.static_order()]) == len(PATHS)


@pytest.mark.parametrize("module", sorted(name for name, layer in LAYER.items() if layer > PUBLIC))
def test_the_command_line_uses_public_names_only(module: str):
    private = imported_modules(module) - {name for name in LAYER if LAYER[name] >= PUBLIC}
    assert private == PRIVATE_IMPORTS.get(module, set())


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_without_io_nothing_is_awaited_and_no_clock_is_read(module: str):
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert not [node for node in ast.walk(TREES[module]) if isinstance(node, waiting)]
    roots = {name.split(".")[0] for name in imported_names(module)}
    assert not roots & {"time", "datetime", "socket", "select", "threading", "asyncio"}


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_module_without_io_does_not_import_scheduling(module: str):
    assert "_scheduling" not in imported_modules(module)


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_without_io_trio_is_a_name_for_types_at_most(module: str):
    roots = {name.split(".")[0] for name in imported_names(module)}
    # Its exceptions are bases of ours, and an option is checked to be one of its streams.
    assert "trio" not in roots or module in {"_errors", "_options"}


def test_only_excerpts_make_text_of_a_response_fit_to_be_shown():
    """An error must repeat no secret of the request; `Excerpts` sees to that."""
    of_http = {module for module in PATHS if module.startswith("_http.")} | {"_net.http_connect"}
    assert [m for m in of_http if "_text" in imported_modules(m)] == ["_http.excerpts"]


def test_no_module_is_a_drawer():
    drawers = {"util", "utils", "misc", "helpers", "common", "base", "types"}
    assert not {module.strip("_") for module in PATHS} & drawers
