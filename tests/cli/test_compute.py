"""``nablatom compute NAME STRUCTURES``: any calculator, written part by part."""

import tracemalloc

import numpy as np
import pytest
from ase.build import molecule

import nablatom.io
from nablatom.cli import batches, hypers
from nablatom.descriptors import SortedDistances, from_yaml
from nablatom.descriptors.featomic import from_featomic
from nablatom.models import LinearModel
from nablatom.systems import read_structures, strained_cells, write_structures

FEATOMIC = """
cutoff: {radius: 4.0, smoothing: {type: ShiftedCosine, width: 0.5}}
density: {type: Gaussian, width: 0.5}
basis: {type: TensorProduct, max_angular: 1, radial: {type: Gto, max_radial: 2}}
"""


@pytest.fixture
def mixed(tmp_path):
    """Elements that not every batch has."""
    path = tmp_path / "mixed.extxyz"
    write_structures(path, [*strained_cells(3, "Cu"), *strained_cells(2, "CuAu")])
    return path


def assert_same(found, expected):
    assert {tuple(key) for key in found.keys} == {tuple(key) for key in expected.keys}
    for key, block in expected.items():
        other = found.block(key)
        assert (other.samples, other.properties) == (block.samples, block.properties)
        np.testing.assert_allclose(other.values, block.values, atol=1e-12)
        assert other.gradients_list() == block.gradients_list()
        for name, gradient in block.gradients():
            assert other.gradient(name).samples == gradient.samples
            np.testing.assert_allclose(other.gradient(name).values, gradient.values, atol=1e-12)


@pytest.mark.parametrize("atoms", [1, 6, 10**6])
def test_parts_give_the_same_as_all_at_once(run, mixed, tmp_path, monkeypatch, atoms):
    monkeypatch.setattr(batches, "ATOMS", atoms)
    settings = tmp_path / "soap.yaml"
    settings.write_text(FEATOMIC)
    path = tmp_path / "out" / "soap.mts"
    found = run(
        "compute", "spherical-expansion", mixed, "--hypers", settings, "-o", path,
        "--gradients", "positions,strain,cell", "--threads", 2, "--json",
    )  # fmt: skip
    calculator = from_featomic("SphericalExpansion", _dictionary())
    expected = calculator(read_structures(mixed), ["positions", "strain", "cell"])
    assert_same(nablatom.io.load(path), expected)
    assert found["blocks"] == len(expected)
    assert list(found["settings"]) == ["SphericalExpansion"]
    assert [p.name for p in path.parent.iterdir()] == ["soap.mts"]  # nothing else is left


def _dictionary():
    import yaml

    return yaml.safe_load(FEATOMIC)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SortedDistances", "cutoff: 3.5\nmax_neighbors: 4\n"),
        ("sorted-distances", "SortedDistances: {cutoff: 3.5, max_neighbors: 4}\n"),
    ],
)
def test_names_and_settings_of_our_own(run, mixed, tmp_path, name, text):
    settings, path = tmp_path / "settings.yaml", tmp_path / "found.mts"
    settings.write_text(text)
    run("compute", name, mixed, "--hypers", settings, "--gradients", "none", "-o", path)
    assert_same(nablatom.io.load(path), SortedDistances(3.5, 4)(read_structures(mixed)))


def test_simple_names_take_simple_options(run, mixed, tmp_path):
    path = tmp_path / "found.mts"
    found = run(
        "compute",
        "radial-spectrum",
        mixed,
        "--cutoff",
        4.5,
        "--max-radial",
        2,
        "-o",
        path,
        "--json",
    )
    assert found["settings"]["descriptor"] == "radial-spectrum"
    assert found["settings"]["cutoff"] == 4.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["soap"], "no calculator 'soap'; choose from atomic-composition"),
        (["spherical-expansion", "--cutoff", "4"], "--cutoff: for power-spectrum"),
        (["sorted-distances"], "max_neighbors"),
        (["radial-spectrum", "--descriptor", "power-spectrum"], "choose one of them"),
    ],
)
def test_errors_are_named(run, mixed, tmp_path, arguments, message):
    name, *options = arguments
    assert message in run("compute", name, mixed, *options, "-o", tmp_path / "x.mts", fails=True)


def test_batches_hold_whole_structures(monkeypatch):
    monkeypatch.setattr(batches, "ATOMS", 9)
    frames = [molecule("CH3")] * 5  # of four atoms
    assert batches._batches(frames) == [(0, 2), (2, 4), (4, 5)]


RADIAL = "radial: {Gto: {max_radial: 1}}"
EXPANSION = f"{{SphericalExpansion: {{max_angular: 1, {RADIAL}}}}}"
SETTINGS = {
    "SphericalExpansion": "{max_angular: 1}",
    "SphericalExpansionByPair": "{max_angular: 1, radial: {Gto: {max_radial: 1}}}",
    "SoapRadialSpectrum": "{radial: {Gto: {max_radial: 2}}}",
    "SoapPowerSpectrum": "{max_angular: 1, radial: {Gto: {max_radial: 1}}}",
    "EquivariantPowerSpectrum": f"{{expansion: {EXPANSION}, max_lambda: 1}}",
    "Bispectrum": f"{{expansion: {EXPANSION}}}",
    "MixedTypes": f"{{expansion: {EXPANSION}, types: [29, 79], weights: [[1.0], [0.5]]}}",
    "AtomicSymmetryFunctions": "{functions: [G2: {eta: 0.5}, G5: {eta: 0.1}]}",
    "SortedDistances": "{cutoff: 3.5, max_neighbors: 4}",
    "AtomicComposition": "{per_system: true}",
    "NeighborList": "{cutoff: 3.0}",
    "LodeSphericalExpansion": (
        "{radial: {Gto: {max_radial: 1, radius: 2.0}}, max_angular: 1, "
        "density: {SmearedPowerLaw: {smearing: 1.2}}}"
    ),
}
FITTED = [name for name in SETTINGS if name not in ("AtomicComposition", "NeighborList")]


def test_all_calculators_have_settings_here():
    assert set(SETTINGS) == set(hypers.KINDS)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_calculator_part_by_part(run, mixed, tmp_path, monkeypatch, name):
    monkeypatch.setattr(batches, "ATOMS", 1)
    settings, path = tmp_path / "settings.yaml", tmp_path / "found.mts"
    settings.write_text(SETTINGS[name])
    run("compute", name, mixed, "--hypers", settings, "-o", path, "--threads", 2)
    calculator = from_yaml(f"{name}: {SETTINGS[name]}")
    assert_same(nablatom.io.load(path), calculator(read_structures(mixed), ["positions", "strain"]))


@pytest.mark.parametrize("name", FITTED)
def test_every_descriptor_of_atoms_can_be_fitted(run, tmp_path, name):
    structures, settings = tmp_path / "structures.extxyz", tmp_path / "settings.yaml"
    write_structures(structures, strained_cells(8, "CuAu"))
    settings.write_text(f"{name}: {SETTINGS[name]}")
    model = tmp_path / "model.mts"
    found = run(
        "fit", structures, "--hypers", settings, "-o", model, "--regularisation", 1e-6, "--json"
    )
    assert found["errors"]["train"]["forces"]["rmse"] < 10_000  # meV/Å
    assert LinearModel.load(model).calculator == from_yaml(settings.read_text())


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("NeighborList: {cutoff: 3.0}", [], "invariants only"),
        ("AtomicComposition: {per_system: true}", [], "expected a descriptor of atoms"),
        ("descriptor: soap", [], "no calculator 'soap'; choose from"),
        ("{}", ["--descriptor", "bispectrum", "--max-angular", "0"], "--max-angular: for power-"),
    ],
)
def test_what_cannot_be_fitted_is_named(run, tmp_path, text, options, message):
    structures, settings = tmp_path / "structures.extxyz", tmp_path / "settings.yaml"
    write_structures(structures, strained_cells(6, "Cu"))
    settings.write_text(text)
    arguments = ["fit", structures, "--hypers", settings, "-o", tmp_path / "model.mts", *options]
    assert message in run(*arguments, fails=True)


def test_demo_with_a_descriptor_of_a_file(run, tmp_path):
    """Of pairs, whose rows are not atoms."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"descriptor: spherical-expansion-by-pair\nmax_angular: 1\n{RADIAL}\n")
    found = run("demo", "--frames", 8, "--hypers", settings, "-o", tmp_path / "demo", "--json")
    assert all(check["passed"] for check in found["verification"])
    assert found["errors"]["test"]["energy"]["rmse"] > 0


@pytest.mark.parametrize("name", ["SoapPowerSpectrum", "SphericalExpansionByPair"])
def test_memory_does_not_grow_with_the_file(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(batches, "ATOMS", 1)
    structures, settings = tmp_path / "structures.extxyz", tmp_path / "settings.yaml"
    write_structures(structures, strained_cells(24, "Cu"))
    settings.write_text("{max_angular: 4, radial: {Gto: {max_radial: 3}}}")
    path = tmp_path / "found.mts"
    arguments = ("compute", name, structures, "--hypers", settings, "-o", path)
    run(*arguments)  # tables, and all that is made once
    tracemalloc.start()
    run(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 5e6
    assert peak < path.stat().st_size / 2
