"""Atoms whose energies share no dependence, so that one backward pass serves them all."""

from __future__ import annotations

import numpy as np

from nablatom.outputs.reach import Integers, Reach

__all__ = ["colors_of"]


def colors_of(reach: Reach, atoms: int) -> Integers:
    """A color for each target, such that no atom is in the reach of two of the same color.

    Greedy, the targets with the largest reach first (Curtis, Powell, Reid 1974; Gebremedhin,
    Manne, Pothen, SIAM Rev. 47, 629, 2005: partial distance-2 coloring).

    Parameters
    ----------
    atoms
        Number of atoms of the whole graph.

    Returns
    -------
    (targets,)
        Colors, counted from 0.

    Examples
    --------
    >>> from nablatom.outputs.reach import edges_by_center, reach
    >>> chain = edges_by_center(np.array([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]), 4)
    >>> colors_of(reach(chain, 1, np.arange(4)), 4)
    array([2, 0, 1, 2])
    """
    taken = np.zeros((atoms, 64), bool)  # whether an atom is in the reach of this color
    colors = np.empty(len(reach), np.int64)
    for target in np.argsort(-np.diff(reach.start), kind="stable"):
        mine = reach.atom[reach.start[target] : reach.start[target + 1]]
        free = np.flatnonzero(~taken[mine].any(axis=0))
        color = free[0] if len(free) else taken.shape[1]
        if color == taken.shape[1]:
            taken = np.concatenate([taken, np.zeros_like(taken)], axis=1)
        taken[mine, color] = True
        colors[target] = color
    return colors
