"""Structures to batches of atoms and pairs, and the results of batches to one tensor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.labels import Labels
from nablatom.operations import join, sort
from nablatom.systems.pairs import Pairs, neighbor_pairs
from nablatom.tensor import TensorMap

__all__ = ["Neighborhoods", "in_batches"]

# With 200 density coefficients, the derivatives of so many pairs take 20 MB.
PAIRS_PER_BATCH = 4000

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighborhoods:
    """Atoms of some structures, in order, and all their pairs.

    Attributes
    ----------
    system, atom, type : (atoms,)
        Index of the structure, index within it, atomic number.
    pairs
        Of these structures.
    center, neighbor : (pairs,)
        Row of the two atoms of a pair among the atoms.
    """

    system: Integers
    atom: Integers
    type: Integers
    pairs: Pairs
    center: Integers
    neighbor: Integers

    def select(self, center_type: int, neighbor_type: int) -> tuple[Labels, Integers]:
        """Atoms that see this type of neighbor or are of it, and their pairs with it.

        Returns
        -------
        samples
            ``system, atom``.
        rows
            Of the pairs.
        """
        center, neighbor = self.type[self.center], self.type[self.neighbor]
        rows = np.flatnonzero((center == center_type) & (neighbor == neighbor_type))
        same = center_type == neighbor_type
        atoms = np.flatnonzero(self.type == center_type) if same else np.unique(self.center[rows])
        samples = np.stack([self.system[atoms], self.atom[atoms]], axis=1).astype(np.int32)
        return Labels.unchecked(("system", "atom"), samples), rows


def in_batches(
    calculate: Callable[[Neighborhoods], TensorMap], structures: Sequence[ase.Atoms], cutoff: float
) -> TensorMap:
    """The result of ``calculate`` for all structures, a few of them at a time.

    Raises
    ------
    ValueError
        There are no atoms, or two atoms are at the same place.
    """
    parts = [calculate(some) for some in _batches(structures, cutoff)]
    if not parts:
        raise ValueError(f"no atoms in {len(structures)} structures: expected at least one")
    return sort(join(parts, "samples", different_keys="union"), "keys")


def _batches(structures: Sequence[ase.Atoms], cutoff: float) -> Iterator[Neighborhoods]:
    pairs = neighbor_pairs(structures, cutoff)
    _check_apart(pairs)
    counts = np.array([len(structure) for structure in structures])
    first_atom = np.cumsum([0, *counts])
    first_pair = np.searchsorted(pairs.system, np.arange(len(structures) + 1))
    batch = first_pair[:-1] // PAIRS_PER_BATCH
    for start, stop in _runs(batch):
        if first_atom[start] == first_atom[stop]:
            continue
        some = pairs[first_pair[start] : first_pair[stop]]
        offset = first_atom[some.system] - first_atom[start]
        systems = np.arange(start, stop)
        yield Neighborhoods(
            system=np.repeat(systems, counts[start:stop]),
            atom=np.concatenate([np.arange(n) for n in counts[start:stop]]),
            type=np.concatenate([structure.numbers for structure in structures[start:stop]]),
            pairs=some,
            center=offset + some.center,
            neighbor=offset + some.neighbor,
        )


def _runs(groups: Integers) -> Iterator[tuple[int, int]]:
    """Start and end of every run of equal numbers."""
    edges = np.flatnonzero(np.diff(groups, prepend=-1, append=-1))
    return pairwise(edges.tolist())


def _check_apart(pairs: Pairs) -> None:
    together = np.flatnonzero(pairs.distance == 0)
    if len(together):
        p = together[0]
        raise ValueError(
            f"structure {pairs.system[p]}: atoms {pairs.center[p]} and {pairs.neighbor[p]} are at "
            "the same place (periodic images included); descriptors have no derivative there"
        )
