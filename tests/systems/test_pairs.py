import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from nablatom.labels import Labels
from nablatom.systems import PairSum, neighbor_pairs


def skewed(pbc):
    structure = bulk("Cu", cubic=False).repeat((2, 1, 1))
    structure.rattle(0.1, seed=2)
    structure.set_cell(structure.cell @ [[1, 0.2, 0], [0, 1, 0.1], [0.05, 0, 1]])
    structure.pbc = pbc
    return structure


LEFT_HANDED = np.eye(3)[[1, 0, 2]]
STRUCTURES = {
    "molecule": molecule("CH3CH2OH"),
    "one atom": ase.Atoms("Cu"),
    "several images": bulk("Cu", cubic=False),
    "triclinic": skewed(True),
    "slab": skewed([True, True, False]),
    "wire": skewed([False, True, False]),
    "left-handed": ase.Atoms(
        "Cu2", [[0, 0, 0], [1, 1, 1]], cell=[[0, 3, 0], [3, 0, 0], [0, 0, 3]], pbc=True
    ),
    "outside the cell": ase.Atoms("Cu2", [[-7, 0, 0], [9, 1, 1]], cell=[4.3, 4.2, 4.1], pbc=True),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("cutoff", [3.0, 5.5])
def test_pairs_are_those_of_ase(name, cutoff):
    structure = STRUCTURES[name]
    pairs = neighbor_pairs([structure], cutoff)
    i, j, shift, vector = neighbor_list("ijSD", structure, cutoff)
    order = np.lexsort((*shift.T[::-1], j, i))
    np.testing.assert_array_equal(pairs.center, i[order])
    np.testing.assert_array_equal(pairs.neighbor, j[order])
    np.testing.assert_array_equal(pairs.shift, shift[order])
    np.testing.assert_allclose(pairs.vector, vector[order], atol=1e-12)


def test_vectors_follow_from_positions_and_shifts():
    structures = list(STRUCTURES.values())
    pairs = neighbor_pairs(structures, 4.0)
    for system, structure in enumerate(structures):
        here = pairs[pairs.system == system]
        r = structure.positions
        expected = r[here.neighbor] - r[here.center] + here.shift @ structure.cell.array
        np.testing.assert_allclose(here.vector, expected, atol=1e-12)


def test_many_structures_are_one_after_the_other():
    structures = list(STRUCTURES.values())
    together = neighbor_pairs(structures, 4.0)
    assert (np.diff(together.system) >= 0).all()
    for system, structure in enumerate(structures):
        alone, here = neighbor_pairs([structure], 4.0), together[together.system == system]
        np.testing.assert_array_equal(alone.vector, here.vector)
        np.testing.assert_array_equal(alone.neighbor, here.neighbor)


def test_no_structures_give_no_pairs():
    pairs = neighbor_pairs([], 4.0)
    assert len(pairs) == 0
    assert pairs.vector.shape == pairs.shift.shape == (0, 3)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan])
def test_cutoffs_are_positive(cutoff):
    with pytest.raises(ValueError, match="positive distance"):
        neighbor_pairs([STRUCTURES["molecule"]], cutoff)


# -- sums over pairs and their gradients ---------------------------------------------------


def pair_function(vectors):
    """A smooth function of pair vectors, with two components and three properties."""
    r2 = (vectors**2).sum(axis=1)[:, None, None]
    envelope, slope = (1 - r2 / 16) ** 3, -3 / 8 * (1 - r2 / 16) ** 2  # times vector
    weights = np.array([[1.0, 0.5, 2.0], [0.3, -1.0, 0.7]])
    direction = np.array([[0.2, 0.1, -0.4], [0.3, 0.6, 0.1]])
    linear = (vectors @ direction.T)[:, :, None] + weights  # (pairs, 2, 3)
    derivative = slope[:, None] * vectors[:, :, None, None] * linear[:, None]
    derivative = derivative + envelope[:, None] * direction.T[None, :, :, None]
    return envelope * linear, derivative


def summed(structures, gradients=()):
    pairs = neighbor_pairs(structures, 4.0)
    samples = np.concatenate(
        [
            np.stack([np.full(len(s), i), np.arange(len(s))], axis=1)
            for i, s in enumerate(structures)
        ]
    )
    values, derivative = pair_function(pairs.vector)
    plan = PairSum.of(pairs, Labels(["system", "atom"], samples), gradients)
    return plan(values, derivative, [Labels.range("c", 2)], Labels.range("n", 3))


def central(structure, change, step=1e-4):
    values = [summed([change(structure.copy(), sign * step)]).values for sign in (1, -1)]
    return (values[0] - values[1]) / (2 * step)


def moved(atom, axis):
    def change(structure, step):
        structure.positions[atom, axis] += step
        return structure

    return change


def strained(a, b):
    def change(structure, step):
        strain = np.eye(3)
        strain[a, b] += step
        structure.set_cell(structure.cell.array @ strain)
        structure.positions = structure.positions @ strain
        return structure

    return change


def stretched(k, axis):
    def change(structure, step):
        cell = structure.cell.array.copy()
        cell[k, axis] += step
        structure.set_cell(cell)  # at fixed Cartesian positions
        return structure

    return change


@pytest.mark.parametrize("name", STRUCTURES)
def test_positions_against_finite_differences(name):
    structure = STRUCTURES[name]
    gradient = summed([structure], ["positions"]).gradient("positions")
    dense = np.zeros((len(structure), len(structure), 3, 2, 3))
    dense[gradient.samples["sample"], gradient.samples["atom"]] = gradient.values
    for atom in range(len(structure)):
        for axis in range(3):
            expected = central(structure, moved(atom, axis))
            np.testing.assert_allclose(dense[:, atom, axis], expected, atol=1e-7)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize(("parameter", "change"), [("strain", strained), ("cell", stretched)])
def test_strain_and_cell_against_finite_differences(name, parameter, change):
    structure = STRUCTURES[name]
    gradient = summed([structure], [parameter]).gradient(parameter)
    for a, b in np.ndindex(3, 3):
        if parameter == "cell" and not structure.pbc[a]:
            np.testing.assert_array_equal(gradient.values[:, a, b], 0)
            continue
        expected = central(structure, change(a, b))
        np.testing.assert_allclose(gradient.values[:, a, b], expected, atol=1e-7)


def test_rows_are_sorted_and_only_neighbors_and_the_center_have_one():
    structures = list(STRUCTURES.values())
    pairs = neighbor_pairs(structures, 4.0)
    samples = summed(structures, ["positions"]).gradient("positions").samples.values.tolist()
    assert samples == sorted(samples)
    first = np.cumsum([0, *(len(s) for s in structures)])
    expected = {(int(first[s] + i), s, i) for s, a in enumerate(structures) for i in range(len(a))}
    expected |= set(
        zip(first[pairs.system] + pairs.center, pairs.system, pairs.neighbor, strict=True)
    )
    assert {tuple(row) for row in samples} == expected


def test_components_carry_their_names():
    block = summed([STRUCTURES["triclinic"]], ["positions", "strain", "cell"])
    names = {name: [c.names[0] for c in g.components] for name, g in block.gradients()}
    assert names == {
        "positions": ["xyz", "c"],
        "strain": ["xyz_1", "xyz_2", "c"],
        "cell": ["abc", "xyz", "c"],
    }


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="'charges'; choose from positions, strain, cell"):
        summed([STRUCTURES["molecule"]], ["charges"])
