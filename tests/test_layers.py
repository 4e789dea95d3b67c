"""The rooms of the package: imports point down only, and the lower ones know no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import trio_wsclient

# The lowest first: a room imports from those before it. The pages of the docs draw them.
ROOMS = [
    *("_text", "_headers", "_scheduling", "_version"),
    *("_protocol", "_errors", "_functions", "_interrupts", "_observe"),
    *("_http", "_net", "_option_names", "_options", "_connection"),
    *("_client", "_connect", "_misuse", "_open", "_background", "_retry", "_reconnect"),
    *("_typed_channel", "__init__", "testing", "_cli", "__main__"),
]
PUBLIC = ROOMS.index("__init__")
# Rooms, and modules of other rooms, that neither wait nor read a clock.
WITHOUT_IO = {
    *("_headers", "_text", "_version", "_protocol", "_errors", "_functions", "_observe", "_http"),
    *("_net.proxy", "_net.no_proxy", "_net.tls_info", "_option_names", "_options"),
    *("_connection.close_error", "_connection.queue"),
}

# What modules above the public names may import from below them.
PRIVATE_IMPORTS = {
    # Golden bytes are made by taking the place of what draws keys and nonces.
    "testing": {"_protocol.frames", "_http.upgrade"},
    # A server's text is shown on a terminal as it is shown in an error.
    "_cli.connect": {"_text"},
    "_cli.terminal": {"_text"},
}

ROOT = Path(trio_wsclient.__file__).parent


def name_of(path: Path) -> str:
    """Return the name of a module in the package; a folder has the name of its ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {name_of(path): path for path in ROOT.rglob("*.py")}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in PATHS.items()}


def room_of(module: str) -> int:
    """Return the place of a module's room in `ROOMS`."""
    return ROOMS.index(module.split(".", maxsplit=1)[0])


MODULES_WITHOUT_IO = sorted(
    module for module in PATHS if module in WITHOUT_IO or module.split(".")[0] in WITHOUT_IO
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


def test_each_room_is_a_module_or_a_folder():
    assert sorted(ROOMS) == sorted({module.split(".")[0] for module in PATHS})


@pytest.mark.parametrize("module", sorted(PATHS))
def test_imports_point_down(module: str):
    assert [name for name in imported_modules(module) if room_of(name) > room_of(module)] == []


def test_imports_make_no_circle():
    graph = TopologicalSorter({module: imported_modules(module) for module in PATHS})
    assert len([*graph.static_order()]) == len(PATHS)


@pytest.mark.parametrize("module", sorted(name for name in PATHS if room_of(name) > PUBLIC))
def test_command_line_uses_public_names_only(module: str):
    private = {name for name in imported_modules(module) if room_of(name) < PUBLIC}
    assert private == PRIVATE_IMPORTS.get(module, set())


@pytest.mark.parametrize("module", MODULES_WITHOUT_IO)
def test_without_io_nothing_is_awaited_and_no_clock_is_read(module: str):
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert not [node for node in ast.walk(TREES[module]) if isinstance(node, waiting)]
    roots = {name.split(".")[0] for name in imported_names(module)}
    assert not roots & {"time", "datetime", "socket", "select", "threading", "asyncio"}


@pytest.mark.parametrize("module", MODULES_WITHOUT_IO)
def test_module_without_io_does_not_import_scheduling(module: str):
    assert "_scheduling" not in imported_modules(module)


@pytest.mark.parametrize("module", MODULES_WITHOUT_IO)
def test_without_io_trio_is_a_name_for_types_at_most(module: str):
    roots = {name.split(".")[0] for name in imported_names(module)}
    # Its exceptions are bases of ours, and an option is checked to be one of its streams.
    assert "trio" not in roots or module in {"_errors", "_options"}


def test_only_excerpts_show_text_of_a_response():
    """An error must repeat no secret of the request; `Excerpts` sees to that."""
    of_http = {module for module in PATHS if module.startswith("_http.")} | {"_net.http_connect"}
    assert [m for m in of_http if "_text" in imported_modules(m)] == ["_http.excerpts"]


def test_no_module_is_a_drawer():
    drawers = {"util", "utils", "misc", "helpers", "common", "base", "types"}
    assert not {module.strip("_") for module in PATHS} & drawers
