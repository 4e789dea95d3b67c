"""How the pages are built: ``nox -s docs``, without a network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import trio_wsclient  # noqa: E402 after the path, as the extensions need it

project = "trio_wsclient"
author = "The trio_wsclient authors"
copyright = f"2026, {author}"  # noqa: A001 Sphinx's name
release = version = trio_wsclient.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinxcontrib_trio",
    "sphinx_copybutton",
    "myst_parser",
    "drawings",
    "command_line",
    "our_types",
]
exclude_patterns = ["examples", "inventories", "reference/autobahn-results.md"]
root_doc = "index"

nitpicky = True
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # Pages that are included begin below the top.

autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Kept here, so that a build needs no network: a name that is missing is a line to add.
intersphinx_mapping = {
    name: (url, f"inventories/{name}.txt")
    for name, url in {
        "python": "https://docs.python.org/3/",
        "trio": "https://trio.readthedocs.io/en/stable/",
    }.items()
}

html_theme = "furo"
html_title = f"trio_wsclient {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# Prompts are shown, but not copied.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
