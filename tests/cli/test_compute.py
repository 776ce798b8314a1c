"""``nablatom compute NAME STRUCTURES``: any calculator, written part by part."""

import numpy as np
import pytest
from ase.build import molecule

import nablatom.io
from nablatom.cli import batches
from nablatom.descriptors import SortedDistances
from nablatom.descriptors.featomic import from_featomic
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
