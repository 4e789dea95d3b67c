"""``docs/reference/conformance.rst`` and ``rfc.rst``: complete, and the tests they name exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs/reference/conformance.rst").read_text(encoding="utf-8")
OF_RFC = (ROOT / "docs/reference/rfc.rst").read_text(encoding="utf-8")

# A name that is too long for a line is in two, joined by a backslash.
NAME = re.compile(r"``(tests/\S+?\.py)::(?:``\\\n +``)?(\S+?)``")
ROW = re.compile(r"^   \* - ([SE]\d+)\n(.*?)(?=^   \* - |^\S|\Z)", re.MULTILINE | re.DOTALL)
ROWS = ROW.findall(DOCUMENT)


def names_in(row: str) -> list[tuple[str, str]]:
    return NAME.findall(row)


def defined_in(file: str) -> set[str]:
    """Return the tests of a module; tests of its classes are ``Class::test``."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + member.name)
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_each_point_has_one_row_in_order():
    points = [f"S{number}" for number in range(1, 44)] + [f"E{number}" for number in range(1, 25)]
    assert [point for point, _ in ROWS] == points


@pytest.mark.parametrize(("point", "row"), ROWS, ids=[point for point, _ in ROWS])
def test_each_row_names_tests_and_they_exist(point: str, row: str):
    names = names_in(row)
    assert names
    assert [name for file, name in names if name not in defined_in(file)] == []


def test_each_clause_is_held_or_says_why_not():
    rows = re.findall(r"^   \* - (§.*\n(?:     .*\n|\n)+)", OF_RFC, re.MULTILINE)
    assert len(rows) > 100
    assert OF_RFC.count("\n   * - §") == len(rows)
    for row in rows:
        assert names_in(row) or "Not done: " in row, row


@pytest.mark.slow
def test_tests_of_the_clauses_exist():
    names = names_in(OF_RFC)
    assert len(names) == OF_RFC.count(".py::")
    assert [f"{file}::{name}" for file, name in names if name not in defined_in(file)] == []


def test_no_name_of_a_test_is_overlooked():
    assert len(NAME.findall(DOCUMENT)) == DOCUMENT.count(".py::")
    assert sum(len(names_in(row)) for _, row in ROWS) == DOCUMENT.count(".py::")
