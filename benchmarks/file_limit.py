"""How many connections a process may have open."""

from __future__ import annotations

import resource


def raise_file_limit() -> None:
    """Allow this process as many files, and so connections, as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
