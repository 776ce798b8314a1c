"""The pages about the API list every public name, once."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import nablatom

INDEX = Path(__file__).parents[2] / "docs" / "api" / "index.md"
LISTED = re.findall(r"^   ([\w.]+)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", nablatom.__all__)
def test_every_public_name_has_a_page(name):
    assert LISTED.count(name) == 1


@pytest.mark.parametrize("name", LISTED)
def test_every_page_is_about_something_public(name):
    if name in nablatom.__all__:
        return
    module = import_module(f"nablatom.{name}")
    assert module.__all__
