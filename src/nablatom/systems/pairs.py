"""Structures to neighbor pairs, and pair-vector derivatives to positions, strain and cell.

Everything structural follows from the derivative ``G_p = dX/dv_p`` of a quantity with
respect to the pair vectors ``v_p = r_j - r_i + S_p H`` (rows of ``H`` are the cell vectors):
``dX/dr_j = sum G``, ``dX/dr_i = -sum G``, ``dX/dstrain_ab = sum v_pa G_pb`` and
``dX/dH_kb = sum S_pk G_pb``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ase
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nablatom.block import TensorBlock
from nablatom.labels import Labels

if TYPE_CHECKING:
    import vesin

__all__ = ["PairSum", "Pairs", "neighbor_pairs"]

PARAMETERS: Mapping[str, tuple[Labels, ...]] = {
    "positions": (Labels.range("xyz", 3),),
    "strain": (Labels.range("xyz_1", 3), Labels.range("xyz_2", 3)),
    "cell": (Labels.range("abc", 3), Labels.range("xyz", 3)),
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Directed neighbor pairs of many structures, one row per pair and periodic image.

    Rows are sorted by system, center, neighbor and shift; every pair appears in both
    directions, and an atom is a neighbor of its own images, never of itself.

    Attributes
    ----------
    system, center, neighbor : (pairs,), int64
        Index of the structure, and of the two atoms within it.
    shift : (pairs, 3), int64
        Cell vectors between the neighbor's image and the neighbor.
    vector : (pairs, 3), length
        ``r_neighbor - r_center + shift @ cell``.
    """

    system: NDArray[np.int64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    shift: NDArray[np.int64]
    vector: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.system)

    @property
    def distance(self) -> NDArray[np.float64]:
        """Lengths of the pair vectors, (pairs,)."""
        return np.sqrt(np.einsum("pa,pa->p", self.vector, self.vector))

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> "Pairs":
        return Pairs(
            self.system[rows],
            self.center[rows],
            self.neighbor[rows],
            self.shift[rows],
            self.vector[rows],
        )


def neighbor_pairs(structures: Sequence[ase.Atoms], cutoff: float) -> Pairs:
    """All neighbor pairs closer than the cutoff, for every structure.

    Any periodicity, any cell (skewed, left-handed, smaller than the cutoff) and any
    position (inside or outside the cell) will do.

    Examples
    --------
    >>> from ase.build import bulk
    >>> len(neighbor_pairs([bulk("Cu", a=3.6)], cutoff=3.0))
    12
    """
    if not cutoff > 0:
        raise ValueError(f"the cutoff must be a positive distance, got {cutoff}")
    import vesin  # which imports torch

    search = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    parts = [_pairs_of(search, index, frame) for index, frame in enumerate(structures)]
    return _concatenated(parts)


def _pairs_of(search: "vesin.NeighborList", index: int, structure: ase.Atoms) -> Pairs:
    cell = np.array(structure.cell) if structure.pbc.any() else np.zeros((3, 3))
    center, neighbor, shift, vector = search.compute(
        structure.positions, cell, np.array(structure.pbc), "ijSD", copy=False
    )
    order = np.lexsort((*shift.T[::-1], neighbor, center))
    return Pairs(
        np.full(len(order), index),
        center[order].astype(np.int64),
        neighbor[order].astype(np.int64),
        shift[order].astype(np.int64),
        vector[order],
    )


def _concatenated(parts: Sequence[Pairs]) -> Pairs:
    integers = np.empty(0, np.int64)
    nothing = Pairs(integers, integers, integers, np.empty((0, 3), np.int64), np.empty((0, 3)))
    fields = ("system", "center", "neighbor", "shift", "vector")
    columns = ([getattr(part, field) for part in (nothing, *parts)] for field in fields)
    return Pairs(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, eq=False)
class PairSum:
    """Sums over the pairs of each center, and the chain rule from pair vectors onward.

    Every parameter moves the pair vectors linearly, so that its gradient is one sparse
    matrix, which depends on the pairs alone, times the derivatives ``G``. The matrices are
    made once (`PairSum.of`) and serve any number of quantities.

    Attributes
    ----------
    samples
        The centers, ``system, atom``.
    total : (samples, pairs)
        Which pairs belong to which center.
    gradients
        Parameter → samples of its gradient block, and ``(rows, pairs)``, where rows are the
        gradient samples times the components that the matrix itself brings.
    """

    samples: Labels
    total: csr_array
    gradients: Mapping[str, tuple[Labels, csr_array]]

    @staticmethod
    def of(pairs: Pairs, samples: Labels, gradients: Sequence[str]) -> "PairSum":
        """The sums for pairs whose centers are among the samples (sorted ``system, atom``).

        A center without pairs is summed to zero, and keeps its own row in the ``positions``
        gradient.

        Raises
        ------
        ValueError
            A parameter other than positions, strain and cell.
        """
        unknown = [name for name in gradients if name not in PARAMETERS]
        if unknown:
            raise ValueError(
                f"no gradient with respect to {', '.join(map(repr, unknown))}; "
                f"choose from {', '.join(PARAMETERS)}"
            )
        sample = _sample_of_pairs(pairs, samples)
        ones = np.ones(len(pairs))
        total = csr_array((ones, (sample, np.arange(len(pairs)))), (len(samples), len(pairs)))
        every = Labels.range("sample", len(samples))
        sums = {
            "positions": lambda: _position_sum(pairs, samples, sample),
            "strain": lambda: (every, _weighted_sum(total, pairs.vector)),
            "cell": lambda: (every, _weighted_sum(total, pairs.shift.astype(np.float64))),
        }
        return PairSum(samples, total, {name: sums[name]() for name in gradients})

    def __call__(
        self,
        values: NDArray[np.float64],
        derivative: NDArray[np.float64],
        components: Sequence[Labels],
        properties: Labels,
    ) -> TensorBlock:
        """Block of the summed values, with the gradients of all parameters.

        Parameters
        ----------
        values : (pairs, *components, properties)
        derivative : (pairs, 3, *components, properties)
            ``G``, with respect to the pair vectors.
        """
        axes = values.shape[1:]
        size = math.prod(axes)
        flat = derivative.reshape(len(derivative), 3 * size)
        gradients = {}
        for name, (rows, matrix) in self.gradients.items():
            own = PARAMETERS[name]
            shape = (len(rows), *(3 for _ in own), *axes)
            gradients[name] = TensorBlock.unchecked(
                (matrix @ flat).reshape(shape), rows, (*own, *components), properties
            )
        summed = (self.total @ values.reshape(len(values), size)).reshape(-1, *axes)
        return TensorBlock.unchecked(summed, self.samples, components, properties, gradients)


def _sample_of_pairs(pairs: Pairs, samples: Labels) -> NDArray[np.int64]:
    """Row of each pair's center among the samples."""
    width = max(samples.column("atom").max(initial=0), pairs.center.max(initial=0)) + 1
    keys = samples.column("system").astype(np.int64) * width + samples.column("atom")
    return np.searchsorted(keys, pairs.system * width + pairs.center)


def _position_sum(
    pairs: Pairs, samples: Labels, sample: NDArray[np.int64]
) -> tuple[Labels, csr_array]:
    """``+G`` on the neighbor, ``-G`` on the center; an atom and its own image cancel."""
    centers = samples.column("atom").astype(np.int64)
    width = max(centers.max(initial=0), pairs.neighbor.max(initial=0)) + 1
    own = np.arange(len(samples)) * width + centers
    keys, row = np.unique(
        np.concatenate([own, sample * width + pairs.neighbor]), return_inverse=True
    )
    here, there = row[: len(samples)][sample], row[len(samples) :]
    column = np.arange(len(pairs))
    ones = np.ones(len(pairs))
    matrix = csr_array(
        (np.concatenate([ones, -ones]), (np.concatenate([there, here]), np.tile(column, 2))),
        shape=(len(keys), len(pairs)),
    )
    of = keys // width
    rows = np.stack([of, samples.column("system")[of], keys % width], axis=1).astype(np.int32)
    return Labels.unchecked(("sample", "system", "atom"), rows), matrix


def _weighted_sum(total: csr_array, weights: NDArray[np.float64]) -> csr_array:
    """Matrix of ``sum_p w_pa G_p`` for every center, three rows each."""
    centers, pairs = total.shape
    sample, pair = total.nonzero()
    rows = (3 * sample[:, None] + np.arange(3)).ravel()
    return csr_array((weights[pair].ravel(), (rows, np.repeat(pair, 3))), (3 * centers, pairs))
