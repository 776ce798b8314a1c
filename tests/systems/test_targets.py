import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from nablatom.systems import check_structures, strained_cells
from nablatom.systems.targets import energy_of, forces_of, stress_of


def relabelled(structure, *, drop=(), **factors):
    """A copy with labels left out or multiplied."""
    copy = structure.copy()
    names = [n for n in ("energy", "forces", "stress") if n not in drop]
    results = structure.calc.results
    labels = {n: np.array(results[n]) * factors.get(n, 1.0) for n in names if n in results}
    copy.calc = SinglePointCalculator(copy, **labels)
    return copy


def test_only_what_is_stored_is_read():
    structure = bulk("Cu", cubic=True)
    assert energy_of(structure) is forces_of(structure) is stress_of(structure) is None
    structure.calc = EMT()
    assert energy_of(structure) is None  # reading never starts a calculation
    energy = structure.get_potential_energy()
    assert energy_of(structure) == energy


def test_labels_of_moved_atoms_are_not_used():
    structure = strained_cells(1)[0]
    structure.positions[0] += 0.1
    assert energy_of(structure) is forces_of(structure) is None


def test_forces_ignore_constraints():
    structure = strained_cells(1)[0]
    forces = forces_of(structure)
    structure.set_constraint(FixAtoms([0]))
    np.testing.assert_array_equal(forces_of(structure), forces)


def test_no_cell_no_stress():
    structure = ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    structure.calc = SinglePointCalculator(structure, energy=0.0, stress=np.zeros(6))
    assert stress_of(structure) is None
    boxed = ase.Atoms("Cu2", structure.positions, cell=[8, 8, 8])
    boxed.calc = SinglePointCalculator(boxed, energy=0.0, stress=np.ones(6))
    assert stress_of(boxed) is None
    boxed.pbc = [True, False, False]
    boxed.calc = SinglePointCalculator(boxed, energy=0.0, stress=np.ones(6))
    assert stress_of(boxed).shape == (3, 3)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_partly_missing_labels_are_named(name):
    structures = strained_cells(5)
    structures[1], structures[3] = (relabelled(structures[i], drop=[name]) for i in (1, 3))
    with pytest.raises(ValueError, match=f"2 of 5 frames have no {name}.*frames 1, 3"):
        check_structures(structures)
    check_structures(structures, labels=False)


@pytest.mark.parametrize(
    "drop", [("forces",), ("forces", "stress"), ("energy", "forces", "stress")]
)
def test_labels_missing_everywhere_are_fine(drop):
    check_structures([relabelled(s, drop=drop) for s in strained_cells(4)])


def test_molecules_beside_crystals_need_no_stress_and_isolated_atoms_no_forces():
    atom = ase.Atoms("Cu")
    atom.calc = SinglePointCalculator(atom, energy=3.5)
    dimer = ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]])
    dimer.calc = EMT()
    dimer.get_forces()
    check_structures([*strained_cells(3), atom, relabelled(dimer, drop=["stress"])])


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_labels_that_are_not_finite_are_refused(name):
    structures = strained_cells(3)
    structures[2] = relabelled(structures[2], **{name: np.nan})
    with pytest.raises(ValueError, match=f"frame 2: the {name} holds NaN"):
        check_structures(structures)
