"""The pages about the API list every public name."""

import inspect
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

import nablatom


def _all(module):
    return import_module(f"nablatom.{module}").__all__


INDEX = Path(__file__).parents[2] / "docs" / "api" / "index.md"
LISTED = re.findall(r"^   ([\w.]+)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
OTHERS = sorted(set(LISTED) - set(nablatom.__all__))  # modules, whose pages list what is in them


def test_every_public_name_has_a_page():
    shown = {name for module in OTHERS if _is_module(module) for name in _all(module)}
    missing = sorted(set(nablatom.__all__) - shown - set(LISTED))
    assert not missing, f"add to docs/api/index.md: {missing}"


def test_no_name_is_listed_twice():
    assert [name for name, times in Counter(LISTED).items() if times > 1] == []


def test_every_page_is_about_something_public():
    unknown = [name for name in OTHERS if not _is_module(name)]
    assert not unknown, f"neither public names nor modules, but in docs/api/index.md: {unknown}"


# What takes things as they are, whether they have gradients or none, and what has methods.
NOTHING_TO_DERIVE = {
    "DataLoader",
    "Dataset",
    "IndexedDataset",
    "PCA",
    "group",
    "load_state",
    "save_state",
}
# Their libraries are not there for everybody, or their pages are about methods.
NO_EXAMPLE = {"PCA", "from_metatensor", "to_metatensor"}
MODULES = ["conversion", "nn", "operations"]
FUNCTIONS = {
    name: getattr(import_module(f"nablatom.{m}"), name) for m in MODULES for name in _all(m)
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_pages_show_an_example_and_say_what_happens_to_gradients(name):
    text = inspect.getdoc(FUNCTIONS[name])
    assert ">>> " in text or name in NO_EXAMPLE, "an Examples section is missing"
    said = "gradient" in text.lower()
    assert said or name in NOTHING_TO_DERIVE, "what happens to gradients?"


def _is_module(name):
    try:
        return bool(_all(name))
    except ModuleNotFoundError:
        return False
