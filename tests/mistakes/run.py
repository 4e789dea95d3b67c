"""Write the errors of ``table.txt`` again, after a text has changed or a title was added.

``python tests/mistakes/run.py [WORD]``; with a word only the rows that have it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import mistakes_of_proxies  # noqa: F401 their situations
import mistakes_of_servers  # noqa: F401
import mistakes_of_tls  # noqa: F401
import mistakes_of_usage  # noqa: F401
import trio
import trio.testing
import trustme
from mistakes import error_of, read_table, write_table


def main(word: str = "") -> None:
    ca = trustme.CA()
    errors = {}
    for row in read_table():
        if word in row.title:
            clock = trio.testing.MockClock() if row.is_of_time else None
            errors[row.title] = trio.run(error_of, row.title, ca, clock=clock)
            if errors[row.title] != row.error:
                print(f"{row.title}\n  - {row.error}\n  + {errors[row.title]}\n")
    write_table(errors)


main(*sys.argv[1:])
