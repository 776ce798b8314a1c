"""The pages about the API list every public name, once."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import nablatom

INDEX = Path(__file__).parents[2] / "docs" / "api" / "index.md"
LISTED = re.findall(r"^   ([\w.]+)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
OTHERS = sorted(set(LISTED) - set(nablatom.__all__))  # modules, whose pages list what is in them


def test_every_public_name_has_a_page():
    pages = Counter(LISTED)
    for module in filter(_is_module, OTHERS):
        pages.update(import_module(f"nablatom.{module}").__all__)
    wrong = {name: pages[name] for name in nablatom.__all__ if pages[name] != 1}
    assert not wrong, f"name: number of pages {wrong}; docs/api/index.md should list each once"


def test_every_page_is_about_something_public():
    unknown = [name for name in OTHERS if not _is_module(name)]
    assert not unknown, f"neither public names nor modules, but in docs/api/index.md: {unknown}"


def _is_module(name):
    try:
        return bool(import_module(f"nablatom.{name}").__all__)
    except ModuleNotFoundError:
        return False
