"""Each mistake of ``table.txt`` gives the error that the table shows."""

from __future__ import annotations

import sys

import mistakes_of_proxies  # noqa: F401 their situations
import mistakes_of_servers  # noqa: F401
import mistakes_of_tls  # noqa: F401
import mistakes_of_usage  # noqa: F401
import pytest
from mistakes import SITUATIONS, Mistake, error_of, read_table

ROWS = list(read_table())


def each_row(*, is_of_time: bool) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if row.is_of_time == is_of_time]
    return pytest.mark.parametrize("row", rows, ids=[row.title for row in rows])


@each_row(is_of_time=False)
async def test_mistake_gives_error_of_table(row, ca):
    check(await error_of(row.title, ca), row)


@each_row(is_of_time=True)
async def test_timeout_gives_error_of_table(row, ca, mock_clock):
    check(await error_of(row.title, ca), row)


def check(error: str, row: Mistake) -> None:
    if sys.platform == "linux":
        assert error == row.error
    else:  # The words of the operating system and of its trust store are others.
        assert error.partition(":")[0] == row.error.partition(":")[0]


def test_table_has_each_situation_once():
    titles = [row.title for row in ROWS]
    assert len(titles) == len(set(titles))
    assert set(SITUATIONS) <= set(titles)
