"""Models of one hop: every pair vector belongs to the energy of its center.

One backward pass by the pair vectors then holds the derivatives of all energies, apart from each
other: ``dE_i/dr_j`` is the sum over the edges from ``i`` to ``j``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.rows import ENERGY, POSITIONS, Rows, Task, index

__all__ = ["in_one_pass"]


def in_one_pass(task: Task) -> Rows | None:
    """One backward pass by the pair vectors; None if the model reads anything but them."""
    found = pair_derivatives(task.model, task.data, of=ENERGY, create_graph=task.graph)
    if found.by_positions is not None or found.by_cell is not None:
        return None
    own = _own_edges(task)
    slopes = found.by_vectors.index_select(0, own.edge)
    ways = {
        POSITIONS: lambda: _ends(slopes, own, len(task.reach.atom)),
        "strain": lambda: _products(found.data[AtomicDataDict.EDGE_VECTORS_KEY], slopes, own, task),
        "cell": lambda: _products(
            found.data[AtomicDataDict.EDGE_CELL_SHIFT_KEY], slopes, own, task
        ),
    }
    energies = (
        found.outputs[ENERGY].flatten().index_select(0, index(task.reach.targets, task.device))
    )
    slopes_of = {name: ways[name]() for name in task.wrt}
    return Rows(task.reach, energies, slopes_of, found.outputs)


@dataclass(frozen=True, eq=False, slots=True)
class _OwnEdges:
    """The edges of all targets, and where their two ends stand among the entries.

    Attributes
    ----------
    edge, target, here, there : (edges,)
        Index of the edge, row of the target, entry of the target itself and of the neighbor.
    """

    edge: torch.Tensor
    target: torch.Tensor
    here: torch.Tensor
    there: torch.Tensor


def _own_edges(task: Task) -> _OwnEdges:
    reach, edges = task.reach, task.edges
    degree = edges.degree[reach.targets]
    target = np.repeat(np.arange(len(reach)), degree)
    first = edges.start[reach.targets] - (np.cumsum(degree) - degree)
    place = np.arange(len(target)) + first[target]
    atoms = len(edges.start) - 1
    keys = reach.target * atoms + reach.atom
    there = np.searchsorted(keys, target * atoms + edges.neighbor[place])
    here = np.flatnonzero(reach.hop == 0)[target]
    return _OwnEdges(
        *(index(rows, task.device) for rows in (edges.order[place], target, here, there))
    )


def _ends(slopes: torch.Tensor, own: _OwnEdges, entries: int) -> torch.Tensor:
    """``+g`` on the neighbor and ``-g`` on the center of every edge, (entries, 3)."""
    total = slopes.new_zeros(entries, 3).index_add(0, own.there, slopes)
    return total.index_add(0, own.here, slopes, alpha=-1)


def _products(left: torch.Tensor, right: torch.Tensor, own: _OwnEdges, task: Task) -> torch.Tensor:
    """Sums over the edges of each target of ``left_a right_b``, (targets, 3, 3)."""
    left = left.index_select(0, own.edge).to(right.dtype)
    products = (left[:, :, None] * right[:, None, :]).flatten(1)
    total = right.new_zeros(len(task.reach), 9).index_add(0, own.target, products)
    return total.reshape(-1, 3, 3)
