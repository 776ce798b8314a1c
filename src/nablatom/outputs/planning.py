"""From a model and its data to partial forces: which atoms, which edges, which way.

The cheapest way is known from counts of edges before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike

from nablatom.models import AtomicDataDict
from nablatom.outputs.clusters import row_kind
from nablatom.outputs.derivatives import Model, makes_graph, positions_of
from nablatom.outputs.locality import check_inside, check_outside
from nablatom.outputs.one_pass import in_one_pass
from nablatom.outputs.pruning import is_layered
from nablatom.outputs.reach import Integers, edges_by_center, frame_mates, reach
from nablatom.outputs.routes import by_chunks, by_clusters, by_coloring, by_loop
from nablatom.outputs.rows import POSITIONS, Rows, Task

__all__ = ["BATCH_EDGES", "Method", "hops_of", "rows_of", "task_for"]

Method: TypeAlias = Literal["auto", "one-pass", "clusters", "coloring", "loop", "chunks"]
METHODS = ("auto", "one-pass", "clusters", "coloring", "loop", "chunks")
BATCH_EDGES = 8000
"""Edges of one batch of clusters: about what stays in a cache."""

PASS = 2000  # what a pass costs besides its edges, in edges of one layer
FORWARD = 1.5  # forward and backward pass over the backward pass alone

ROUTES: Mapping[str, Callable[[Task], Rows]] = {
    "clusters": by_clusters,
    "coloring": by_coloring,
    "loop": by_loop,
    "chunks": by_chunks,
}


def rows_of(task: Task, method: Method) -> Rows:
    """The derivatives, by the way that was chosen, checked to be complete."""
    if len(task.reach) == 0:
        return _nothing(task)
    if method == "auto":
        method = _cheapest(task)
    if method == "one-pass":
        rows = in_one_pass(task)
        if rows is not None:
            check_inside(rows, task)
            return rows
        method = "clusters"  # the model reads positions besides the vectors
    rows = ROUTES[method](task)
    if method == "clusters":
        check_outside(rows, task)
    return rows


def task_for(
    model: Model,
    data: AtomicDataDict.Type,
    wrt: Sequence[str],
    atoms: ArrayLike | None,
    method: Method,
    batch_edges: int,
    create_graph: bool | None,
) -> Task:
    """What is to be differentiated, checked."""
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; choose from {', '.join(METHODS)}")
    AtomicDataDict.check_data(data)
    if AtomicDataDict.EDGE_INDEX_KEY not in data:
        raise KeyError(
            "the data have no field 'edge_index'; make it with "
            "AtomicDataDict.with_neighbors(data, cutoff)"
        )
    graph = makes_graph(model, data) if create_graph is None else create_graph
    count, hops = len(positions_of(data)), hops_of(model)
    data = _within_cutoff(data, getattr(model, "cutoff", 0.0))
    edges = edges_by_center(data[AtomicDataDict.EDGE_INDEX_KEY].cpu().numpy(), count)
    targets = _targets(atoms, count)
    if hops is None:
        _check_needs_no_hops(method)
        found = frame_mates(AtomicDataDict.frame_of_atoms(data).cpu().numpy(), targets)
    elif method == "one-pass" and hops > 1:
        raise ValueError(f"one pass is for models of one hop, this one declares hops = {hops}")
    else:
        found = reach(edges, hops, targets)
    return Task(model, data, found, edges, wrt, graph, batch_edges)


def hops_of(model: object) -> int | None:
    """How many edges away the model, or what it wraps, says it reaches; None if it does not."""
    hops = getattr(model, "hops", None)
    while not hops and isinstance(inner := getattr(model, "func", None), torch.nn.Module):
        model, hops = inner, getattr(inner, "hops", None)
    return int(hops) if hops else None


def _check_needs_no_hops(method: Method) -> None:
    if method not in ("auto", "loop", "chunks"):
        raise ValueError(
            f"the method {method!r} needs to know how far the model reaches; give the model an "
            "attribute hops, its number of message-passing layers, or choose loop"
        )


def _cheapest(task: Task) -> Method:
    """The way with the least work, in edges that one layer passes backward."""
    hops = hops_of(task.model)
    if hops is None:
        return "loop"
    whole = hops * len(task.edges.neighbor)
    within = task.reach.edges_within(task.edges.degree)[:, :-1]
    layers = within if is_layered(task.model) else within[:, -1:] * hops
    runs = max(1.0, within[:, -1].sum() / task.batch_edges)
    work: dict[Method, float] = {"one-pass": FORWARD * (whole + PASS)} if hops == 1 else {}
    work["clusters"] = FORWARD * float(layers.sum() + runs * PASS)
    work["loop"] = float(len(task.reach) * (whole + PASS))
    if hops > 1 and set(task.wrt) == {POSITIONS}:
        # no color can serve two targets that share an atom: a bound that greedy colors come near
        work["coloring"] = float(np.bincount(task.reach.atom).max() * (whole + PASS))
    return min(work, key=lambda method: work[method])


def _targets(atoms: ArrayLike | None, count: int) -> Integers:
    """Indices of atoms from what was asked for."""
    if atoms is None:
        return np.arange(count)
    given = atoms.cpu().numpy() if isinstance(atoms, torch.Tensor) else np.asarray(atoms)
    if given.dtype == bool:
        if given.shape != (count,):
            raise ValueError(f"a mask of shape {given.shape} for {count} atoms")
        return np.flatnonzero(given)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"atoms are chosen by indices or by a mask, got {given.dtype} numbers")
    targets = np.where(given < 0, given + count, given).astype(np.int64).reshape(-1)
    wrong = given.reshape(-1)[(targets < 0) | (targets >= count)]
    if len(wrong):
        raise ValueError(f"no atom {wrong[0]}: there are {count} atoms")
    if len(np.unique(targets)) < len(targets):
        raise ValueError(f"an atom is chosen twice: {given.tolist()}")
    return targets


def _within_cutoff(data: AtomicDataDict.Type, cutoff: float) -> AtomicDataDict.Type:
    """The data without edges that are known to be longer than the model reaches."""
    known = data.get(AtomicDataDict.NEIGHBOR_CUTOFF_KEY)
    if known is None or not cutoff or bool((known <= cutoff).all()):
        return data
    given = {key: x for key, x in data.items() if key != AtomicDataDict.EDGE_VECTORS_KEY}
    lengths = AtomicDataDict.with_edge_vectors(given)[AtomicDataDict.EDGE_LENGTH_KEY]
    kept = torch.nonzero(lengths.detach().flatten() < cutoff).flatten()
    near = {
        key: x.index_select(0, kept) if row_kind(key, x, data) == "edges" else x
        for key, x in data.items()
    }
    edge_index = data[AtomicDataDict.EDGE_INDEX_KEY].index_select(1, kept)
    return near | {AtomicDataDict.EDGE_INDEX_KEY: edge_index}


def _nothing(task: Task) -> Rows:
    positions = task.data[AtomicDataDict.POSITIONS_KEY]
    shapes = {name: (0, 3) if name == POSITIONS else (0, 3, 3) for name in task.wrt}
    empty = {name: positions.new_zeros(shape) for name, shape in shapes.items()}
    return Rows(task.reach, positions.new_zeros(0), empty)
