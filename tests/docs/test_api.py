"""The pages about the API list every public name, once."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import nablatom

INDEX = Path(__file__).parents[2] / "docs" / "api" / "index.md"
LISTED = re.findall(r"^   ([\w.]+)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)


BY_MODULE = {
    name: module
    for module in LISTED
    if module not in nablatom.__all__
    for name in import_module(f"nablatom.{module}").__all__
}


@pytest.mark.parametrize("name", nablatom.__all__)
def test_every_public_name_has_a_page(name):
    assert LISTED.count(name) + (name in BY_MODULE) == 1


@pytest.mark.parametrize("name", sorted(set(LISTED) - set(nablatom.__all__)))
def test_every_module_that_is_listed_has_something_public(name):
    assert name in BY_MODULE.values()
