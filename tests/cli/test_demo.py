import sys

import ase.io
import pytest
from typer.testing import CliRunner

import nablatom.io
from nablatom.cli import app
from nablatom.cli.hypers import settings
from nablatom.descriptors import SoapPowerSpectrum
from nablatom.models import LinearModel
from nablatom.systems import strained_cells, write_structures
from nablatom.train import fit_descriptor, split_frames

SMALL = ("--frames", 10, "--cutoff", 4, "--max-radial", 3, "--max-angular", 1)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the files of one run are, and in ``text``, what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    result = invoke("demo", *SMALL, "-o", folder)
    assert result.exit_code == 0, result.output
    (folder / "text").write_text(result.stdout, "utf-8")
    return folder


def test_demo_end_to_end(folder):
    text = (folder / "text").read_text("utf-8")
    for word in ("PASS", "meV/atom", "meV/Å", "GPa", "test RMSE", "Next, try"):
        assert word in text
    assert "FAIL" not in text
    report = (folder / "report.html").read_text("utf-8")
    assert report.count("<img") >= 8
    assert "http" not in report.replace("http://www.w3.org", "")  # everything is inside
    assert "$" not in report  # no placeholder is left
    assert len(ase.io.read(folder / "predictions.extxyz", ":")) == 10
    assert nablatom.io.load(folder / "descriptor.mts").block_by_id(0).gradients_list() == [
        "positions",
        "strain",
    ]


def test_the_next_commands_work(run, folder, tmp_path, monkeypatch):
    text = (folder / "text").read_text("utf-8")
    commands = [line.split() for line in text.splitlines() if line.strip().startswith("nablatom ")]
    shown = [words[1:] for words in commands if words[1] in ("show", "eval", "forces")]
    assert len(shown) == 3
    monkeypatch.chdir(tmp_path)
    for words in shown:
        assert run(*words)


def test_json_has_everything_and_two_runs_agree(run, folder, tmp_path):
    first = run("demo", *SMALL, "-o", tmp_path, "--json")
    assert (tmp_path / "model.mts").read_bytes() == (folder / "model.mts").read_bytes()
    assert all(check["passed"] for check in first["verification"])
    assert {check["name"] for check in first["verification"]} >= {"positions", "strain"}
    assert set(first["errors"]) == {"train", "test"}
    assert len(first["structures"]["train"]) == 8
    assert len(first["structures"]["test"]) == 2
    assert len(first["files"]) == 4


def test_a_wrong_gradient_fails_the_run_and_shows_both_numbers(tmp_path, monkeypatch):
    right = SoapPowerSpectrum.__call__

    def wrong(self, structures, *, gradients=()):
        tensor = right(self, structures, gradients=gradients)
        for block in tensor:
            if block.has_gradient("strain"):
                block.gradient("strain").values[...] *= 1.001
        return tensor

    monkeypatch.setattr(SoapPowerSpectrum, "__call__", wrong)
    result = invoke("demo", *SMALL, "--seed", 1, "-o", tmp_path)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "checks failed" in result.stdout


def test_without_matplotlib_the_rest_is_there(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "nablatom.cli.figures", raising=False)
    monkeypatch.delattr("nablatom.cli.figures", raising=False)
    text = run("demo", *SMALL, "-o", tmp_path)
    assert "nablatom[plot]" in text
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "predictions.extxyz").exists()


def test_demo_equals_its_steps(folder):
    """The demo's model, made again from its parts in Python."""
    structures = strained_cells(10, "Cu", 0)
    calculator = settings(None, cutoff=4.0, max_radial=3, max_angular=1).calculator()
    descriptor = calculator(structures, gradients=("positions", "strain"))
    train, _ = split_frames(10, seed=0)
    fit = fit_descriptor(descriptor, structures, calculator, frames=train, seed=0)
    saved = LinearModel.load(folder / "model.mts")
    assert saved.baseline == fit.model.baseline
    assert saved.weights == fit.model.weights


def test_own_structures(run, tmp_path):
    path = tmp_path / "alloy.extxyz"
    write_structures(path, strained_cells(10, "CuAu", 3))
    text = run("demo", "--structures", path, "-o", tmp_path / "out", *SMALL[2:])
    assert "AuCu, from alloy.extxyz" in text
    assert not (tmp_path / "out" / "structures.extxyz").exists()
