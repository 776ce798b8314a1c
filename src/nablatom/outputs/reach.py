"""Which atoms an atom's energy depends on, counted in edges of the neighbor graph.

``dE_i/dr_j`` is zero unless ``j`` can be reached from ``i`` in as many edges as the model has
hops. Everything here is about indices: it takes milliseconds, before any model runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Edges", "Reach", "edges_by_center", "frame_mates", "reach"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Edges:
    """The edges of a graph, center by center.

    Attributes
    ----------
    order : (edges,)
        Indices of the edges, sorted by center.
    start : (atoms + 1,)
        Those of center ``i`` are ``order[start[i]:start[i + 1]]``.
    neighbor : (edges,)
        Their neighbors, in the same order.
    """

    order: Integers
    start: Integers
    neighbor: Integers

    @property
    def degree(self) -> Integers:
        """Number of edges of each center, (atoms,)."""
        return np.diff(self.start)


@dataclass(frozen=True, eq=False, slots=True)
class Reach:
    """The atoms within some hops of each target, and how far they are: rows of a sparse matrix.

    Attributes
    ----------
    targets : (targets,)
        Atoms whose energies are differentiated.
    start : (targets + 1,)
        The entries of target ``t`` are ``start[t]:start[t + 1]``.
    atom : (entries,), int32
        What the energy may depend on, increasing within each target.
    hop : (entries,), int8
        Edges between it and the target, 0 for the target itself.
    hops
        The largest number of edges that was followed.
    """

    targets: Integers
    start: Integers
    atom: NDArray[np.int32]
    hop: NDArray[np.int8]
    hops: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def target(self) -> Integers:
        """The index among the targets that each entry belongs to, (entries,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def edges_within(self, degree: Integers) -> Integers:
        """Edges whose centers are at most ``k`` hops away, (targets, hops + 1)."""
        key = self.target * (self.hops + 1) + self.hop
        each = np.bincount(key, degree[self.atom], len(self) * (self.hops + 1))
        return each.astype(np.int64).reshape(len(self), -1).cumsum(axis=1)


def edges_by_center(edge_index: Integers, atoms: int) -> Edges:
    """The edges of a graph of so many atoms, center by center.

    Parameters
    ----------
    edge_index : (2, edges)
        Center and neighbor of each edge.
    """
    center, neighbor = edge_index
    start = np.concatenate([[0], np.cumsum(np.bincount(center, minlength=atoms))])
    if (center[1:] >= center[:-1]).all():
        return Edges(np.arange(len(center)), start, neighbor)
    order = np.argsort(center, kind="stable")
    return Edges(order, start, neighbor[order])


def reach(edges: Edges, hops: int, targets: Integers) -> Reach:
    """The atoms within ``hops`` edges of each target.

    Examples
    --------
    >>> chain = edges_by_center(np.array([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    >>> found = reach(chain, 1, np.array([0]))
    >>> found.atom, found.hop
    (array([0, 1], dtype=int32), array([0, 1], dtype=int8))
    """
    atoms = len(edges.start) - 1
    index = np.int32 if len(edges.neighbor) + atoms < np.iinfo(np.int32).max else np.int64
    step = _pattern(edges.neighbor.astype(index), edges.start.astype(index), atoms)
    near = _pattern(targets.astype(index), np.arange(len(targets) + 1, dtype=index), atoms)
    seen = near
    for _ in range(hops):
        near = near @ step + near
        near.data[:] = 1
        seen = seen + near  # counts in how many of the steps an atom was there
    seen.sort_indices()
    hop = (hops + 1 - seen.data).astype(np.int8)
    return Reach(targets, seen.indptr.astype(np.int64), seen.indices.astype(np.int32), hop, hops)


def frame_mates(frame: Integers, targets: Integers) -> Reach:
    """All atoms of the frame of each target, as if each was one hop away."""
    order = np.argsort(frame, kind="stable")
    count = np.bincount(frame) if len(frame) else np.zeros(1, np.int64)
    first = np.concatenate([[0], np.cumsum(count)])
    length = count[frame[targets]]
    start = np.concatenate([[0], np.cumsum(length)])
    within = np.arange(start[-1]) - np.repeat(start[:-1], length)
    atom = order[np.repeat(first[frame[targets]], length) + within].astype(np.int32)
    hop = (atom != np.repeat(targets, length)).astype(np.int8)
    return Reach(targets, start, atom, hop, 1)


def _pattern(indices: NDArray[np.integer], indptr: NDArray[np.integer], columns: int) -> csr_array:
    """A matrix of ones; images of the same neighbor are one entry."""
    ones = np.ones(len(indices), np.int32)
    found = csr_array((ones, indices, indptr), (len(indptr) - 1, columns))
    found.sum_duplicates()
    found.data[:] = 1
    return found
