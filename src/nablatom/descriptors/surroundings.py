"""Atoms of many structures, in order, with all their pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.neighborhoods import SAME_PLACE
from nablatom.labels import Labels
from nablatom.systems.pairs import Pairs, neighbor_pairs

__all__ = ["Surroundings"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Surroundings:
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

    system: Rows
    atom: Rows
    type: Rows
    pairs: Pairs
    center: Rows
    neighbor: Rows

    @staticmethod
    def of(frames: Sequence[ase.Atoms], cutoff: float) -> "Surroundings":
        """The pairs closer than the cutoff.

        Raises
        ------
        ValueError
            Two atoms are at the same place.
        """
        pairs = neighbor_pairs(frames, cutoff)
        _check_apart(pairs)
        counts = np.array([len(frame) for frame in frames])
        first = (np.cumsum(counts) - counts)[pairs.system]
        return Surroundings(
            system=np.repeat(np.arange(len(frames)), counts),
            atom=np.concatenate([np.arange(n) for n in counts]),
            type=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
            pairs=pairs,
            center=first + pairs.center,
            neighbor=first + pairs.neighbor,
        )

    def types_of_pairs(self) -> tuple[Rows, Rows]:
        """Atomic numbers of the two atoms of every pair."""
        return self.type[self.center], self.type[self.neighbor]

    def labels(self, atoms: Rows) -> Labels:
        """Samples ``system, atom`` of some rows."""
        samples = np.stack([self.system[atoms], self.atom[atoms]], axis=1).astype(np.int32)
        return Labels.unchecked(("system", "atom"), samples)


def _check_apart(pairs: Pairs) -> None:
    together = np.flatnonzero(pairs.distance < SAME_PLACE)
    if len(together):
        p = together[0]
        raise ValueError(
            f"structure {pairs.system[p]}: atoms {pairs.center[p]} and {pairs.neighbor[p]} are at "
            "the same place (periodic images included); descriptors have no derivative there"
        )
