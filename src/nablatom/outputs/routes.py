"""Ways to the derivatives of every atom's energy, one backward pass for some of them at a time.

Each is cheapest somewhere, and all agree. For models of one hop there is also
:func:`~nablatom.outputs.one_pass.in_one_pass`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.clusters import batches, check_whole, cluster_data, clusters
from nablatom.outputs.coloring import colors_of
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.products import Linearization, linearize
from nablatom.outputs.pruning import pruned
from nablatom.outputs.rows import (
    DECLARE,
    ENERGY,
    POSITIONS,
    Found,
    Rows,
    Task,
    index,
    joined,
    stacked,
)

__all__ = ["by_chunks", "by_clusters", "by_coloring", "by_loop"]

CHUNK = 32  # backward passes that are vectorised together
LONG_SUM = 1e4  # what its terms' rounding may add up to; a missing hop does far more


def by_clusters(task: Task) -> Rows:
    """Receptive fields cut out and many put in one batch: one backward pass for each batch."""
    check_whole(task.model, task.data)
    return joined(task, _of_clusters(task))


def _of_clusters(task: Task) -> Iterator[Found]:
    for part in batches(task.reach.edges_within(task.edges.degree)[:, -2], task.batch_edges):
        cut = clusters(task.reach, task.edges, part)
        found = pair_derivatives(
            pruned(task.model, cut),
            cluster_data(task.data, cut),
            of=ENERGY,
            create_graph=task.graph,
        )
        slopes: Found = {name: getattr(found, name) for name in task.wrt}
        if POSITIONS in slopes:
            order = index(np.argsort(cut.entry), task.device)
            slopes[POSITIONS] = slopes[POSITIONS].index_select(0, order)
        yield slopes | {ENERGY: found.outputs[ENERGY].flatten()}


def by_loop(task: Task) -> Rows:
    """One backward pass through the whole graph for each target.

    Raises
    ------
    ValueError
        An energy depends on an atom that is not in its reach.
    """
    point = _whole(task)
    found = (
        _own(point.vjp(_ones_at(point, target)), task, row)
        for row, target in enumerate(task.reach.targets.reshape(-1, 1))
    )
    return Rows(task.reach, _energies(point, task), stacked(task, found), point.outputs)


def by_chunks(task: Task) -> Rows:
    """Backward passes for several targets at once, vectorised: for accelerators."""
    point = _whole(task)
    return Rows(
        task.reach, _energies(point, task), stacked(task, _of_chunks(point, task)), point.outputs
    )


def _of_chunks(point: Linearization, task: Task) -> Iterator[Found]:
    for start in range(0, len(task.reach), CHUNK):
        targets = task.reach.targets[start : start + CHUNK]
        weights = torch.stack([_ones_at(point, target) for target in targets.reshape(-1, 1)])
        slopes = torch.vmap(point.vjp)(weights)
        for k in range(len(targets)):
            yield _own({name: x[k] for name, x in slopes.items()}, task, start + k)


def by_coloring(task: Task) -> Rows:
    """One backward pass for all targets of a color, whose receptive fields are apart.

    Raises
    ------
    ValueError
        Something else than positions is asked for; or the columns do not sum to the derivative
        of all energies: they reach further than was said.
    """
    if set(task.wrt) != {POSITIONS}:
        raise ValueError(f"coloring gives derivatives by positions alone, got {list(task.wrt)}")
    reach, point = task.reach, _whole(task)
    colors = colors_of(reach, len(task.data[AtomicDataDict.POSITIONS_KEY]))
    color = colors[reach.target]
    parts = [point.values.new_zeros(0, 3)]
    for k in range(colors.max(initial=-1) + 1):
        slopes = point.vjp(_ones_at(point, reach.targets[colors == k]))[POSITIONS]
        parts.append(slopes.index_select(0, index(reach.atom[color == k], task.device)))
    order = np.argsort(np.argsort(color, kind="stable"))
    slopes = torch.cat(parts).index_select(0, index(order, task.device))
    total = point.vjp(_ones_at(point, reach.targets))[POSITIONS]
    _check_columns(slopes.detach(), total.detach(), task)
    return Rows(reach, _energies(point, task), {POSITIONS: slopes}, point.outputs)


def _whole(task: Task) -> Linearization:
    return linearize(task.model, task.data, of=ENERGY, wrt=task.wrt, create_graph=task.graph)


def _energies(point: Linearization, task: Task) -> torch.Tensor:
    return point.values.flatten().index_select(0, index(task.reach.targets, task.device))


def _ones_at(point: Linearization, atoms: np.ndarray) -> torch.Tensor:
    weights = torch.zeros_like(point.values)
    return weights.index_fill_(0, index(atoms, weights.device), 1)


def _own(found: Found, task: Task, row: int) -> Found:
    """What the energy of one target depends on, of its derivatives by everything."""
    reach = task.reach
    target = int(reach.targets[row])
    frame = int(AtomicDataDict.frame_of_atoms(task.data)[target])
    own = {}
    for name, x in found.items():
        if name == POSITIONS:
            atom = index(reach.atom[reach.start[row] : reach.start[row + 1]], x.device)
            own[name] = x.index_select(0, atom)
            _check_rest(x.detach().index_fill(0, atom, 0), own[name].detach(), row, task)
        else:
            x = x.reshape(-1, 3, 3)
            own[name] = x[frame, None] if len(x) > 1 else x
    return own


def _check_rest(rest: torch.Tensor, own: torch.Tensor, row: int, task: Task) -> None:
    beyond = float(rest.abs().sum())
    if beyond > LONG_SUM * task.rounding * float(own.abs().sum()):
        raise ValueError(
            f"the model declares hops = {task.reach.hops}, but the energy of atom "
            f"{task.reach.targets[row]} depends on atoms further away (slopes that add up to "
            f"{beyond:.1e} eV/Å); {DECLARE}"
        )


def _check_columns(slopes: torch.Tensor, total: torch.Tensor, task: Task) -> None:
    atom = index(task.reach.atom, slopes.device)
    off = (torch.zeros_like(total).index_add(0, atom, slopes) - total).abs().sum()
    if off > LONG_SUM * task.rounding * slopes.abs().sum():
        raise ValueError(
            f"the model declares hops = {task.reach.hops}, but its partial forces then do not sum "
            f"to the forces (off by {float(off):.1e} eV/Å in all); {DECLARE}"
        )
