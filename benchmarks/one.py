"""One client and one workload, in a process of its own: `one.py CLIENT WORKLOAD URL [CA]`.

Prints the figures as JSON, or `{"problem": ...}`.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from functools import partial
from typing import NoReturn

from clients import load
from file_limit import raise_file_limit
from measuring import Figures
from stage import Stage
from workloads import WORKLOADS


def main(name: str, workload: str, url: str, ca: str | None = None) -> None:
    raise_file_limit()
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    try:
        stage = Stage(load(name), url, context, report)
        stage.client.run(partial(WORKLOADS[workload].measure, stage))
    except BaseException as error:  # noqa: BLE001 it is a result, too
        leave({"problem": describe(error)})


def describe(error: BaseException) -> str:
    """Return what was raised, without the groups around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message:.200}"


def report(figures: Figures) -> NoReturn:
    leave(figures)


def leave(result: Figures | dict[str, str]) -> NoReturn:
    """Print the result and end the process: not every client can leave a flood."""
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
