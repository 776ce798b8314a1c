import ase
import ase.calculators.singlepoint
import numpy as np
import pytest

from nablatom.systems import label_structures, reference_energies, strained_cells
from nablatom.train import compare
from nablatom.train.targets import VOIGT, by_target

GPA = 160.2176634


def shifted(structures, energy=0.0, force=0.0, stress=0.0):
    """The same labels, off by this much in eV/atom, eV/Å and eV/Å³."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        results = {
            "energy": atoms.get_potential_energy() + energy * len(atoms),
            "forces": atoms.get_forces() + force,
            "stress": atoms.get_stress() + stress,
        }
        copy.calc = ase.calculators.singlepoint.SinglePointCalculator(copy, **results)
        copies.append(copy)
    return copies


@pytest.mark.parametrize(
    ("shift", "target", "expected", "unit"),
    [
        ({"energy": 0.002}, "energy", 2.0, "meV/atom"),
        ({"force": -0.03}, "forces", 30.0, "meV/Å"),
        ({"stress": 0.01}, "stress", 0.01 * GPA, "GPa"),
    ],
)
def test_a_known_shift_is_the_error_in_the_printed_unit(shift, target, expected, unit):
    structures = strained_cells(4)
    guess = reference_energies(shifted(structures, **shift))
    found = compare(guess, reference_energies(structures), structures)
    for name, comparison in found.items():
        size = expected if name == target else 0.0
        assert comparison.mae == pytest.approx(size, abs=1e-9)
        assert comparison.rmse == pytest.approx(size, abs=1e-9)
    assert found[target].unit == unit


def test_counts_and_parts():
    structures = strained_cells(5)
    energies = reference_energies(structures)
    found = compare(energies, energies, structures)
    atoms = [len(s) for s in structures]
    assert len(found["energy"].reference) == 5
    assert len(found["forces"].reference) == 3 * sum(atoms)
    assert len(found["stress"].reference) == 6 * 5
    part = found["forces"].of([1, 3])
    assert len(part.reference) == 3 * (atoms[1] + atoms[3])
    expected = np.concatenate([structures[f].get_forces().ravel() for f in (1, 3)])
    np.testing.assert_allclose(part.reference, 1000 * expected)


def test_rmse_and_mae_differ_as_they_should():
    structures = strained_cells(2)
    off = [shifted(structures[:1], energy=0.003)[0], structures[1]]
    found = compare(reference_energies(off), reference_energies(structures), structures)
    assert found["energy"].mae == pytest.approx(1.5)
    assert found["energy"].rmse == pytest.approx(3 / 2**0.5)


def test_voigt_order_is_that_of_ase():
    structures = strained_cells(1)
    found = by_target(reference_energies(structures).block(), structures, fill=np.nan)
    np.testing.assert_allclose(found["stress"][0, :, 0], structures[0].get_stress(), atol=1e-15)
    assert list(zip(*VOIGT, strict=True)) == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def test_left_handed_cells_keep_the_sign_of_their_stress():
    right = strained_cells(3)[2]
    left = right.copy()
    left.set_cell(right.cell[[1, 0, 2]])
    results = {"energy": 0.0, "stress": right.get_stress()}
    left.calc = ase.calculators.singlepoint.SinglePointCalculator(left, **results)
    found = by_target(reference_energies([left]).block(), [left], fill=np.nan)
    np.testing.assert_allclose(found["stress"][0, :, 0], right.get_stress(), atol=1e-15)


def test_labels_that_are_missing_are_not_compared():
    crystal, molecule = strained_cells(1)[0], ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]])
    molecule.calc = ase.calculators.singlepoint.SinglePointCalculator(molecule, energy=1.0)
    structures = [crystal, molecule]
    reference = reference_energies(structures)
    predicted = reference_energies(label_structures(structures, reference))
    found = compare(predicted, reference, structures)
    assert len(found["energy"].reference) == 2
    assert len(found["forces"].reference) == 3 * len(crystal)
    assert set(found["stress"].frames) == {0}
