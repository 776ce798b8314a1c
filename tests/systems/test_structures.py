from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule

from nablatom.systems import (
    check_structures,
    read_structures,
    strained_cells,
    write_structures,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def copper(**changes):
    structure = bulk("Cu", cubic=True)
    structure.rattle(0.05, seed=1)
    for name, value in changes.items():
        setattr(structure, name, value)
    return structure


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "json"])
def test_structures_survive_a_file(tmp_path, suffix):
    structures = strained_cells(3)
    write_structures(tmp_path / f"cells.{suffix}", structures)
    again = read_structures(tmp_path / f"cells.{suffix}")
    assert len(again) == 3
    for a, b in zip(structures, again, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
        np.testing.assert_allclose(a.get_forces(), b.get_forces(), atol=1e-7)
        np.testing.assert_allclose(a.get_stress(), b.get_stress(), atol=1e-7)
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), abs=1e-6)


@pytest.mark.parametrize(("index", "count"), [(":", 4), ("::2", 2), (-1, 1), ("1", 1)])
def test_index_selects_frames(tmp_path, index, count):
    write_structures(tmp_path / "cells.extxyz", strained_cells(4))
    assert len(read_structures(tmp_path / "cells.extxyz", index)) == count


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.extxyz", "", "is empty"),
        ("text.extxyz", "hello\nworld\n", "cannot be read"),
        ("short.xyz", "5\ncomment\nCu 0 0 0\n", "cannot be read"),
        ("strange.unknown", "hello", "knows no structure format"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_structures(tmp_path / name)
    assert name in str(error.value)


def test_missing_file_and_frames(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.xyz"):
        read_structures(tmp_path / "absent.xyz")
    write_structures(tmp_path / "one.extxyz", [copper()])
    with pytest.raises(ValueError, match=r"one\.extxyz"):
        read_structures(tmp_path / "one.extxyz", "5:")


def test_nothing_or_unknown_suffix_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="no structures"):
        write_structures(tmp_path / "a.extxyz", [])
    with pytest.raises(ValueError, match=r"try \.extxyz"):
        write_structures(tmp_path / "a.unknown", [copper()])


def nan_position():
    structure = copper()
    structure.positions[2, 1] = np.nan
    return structure


def overlapping():
    structure = copper()
    structure.positions[3] = structure.positions[0] + [0.2, 0, 0]
    return structure


def overlapping_image():
    """Two atoms at opposite faces of the cell, 0.3 Å apart through the boundary."""
    return ase.Atoms("Cu2", [[0.1, 0, 0], [4.8, 0, 0]], cell=[5, 5, 5], pbc=True)


BAD = {
    "no atoms": (ase.Atoms(), "has no atoms"),
    "NaN position": (nan_position(), "position of atom 2"),
    "infinite position": (ase.Atoms("Cu", [[np.inf, 0, 0]]), "position of atom 0"),
    "NaN cell": (ase.Atoms("Cu", cell=np.full((3, 3), np.nan), pbc=True), "finite"),
    "unknown element": (ase.Atoms("CuX", [[0, 0, 0], [0, 0, 2]]), "atom 1 is of an unknown"),
    "beyond the table": (ase.Atoms(numbers=[130]), "atomic number 130"),
    "flat cell": (copper(cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), "no volume"),
    "no cell": (ase.Atoms("Cu", pbc=True), "no volume"),
    "no cell along c": (ase.Atoms("Cu", cell=[3, 3, 0], pbc=True), "periodic along abc"),
    "overlap": (overlapping(), "atoms 0 and 3 overlap"),
    "overlap with an image": (overlapping_image(), "periodic image overlap: 0.300"),
    "tiny cell": (ase.Atoms("Cu", cell=[0.3, 5, 5], pbc=True), "overlap"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_geometry_is_named_with_its_frame(name):
    structure, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        check_structures([copper(), copper(), structure])
    assert "frame 2" in str(error.value)


GOOD = {
    "crystal": copper(),
    "molecule": molecule("C2H6"),
    "hydrogen": molecule("H2"),
    "wire": ase.Atoms("Cu", cell=[2.5, 0, 0], pbc=[True, False, False]),
    "slab without a third vector": ase.Atoms("Cu", cell=[3, 3, 0], pbc=[True, True, False]),
    "left-handed cell": copper(cell=[[0, 3.6, 0], [3.6, 0, 0], [0, 0, 3.6]]),
    "one atom": ase.Atoms("Cu"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_geometry_passes(name):
    check_structures([GOOD[name]])


def test_no_structures_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        check_structures([])


@pytest.mark.parametrize("name", ["si_mlearn_60", "tial_329", "ethanol_200", "3bpa_100"])
def test_real_data_passes(name):
    path = DATA / f"{name}.extxyz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    structures = read_structures(path)
    check_structures(structures)
    random = np.random.default_rng(0)
    for size in random.integers(3, 15, size=8):  # small subsets tempt a test into false alarms
        check_structures([structures[i] for i in random.choice(len(structures), size)])


@pytest.mark.parametrize("symbols", ["Cu", "CuAu"])
def test_generated_data_passes(symbols):
    check_structures(strained_cells(40, symbols))
