"""What the pages show is what happens: Python by doctest, commands and settings here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from nablatom.cli import app
from nablatom.cli.models import open_model
from nablatom.descriptors import from_yaml
from nablatom.models import NequIP, save_model
from nablatom.systems import strained_cells, write_structures

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOAP = """
SoapPowerSpectrum:
  cutoff: {Cutoff: {radius: 4.0}}
  radial: {Gto: {max_radial: 2}}
  max_angular: 1
"""


def blocks(page, language):
    """The fenced blocks of a page that are in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def commands(page):
    """What is typed after ``$ nablatom``, split as a shell does."""
    lines = [
        line for text in blocks(page, "console") for line in text.replace("\\\n", "").split("\n")
    ]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ nablatom ")]


WITH_COMMANDS = {page.name: commands(page) for page in PAGES if commands(page)}


# By the first word of the file.
SETTINGS = {text.split(":")[0]: text for page in PAGES for text in blocks(page, "yaml")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_python_is_run_as_a_doctest(page):
    assert [text for text in blocks(page, "python") if not text.startswith(">>> ")] == []


def test_commands_are_found():
    assert {"command-line.md", "descriptors.md"} <= set(WITH_COMMANDS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the pages name. Of which elements they are does not matter."""
    monkeypatch.chdir(tmp_path)
    frames = strained_cells(6, "Cu", seed=5)
    for name in ("structures", "silicon", "others"):
        write_structures(tmp_path / f"{name}.extxyz", frames)
    argon = bulk("Ar", a=5.3, cubic=True)
    argon.set_velocities(np.random.default_rng(0).normal(size=(4, 3)))
    write_structures(tmp_path / "moving.extxyz", [argon])
    (tmp_path / "soap.yaml").write_text(SOAP)
    (tmp_path / "potential.yaml").write_text(SETTINGS["potential"])
    save_model(NequIP(["Cu"], 4.0, layers=2, features=4), tmp_path / "trained")
    return tmp_path


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_run_as_shown(page, folder):
    for words in WITH_COMMANDS[page]:
        if words != ["demo"]:  # below
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (words, result.output, result.exception)


def test_the_demo_prints_what_the_readme_shows(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    printed = iter(_lines(result.stdout))
    for line in _lines(_only(blocks(ROOT / "README.md", "text"))):
        assert any(_alike(line, other) for other in printed), f"{line!r} is not printed there"


def test_settings_in_files(folder, tmp_path):
    assert open_model(tmp_path / "potential.yaml").type_names
    (tmp_path / "model.yaml").write_text(SETTINGS["model"])
    assert NequIP.from_yaml(tmp_path / "model.yaml").hops == 3
    for kind in SETTINGS.keys() - {"potential", "model"}:
        assert type(from_yaml(SETTINGS[kind])).__name__ == kind


def _only(texts):
    (text,) = texts
    return text


def _lines(text):
    return [line.strip() for line in text.split("\n") if line.strip() not in ("", "…")]


def _alike(line, other):
    """The same words, and numbers up to what rounding, amplified by a fit, makes of them.

    Rounding also decides which of nearly equal derivatives are checked.
    """
    pattern = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
    if re.sub(pattern, "", line).split() != re.sub(pattern, "", other).split():
        return False
    found = [[float(x.replace(",", "")) for x in re.findall(pattern, y)] for y in (line, other)]
    if len(found[0]) != len(found[1]):
        return False
    return line.endswith("PASS") or np.allclose(*found, rtol=0.02, atol=1e-10)
