"""Receptive fields cut out of a graph, many at a time: each becomes a frame of one batch.

A cluster is all a target's energy depends on: the atoms in its reach, and the edges whose
centers are fewer hops away than the model has. Within a batch, atoms and edges are sorted by
hops, over all clusters: what a layer needs is then always the first so many of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.models import AtomicDataDict
from nablatom.outputs.reach import Edges, Integers, Reach

__all__ = ["Clusters", "batches", "check_whole", "cluster_data", "clusters", "row_kind"]

# Results of earlier calls, and what follows from positions: not for a model to read.
_DERIVED = frozenset(
    {
        AtomicDataDict.EDGE_VECTORS_KEY,
        AtomicDataDict.EDGE_LENGTH_KEY,
        AtomicDataDict.EDGE_ENERGY_KEY,
        AtomicDataDict.EDGE_FORCE_KEY,
        AtomicDataDict.PER_ATOM_ENERGY_KEY,
        AtomicDataDict.TOTAL_ENERGY_KEY,
        AtomicDataDict.FORCE_KEY,
        AtomicDataDict.PARTIAL_FORCE_KEY,
        AtomicDataDict.STRESS_KEY,
        AtomicDataDict.VIRIAL_KEY,
        AtomicDataDict.BATCH_KEY,
        AtomicDataDict.NUM_NODES_KEY,
        AtomicDataDict.EDGE_INDEX_KEY,
    }
)


@dataclass(frozen=True, eq=False, slots=True)
class Clusters:
    """Some clusters, their atoms and edges sorted by hops from the targets, which come first.

    Attributes
    ----------
    entry : (nodes,)
        The entry of the reach that each node stands for, counted from the first of the batch.
    atom : (nodes,)
        The atom of the whole graph that each node is a copy of.
    cluster : (nodes,)
        The cluster it belongs to.
    edge : (edges,)
        The edge of the whole graph that each edge is a copy of.
    center, neighbor : (edges,)
        The nodes it connects.
    nodes_within, edges_within : (hops + 1,)
        How many nodes, and edges of these centers, are at most ``k`` hops from a target.
    """

    entry: Integers
    atom: Integers
    cluster: Integers
    edge: Integers
    center: Integers
    neighbor: Integers
    nodes_within: tuple[int, ...]
    edges_within: tuple[int, ...]


def check_whole(model: object, data: AtomicDataDict.Type) -> None:
    """Check data as the model will, before they are cut up: errors name their frames and atoms.

    Raises
    ------
    KeyError, ValueError
        As :func:`~nablatom.systems.atomic_data.prepared`.
    """
    cutoff, types = getattr(model, "cutoff", 0.0), getattr(model, "type_names", ())
    if cutoff and types:
        AtomicDataDict.prepared(data, cutoff=cutoff, types=types)


def batches(sizes: Integers, limit: int) -> Iterator[slice]:
    """Runs of clusters that have no more than so many edges together; one at the least."""
    total = np.concatenate([[0], np.cumsum(sizes)])
    first = 0
    while first < len(sizes):
        last = int(np.searchsorted(total, total[first] + limit, side="right")) - 1
        last = max(last, first + 1)
        yield slice(first, last)
        first = last


def clusters(reach: Reach, edges: Edges, part: slice) -> Clusters:
    """The clusters of some of the targets.

    Examples
    --------
    >>> from nablatom.outputs.reach import edges_by_center, reach
    >>> chain = edges_by_center(np.array([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    >>> ends = clusters(reach(chain, 1, np.array([0, 2])), chain, slice(0, 2))
    >>> ends.atom, ends.cluster
    (array([0, 2, 1, 1]), array([0, 1, 0, 1]))
    >>> ends.center, ends.neighbor
    (array([0, 1]), array([2, 3]))
    """
    start = reach.start[part.start : part.stop + 1]
    entries = slice(int(start[0]), int(start[-1]))
    hop = reach.hop[entries]
    entry = np.argsort(hop, kind="stable")
    atom = reach.atom[entries][entry].astype(np.int64)
    cluster = np.repeat(np.arange(len(start) - 1), np.diff(start))[entry]
    nodes = np.cumsum(np.bincount(hop, minlength=reach.hops + 1))
    inner = int(nodes[reach.hops - 1])  # the outermost atoms are neighbors only

    degree = edges.degree[atom[:inner]]
    center = np.repeat(np.arange(inner), degree)
    first = np.cumsum(degree) - degree
    place = np.arange(len(center)) + np.repeat(edges.start[atom[:inner]] - first, degree)
    atoms = len(edges.start) - 1
    node = np.empty((len(start) - 1) * atoms, np.int64)  # read only where it is written
    node[cluster * atoms + atom] = np.arange(len(atom))
    neighbor = node[cluster[center] * atoms + edges.neighbor[place]]
    counts = np.searchsorted(center, nodes)
    return Clusters(
        entry,
        atom,
        cluster,
        edges.order[place],
        center,
        neighbor,
        tuple(nodes.tolist()),
        tuple(counts.tolist()),
    )


def cluster_data(data: AtomicDataDict.Type, cut: Clusters) -> AtomicDataDict.Type:
    """The atomic data of clusters, each a frame with the cell of the frame it comes from."""
    device = data[AtomicDataDict.POSITIONS_KEY].device
    atom, edge = (_tensor(rows, device) for rows in (cut.atom, cut.edge))
    count = cut.nodes_within[0]
    frame = AtomicDataDict.frame_of_atoms(data).index_select(0, atom[:count])
    index = {"atoms": atom, "edges": edge, "frames": frame}
    frames = AtomicDataDict.num_frames(data)
    found = {}
    for key, x in data.items():
        if key in _DERIVED or (kind := row_kind(key, x, data)) is None:
            continue
        if kind == "frames":
            x = _by_frame(key, x, frames)
        found[key] = x.index_select(0, index[kind])
    ends = np.stack([cut.center, cut.neighbor])
    found[AtomicDataDict.EDGE_INDEX_KEY] = _tensor(ends, device)
    found[AtomicDataDict.BATCH_KEY] = _tensor(cut.cluster, device)
    sizes = np.bincount(cut.cluster, minlength=count)
    found[AtomicDataDict.NUM_NODES_KEY] = _tensor(sizes, device)
    return found


def row_kind(key: str, values: torch.Tensor, data: AtomicDataDict.Type) -> str | None:
    """What the rows of a field belong to; for a field of one's own, by how many there are."""
    if key in AtomicDataDict.ROWS:
        return AtomicDataDict.ROWS[key]
    lengths = {
        "atoms": len(data[AtomicDataDict.POSITIONS_KEY]),
        "edges": data[AtomicDataDict.EDGE_INDEX_KEY].shape[1],
        "frames": AtomicDataDict.num_frames(data),
    }
    fitting = [kind for kind, n in lengths.items() if values.dim() > 0 and len(values) == n]
    return fitting[0] if len(fitting) == 1 else None


def _by_frame(key: str, values: torch.Tensor, frames: int) -> torch.Tensor:
    """One row for each frame, also where a single frame or a shared cell has no axis for it."""
    axes = {AtomicDataDict.CELL_KEY: 3, AtomicDataDict.PBC_KEY: 2}.get(key, values.dim())
    values = values if values.dim() == axes else values[None]
    return values if len(values) == frames else values.expand(frames, *values.shape[1:])


def _tensor(rows: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device)
