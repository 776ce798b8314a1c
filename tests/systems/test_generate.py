import time

import numpy as np
import pytest
from ase.calculators.emt import EMT

from nablatom.systems import neighbor_pairs, strained_cells


@pytest.mark.parametrize("symbols", ["Cu", "CuAu"])
def test_the_seed_decides(symbols):
    np.random.seed(3)  # noqa: NPY002 - the global generator must neither be used nor touched
    first, again, other = (strained_cells(8, symbols, seed) for seed in (1, 1, 2))
    assert np.random.random() == np.random.RandomState(3).random()  # noqa: NPY002
    assert all(a == b for a, b in zip(first, again, strict=True))
    assert not any(a == b for a, b in zip(first, other, strict=True))


def test_sixty_frames_are_quick_and_varied():
    start = time.perf_counter()
    structures = strained_cells(60)
    assert time.perf_counter() - start < 2.0
    sizes = {len(structure) for structure in structures}
    assert min(sizes) == 4
    assert max(sizes) == 32
    assert len(sizes) >= 5
    volumes = [s.get_volume() / len(s) for s in structures]
    assert max(volumes) / min(volumes) > 1.15
    assert neighbor_pairs(structures, 3.0).distance.min() > 1.5


@pytest.mark.parametrize("symbols", ["Cu", "CuAu"])
def test_labels_are_those_of_emt(symbols):
    for structure in strained_cells(3, symbols):
        again = structure.copy()
        again.calc = EMT()
        assert structure.get_potential_energy() == again.get_potential_energy()
        np.testing.assert_array_equal(structure.get_forces(), again.get_forces())
        np.testing.assert_array_equal(structure.get_stress(), again.get_stress())


def test_alloys_hold_both_elements():
    elements = {symbol for s in strained_cells(6, "CuAu") for symbol in s.symbols}
    assert elements == {"Cu", "Au"}


@pytest.mark.parametrize("symbols", ["Fe", "CuC"])
def test_elements_without_parameters_are_refused(symbols):
    with pytest.raises(ValueError, match="choose from Al, Ni, Cu"):
        strained_cells(1, symbols)


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="n=0"):
        strained_cells(0)
