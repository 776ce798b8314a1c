"""Every name of metatensor's operations is here with the same arguments, or the docs say why."""

import inspect
from pathlib import Path

import pytest

import nablatom

there = pytest.importorskip("metatensor.operations")

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-metatensor.md"
NAMES = sorted(
    name
    for name in dir(there)
    if callable(getattr(there, name)) and not name.startswith("_") and name != "importlib"
)
ELSEWHERE = {"NotEqualError", "checks_enabled", "unsafe_disable_checks", "unsafe_enable_checks"}
# Two tensors, or a tensor and a number: given by position, and with names of our own.
TWO = {"add", "subtract", "multiply", "divide", "pow", "dot", "lstsq", "solve", "one_hot"}


def options(function, name):
    """The arguments after the tensors."""
    operands = 2 if name in TWO or name.startswith(("allclose", "equal")) else 1
    return list(inspect.signature(function).parameters.values())[operands:]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_here_or_in_the_docs(name):
    if name in ELSEWHERE:
        assert not hasattr(nablatom, name)
        assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    else:
        assert name in nablatom.__all__


@pytest.mark.parametrize("name", sorted(set(NAMES) - ELSEWHERE))
def test_arguments_have_the_same_names_and_order(name):
    """Some that have no default there have one here."""
    ours, theirs = (options(getattr(kit, name), name) for kit in (nablatom, there))
    assert len(ours) >= len(theirs)
    for mine, other in zip(ours, theirs, strict=False):
        assert mine.name == other.name
        assert mine.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert other.default in (inspect.Parameter.empty, mine.default)
    assert all(more.default is not inspect.Parameter.empty for more in ours[len(theirs) :])
