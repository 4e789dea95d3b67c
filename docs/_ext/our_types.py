"""Types in signatures: private modules, and aliases, where these pages have them."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import trio_wsclient
import trio_wsclient.testing

PUBLIC = {
    name: f"{module.__name__}.{name}"
    for module in (trio_wsclient.testing, trio_wsclient)
    for name in module.__all__
}
LITERAL = re.compile(r"``([A-Za-z_]+)``")
# Variables of types, and what a user never holds: shown, but not linked.
UNLINKED = {"Arguments", "Extension", "Part_contra", "Value"}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    """Lead from the private module that defines a name to the public one."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if name in UNLINKED:
        return contnode
    if not module.startswith("trio_wsclient._") or name not in PUBLIC:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", PUBLIC[name], node, contnode
    )


def link(  # noqa: PLR0917 Sphinx's call
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Make links of our names in docstrings, which are written to be read in the source."""
    del app, what, name, obj, options
    lines[:] = [LITERAL.sub(_linked, line) for line in lines]


def _linked(literal: re.Match[str]) -> str:
    path = PUBLIC.get(literal[1])
    return literal[0] if path is None else f":py:obj:`~{path}`"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
