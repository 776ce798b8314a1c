"""Whether an energy depends on what its model says it depends on, tried on a few atoms.

Leaving out what lies beyond the declared hops must not change an energy at all. One small
evaluation tells, whatever the size of the structure.
"""

from __future__ import annotations

import numpy as np
import torch

from nablatom.outputs.clusters import cluster_data, clusters
from nablatom.outputs.reach import Edges, Integers, reach
from nablatom.outputs.rows import DECLARE, ENERGY, Rows, Task, index

__all__ = ["check_inside", "check_outside"]

PROBES = 4


def check_inside(rows: Rows, task: Task) -> None:
    """Check energies that saw everything: a few atoms alone with their reach have the same.

    Raises
    ------
    ValueError
        An energy is another: the model reaches further than it says.
    """
    probes = np.unique(np.linspace(0, len(rows.reach) - 1, PROBES).astype(np.int64))
    _check(rows, task, probes, rows.reach.hops, task.edges)


def check_outside(rows: Rows, task: Task) -> None:
    """Check energies that saw their reach alone: one atom that sees more has the same.

    It sees the edges of atoms at the rim of its reach, as many as a batch has room for.

    Raises
    ------
    ValueError
        The energy is another: the model reaches further than it says.
    """
    reached, degree = rows.reach, task.edges.degree
    rims = np.bincount(reached.target[reached.hop == reached.hops], minlength=len(reached))
    probe = int(rims.argmax())
    if rims[probe] == 0:
        return  # nothing was left out anywhere
    mine = slice(reached.start[probe], reached.start[probe + 1])
    atom, hop = reached.atom[mine], reached.hop[mine]
    inner, rim = atom[hop < reached.hops], atom[hop == reached.hops]
    room = task.batch_edges - int(degree[inner].sum())
    some = rim[: max(1, int(np.searchsorted(np.cumsum(degree[rim]), room)))]
    edges = _edges_of(task.edges, np.concatenate([inner, some]))
    _check(rows, task, np.array([probe]), reached.hops + 1, edges)


def _edges_of(edges: Edges, centers: Integers) -> Edges:
    """The edges of these centers alone."""
    kept = np.zeros(len(edges.start) - 1, bool)
    kept[centers] = True
    chosen = np.repeat(kept, edges.degree)
    start = np.concatenate([[0], np.cumsum(np.where(kept, edges.degree, 0))])
    return Edges(edges.order[chosen], start, edges.neighbor[chosen])


def _check(rows: Rows, task: Task, probes: Integers, hops: int, edges: Edges) -> None:
    """Compare the energies of some targets with those they have with these edges alone."""
    targets = rows.reach.targets[probes]
    cut = clusters(reach(edges, hops, targets), edges, slice(0, len(probes)))
    with torch.no_grad():
        found = task.model(cluster_data(task.data, cut))[ENERGY].flatten()[: len(probes)]
    expected = rows.energies.detach().index_select(0, index(probes, task.device))
    off = (found - expected).abs()
    worst = int((off / expected.abs().clamp(min=1.0)).argmax())
    if off[worst] > 1e3 * task.rounding * max(1.0, float(expected[worst].abs())):
        raise ValueError(
            f"the model declares hops = {rows.reach.hops}, but the energy of atom "
            f"{targets[worst]} depends on atoms further away: with and without them, it differs "
            f"by {float(off[worst]):.1e} eV; {DECLARE}"
        )
