"""Sphinx configuration: Markdown pages, API pages generated from the docstrings."""

import re
from importlib.metadata import version as installed_version

project = "nablatom"
author = "The nablatom developers"
copyright = "2026, The nablatom developers"
release = version = installed_version("nablatom")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "nablatom"
html_static_path = ["_static"]
html_css_files = ["nablatom.css"]
html_show_sphinx = False


def escape_stars(*arguments):
    """``(samples, *components)`` in a docstring is a shape, not the start of emphasis."""
    lines = arguments[-1]
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")  # every second part is literal
            parts[::2] = [re.sub(r"(?<=[(\s])\*(?=\w+[,)])", r"\\*", part) for part in parts[::2]]
            lines[number] = "``".join(parts)


def close_fences(*arguments):
    """A doctest needs a blank line before the closing fence; a reader does not."""
    source = arguments[-1]
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app):
    app.connect("source-read", close_fences)
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # before napoleon
