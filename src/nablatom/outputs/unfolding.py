"""A periodic system as a finite one, in which every image that matters is an atom of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.models import AtomicDataDict
from nablatom.outputs.clusters import row_kind

__all__ = ["Unfolded", "unfolded"]

Rows = NDArray[np.int64]

# What follows from positions and edges, and is made anew.
FOLLOWING = frozenset(
    {
        AtomicDataDict.EDGE_INDEX_KEY,
        AtomicDataDict.EDGE_VECTORS_KEY,
        AtomicDataDict.EDGE_LENGTH_KEY,
        AtomicDataDict.BATCH_KEY,
        AtomicDataDict.NUM_NODES_KEY,
    }
)


@dataclass(frozen=True, eq=False, slots=True)
class Unfolded:
    """Atoms of the frames, then their images within reach, and edges without periodicity.

    Attributes
    ----------
    data
        What a model reads. The energies of the atoms of the frames, which come first and in
        their order, are those in the periodic system; those of the images are not.
    atom : (unfolded atoms,)
        Which atom of the frames each one is an image of.
    """

    data: AtomicDataDict.Type
    atom: torch.Tensor


def unfolded(data: AtomicDataDict.Type, hops: int) -> Unfolded:
    """The system that the energies of the frames' own atoms depend on, with no periodicity.

    Every atom and image that is the center of an edge at most ``hops - 1`` edges away from the
    frame has all its edges. Positions of images follow those of their atoms and the cell, also
    in autograd.

    Parameters
    ----------
    data
        One frame, or many, with neighbors.
    hops
        How many edges away an atom can have an influence on an energy.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict
    >>> copper = AtomicDataDict.from_ase(bulk("Cu", a=3.6), cutoff=2.6)
    >>> [len(unfolded(copper, hops).atom) for hops in (1, 2)]  # shells of a cuboctahedron
    [13, 55]
    """
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].cpu().numpy()
    atoms = len(data[AtomicDataDict.POSITIONS_KEY])
    crossed = _shifts(data, len(center))
    atom, cell, edges, ends = _grown(center, neighbor, crossed, atoms, hops)
    like = data[AtomicDataDict.EDGE_INDEX_KEY]
    image = torch.as_tensor(atom, device=like.device)
    rows = {"atoms": image, "edges": torch.as_tensor(edges, device=like.device)}
    result = {
        key: x if kind == "frames" else x.index_select(0, rows[kind])
        for key, x in data.items()
        if key not in FOLLOWING and (kind := row_kind(key, x, data))
    }
    result[AtomicDataDict.POSITIONS_KEY] = _positions(data, image, cell)
    result[AtomicDataDict.EDGE_INDEX_KEY] = torch.as_tensor(ends, device=like.device)
    if AtomicDataDict.EDGE_CELL_SHIFT_KEY in result:
        shifts = result[AtomicDataDict.EDGE_CELL_SHIFT_KEY]
        result[AtomicDataDict.EDGE_CELL_SHIFT_KEY] = torch.zeros_like(shifts)
    if AtomicDataDict.BATCH_KEY in data:
        result[AtomicDataDict.BATCH_KEY] = data[AtomicDataDict.BATCH_KEY][image]
    if AtomicDataDict.NUM_NODES_KEY in data:
        frames = AtomicDataDict.num_frames(data)
        counts = torch.bincount(data[AtomicDataDict.BATCH_KEY][image], minlength=frames)
        result[AtomicDataDict.NUM_NODES_KEY] = counts
    return Unfolded(result, image)


def _shifts(data: AtomicDataDict.Type, edges: int) -> Rows:
    """Whole cells that each edge crosses, (edges, 3)."""
    if AtomicDataDict.EDGE_CELL_SHIFT_KEY not in data:
        return np.zeros((edges, 3), np.int64)
    return data[AtomicDataDict.EDGE_CELL_SHIFT_KEY].detach().cpu().numpy().round().astype(np.int64)


def _grown(
    center: Rows, neighbor: Rows, shifts: Rows, atoms: int, hops: int
) -> tuple[Rows, Rows, Rows, Rows]:
    """Atom and cell of each node; for each edge, which one it is of the frames, and its ends."""
    order = np.argsort(center, kind="stable")
    count = np.bincount(center, minlength=atoms)
    first = np.cumsum(count) - count
    atom, cell = np.arange(atoms), np.zeros((atoms, 3), np.int64)
    edges, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    begin = 0
    for _ in range(hops):
        front = np.arange(begin, len(atom))
        begin = len(atom)
        of = count[atom[front]]
        place = np.arange(of.sum()) - np.repeat(np.cumsum(of) - of, of)
        edges.append(order[np.repeat(first[atom[front]], of) + place])
        starts.append(np.repeat(front, of))
        reached = np.column_stack([neighbor[edges[-1]], cell[starts[-1]] + shifts[edges[-1]]])
        atom, cell = _with_new(atom, cell, reached)
    every, start = np.concatenate(edges), np.concatenate(starts)
    end = _places(atom, cell, neighbor[every], cell[start] + shifts[every])
    return atom, cell, every, np.stack([start, end])


def _with_new(atom: Rows, cell: Rows, reached: Rows) -> tuple[Rows, Rows]:
    """The nodes, and those reached that are not among them."""
    old = np.column_stack([atom, cell])
    _, first = np.unique(np.concatenate([old, reached]), axis=0, return_index=True)
    new = reached[np.sort(first[first >= len(old)]) - len(old)]
    return np.concatenate([atom, new[:, 0]]), np.concatenate([cell, new[:, 1:]])


def _places(atom: Rows, cell: Rows, of_atom: Rows, of_cell: Rows) -> Rows:
    """Where these nodes stand; each of them is there."""
    nodes, wanted = np.column_stack([atom, cell]), np.column_stack([of_atom, of_cell])
    _, inverse = np.unique(np.concatenate([nodes, wanted]), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    place = np.empty(len(nodes), np.int64)
    place[inverse[: len(nodes)]] = np.arange(len(nodes))
    return place[inverse[len(nodes) :]]


def _positions(data: AtomicDataDict.Type, image: torch.Tensor, cell: Rows) -> torch.Tensor:
    positions = data[AtomicDataDict.POSITIONS_KEY].index_select(0, image)
    if AtomicDataDict.CELL_KEY not in data or not cell.any():
        return positions
    vectors = data[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3)
    whole = torch.as_tensor(cell).to(positions)
    if len(vectors) == 1:
        return positions + whole @ vectors[0]
    frame = AtomicDataDict.frame_of_atoms(data)[image]
    return positions + torch.einsum("ia,iab->ib", whole, vectors.index_select(0, frame))
