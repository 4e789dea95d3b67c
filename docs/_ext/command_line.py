"""``.. command-line::`` shows what the command line says of itself by ``--help``."""

from __future__ import annotations

import contextlib
import io
import os

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from trio_wsclient._cli.arguments import parse


def help_of(*arguments: str) -> str:
    said = io.StringIO()
    os.environ["COLUMNS"] = "88"
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
        parse([*arguments, "--help"])
    return said.getvalue()


class _Help(Directive):
    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for command in ("connect", "bench", "demo"):
            title = f"trio-wsclient {command}"
            section = nodes.section(ids=[nodes.make_id(title)])
            section += nodes.title("", title)
            text = help_of(command)
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-line", _Help)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
