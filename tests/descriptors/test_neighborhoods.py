"""Pairs found in bins beside those of an independent search, and beside all distances."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

from nablatom.descriptors import Cutoff
from nablatom.descriptors.neighborhoods import at_once, neighborhoods
from nablatom.systems import neighbor_pairs


def random_structure(seed):
    """Atoms inside and far outside of a cell of any shape, periodic along some axes."""
    random = np.random.default_rng(seed)
    cell = np.diag(random.uniform(3, 12, 3)) @ (np.eye(3) + 0.3 * random.normal(size=(3, 3)))
    atoms = random.integers(1, 60)
    return ase.Atoms(
        random.integers(1, 4, atoms),
        positions=random.normal(size=(atoms, 3)) * random.uniform(2, 15),
        cell=cell * random.choice([-1, 1]),
        pbc=random.random(3) < 0.6,
    )


STRUCTURES = {
    **{f"random {seed}": random_structure(seed) for seed in range(12)},
    "one atom": bulk("Cu"),
    "crystal": bulk("Si", cubic=True) * 3,
    "molecule": molecule("C6H6"),
    "wire": ase.Atoms("Au", cell=[3, 0, 0], pbc=[True, False, False]),
    "far apart": ase.Atoms("H2", positions=[[0, 0, 0], [1e5, 0, 0]]),
    "crowded": ase.Atoms(
        "Ar300", np.random.default_rng(0).uniform(0, 9, (300, 3)), cell=[9] * 3, pbc=1
    ),
}


def rows(center, neighbor, shift):
    table = np.column_stack([center, neighbor, shift]).astype(int)
    return table, np.lexsort(table.T[::-1])


def assert_same_pairs(around, frames, radius):
    expected = neighbor_pairs(frames, radius)
    first = np.cumsum([0, *map(len, frames)])[expected.system]
    counts = around.segment[:, -1] - around.segment[:, 0]
    center = np.repeat(np.arange(len(counts)), counts)
    found, order = rows(center, around.neighbor, around.shift)
    wanted, turn = rows(first + expected.center, first + expected.neighbor, expected.shift)
    np.testing.assert_array_equal(found[order], wanted[turn])
    scale = 1e-15 * max(1.0, *(np.abs(frame.positions).max(initial=0) for frame in frames))
    for ours, theirs in (
        (around.vector, expected.vector),
        (around.distance, expected.distance),
    ):
        np.testing.assert_allclose(ours[order], theirs[turn], rtol=1e-14, atol=8 * scale)


@pytest.mark.parametrize("radius", [1.5, 5.0, 9.0])
@pytest.mark.parametrize("name", STRUCTURES)
def test_pairs_are_those_of_another_search(name, radius):
    around = neighborhoods([STRUCTURES[name]], Cutoff(radius)).around
    assert_same_pairs(around, [STRUCTURES[name]], radius)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_structures_together(threads):
    frames = [*STRUCTURES.values(), ase.Atoms()]
    around = neighborhoods(frames, Cutoff(4.0), threads=threads).around
    assert_same_pairs(around, frames, 4.0)


def test_pairs_are_sorted_by_center_type_and_neighbor():
    frames = [STRUCTURES["random 3"], STRUCTURES["crystal"], molecule("CH3CH2OH")]
    hoods = neighborhoods(frames, Cutoff(5.0))
    around = hoods.around
    counts = np.diff(np.append(around.segment[:, 0], len(around.neighbor)))
    center = np.repeat(np.arange(len(counts)), counts)
    keys = np.column_stack([center, around.type[around.neighbor], around.neighbor])
    np.testing.assert_array_equal(keys, keys[np.lexsort(keys.T[::-1])])
    for a in range(len(hoods.types)):
        np.testing.assert_array_equal(
            around.segment[:, a + 1] - around.segment[:, a],
            np.bincount(center[keys[:, 1] == a], minlength=len(counts)),
        )


@pytest.mark.parametrize("cutoff", [Cutoff(4.0, width=1.0), Cutoff(4.0, width=None)])
def test_weights_are_those_of_the_cutoff(cutoff):
    around = neighborhoods([STRUCTURES["crystal"]], cutoff, threads=2).around
    factor, slope, _ = cutoff(around.distance)
    np.testing.assert_array_equal(around.factor, factor)
    np.testing.assert_array_equal(around.slope, slope)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_range_is_worked_off_once(threads):
    done = []
    ranges = ((k, k + 1) for k in range(50))  # one at a time, as a progress bar hands them out
    at_once(lambda first, last: done.append((first, last)), ranges, threads)
    assert sorted(done) == [(k, k + 1) for k in range(50)]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_fails_in_a_thread_is_raised(threads):
    def piece(first, last):
        raise ValueError(f"from {first} to {last}")

    with pytest.raises(ValueError, match="from 0 to 1"):
        at_once(piece, [(0, 1)], threads)
