"""Sphinx configuration: Markdown pages, API pages generated from the docstrings."""

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
napoleon_use_rtype = False

html_theme = "furo"
html_title = "nablatom"
html_static_path = ["_static"]
html_css_files = ["nablatom.css"]
html_show_sphinx = False
