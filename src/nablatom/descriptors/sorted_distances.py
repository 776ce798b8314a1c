"""The distances to the nearest neighbors, nearest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.descriptors.surroundings import Surroundings
from nablatom.labels import Labels
from nablatom.systems.pairs import PairSum
from nablatom.tensor import TensorMap

__all__ = ["SortedDistances", "places"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SortedDistances(Explicit):
    """Distances to the nearest neighbors of every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with samples ``system, atom`` and the
    property ``neighbor``, from the nearest one on. Where there are fewer neighbors, the
    distance is the cutoff and does not change. Where two neighbors are equally far, the
    distances have a kink, and the gradient is that of the order in which they are sorted.

    Parameters
    ----------
    cutoff : length
        Neighbors count within it.
    max_neighbors
        How many distances are given.
    separate_neighbor_types
        Keys are ``center_type, neighbor_type`` and each type of neighbors is sorted by itself;
        else ``center_type``.

    Examples
    --------
    >>> from ase.build import molecule
    >>> distances = SortedDistances(cutoff=3.0, max_neighbors=3, separate_neighbor_types=False)
    >>> distances(molecule("H2O")).block(center_type=8).values.round(4)
    array([[0.9686, 0.9686, 3.    ]])
    """

    cutoff: float
    max_neighbors: int
    separate_neighbor_types: bool = True

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        Cutoff(self.cutoff, None)
        if self.max_neighbors < 1:
            raise ValueError(f"max_neighbors must be 1 or more, got {self.max_neighbors}")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The distances in some structures."""
        atoms = Surroundings.of(frames, self.cutoff)
        center, neighbor = atoms.types_of_pairs()
        found: dict[tuple[int, ...], TensorBlock] = {}
        if self.separate_neighbor_types:
            for key in np.unique(np.stack([center, neighbor], axis=1), axis=0).tolist():
                rows = np.flatnonzero((center == key[0]) & (neighbor == key[1]))
                samples = atoms.labels(np.unique(atoms.center[rows]))
                found[tuple(key)] = self._block(atoms, rows, samples, gradients)
            names = ["center_type", "neighbor_type"]
        else:
            for element in np.unique(atoms.type).tolist():
                samples = atoms.labels(np.flatnonzero(atoms.type == element))
                rows = np.flatnonzero(center == element)
                found[element,] = self._block(atoms, rows, samples, gradients)
            names = ["center_type"]
        entries = np.array(list(found), np.int32).reshape(-1, len(names))
        return TensorMap(Labels(names, entries), list(found.values()))

    def _block(
        self, atoms: Surroundings, rows: Rows, samples: Labels, gradients: tuple[str, ...]
    ) -> TensorBlock:
        r = atoms.pairs.distance[rows]
        place = places(atoms.center[rows], r)
        near = place < self.max_neighbors
        rows, r, place = rows[near], r[near], place[near]
        values = np.zeros((len(rows), self.max_neighbors))
        values[np.arange(len(rows)), place] = r - self.cutoff
        directions = atoms.pairs.vector[rows] / r[:, None]
        derivative = np.zeros((len(rows), 3, self.max_neighbors))
        derivative[np.arange(len(rows)), :, place] = directions
        total = PairSum.of(atoms.pairs[rows], samples, gradients)
        block = total(values, derivative, [], Labels.range("neighbor", self.max_neighbors))
        block.values[...] += self.cutoff
        return block


def places(center: Rows, r: Array) -> Rows:
    """Which of the neighbors of its center a pair is, from the nearest on."""
    order = np.lexsort((r, center))
    ordered = center[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(r), np.int64)
    place[order] = np.arange(len(r)) - first
    return place
