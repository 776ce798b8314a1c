"""Pair vectors as a tensor, with their gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.labels import Labels
from nablatom.systems.pairs import PARAMETERS, Pairs, neighbor_pairs
from nablatom.tensor import TensorMap

__all__ = ["NeighborList"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NeighborList(Explicit):
    """Vectors from atoms to their neighbors, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``first_atom_type,
    second_atom_type``, samples ``system, first_atom, second_atom, cell_shift_a, cell_shift_b,
    cell_shift_c`` (sorted), the component ``pair_xyz`` and the property ``distance``.

    Parameters
    ----------
    cutoff : length
        Pairs closer than this.
    full_neighbor_list
        Every pair in both directions; else once, from the smaller atomic number to the larger,
        from the smaller index to the larger, and with a first positive shift.
    self_pairs
        Every atom also as a pair with itself, at no distance.

    Examples
    --------
    >>> from ase.build import molecule
    >>> pairs = NeighborList(cutoff=1.5, full_neighbor_list=False)
    >>> pairs(molecule("N2")).block().values.round(4)
    array([[[ 0.  ],
            [ 0.  ],
            [-1.13]]])
    """

    cutoff: float
    full_neighbor_list: bool = True
    self_pairs: bool = False

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        Cutoff(self.cutoff, None)

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The pairs of some structures."""
        pairs = neighbor_pairs(frames, self.cutoff)
        if self.self_pairs:
            pairs = _with_self_pairs(pairs, frames)
        types = np.concatenate([frame.numbers for frame in frames])
        counts = np.array([len(frame) for frame in frames])
        first = (np.cumsum(counts) - counts)[pairs.system]
        keys = np.stack([types[first + pairs.center], types[first + pairs.neighbor]], axis=1)
        if not self.full_neighbor_list:
            kept = _once(pairs, keys)
            pairs, keys = pairs[kept], keys[kept]
        found = np.unique(keys, axis=0)
        blocks = [_block(pairs[(keys == key).all(axis=1)], gradients) for key in found]
        names = ["first_atom_type", "second_atom_type"]
        return TensorMap(Labels(names, found.astype(np.int32)), blocks)


def _once(pairs: Pairs, types: Rows) -> NDArray[np.bool_]:
    """Of every pair, the direction that goes up: in type, then in index, then in shift."""
    a, b, c = pairs.shift.T
    no_shift = (a == 0) & (b == 0) & (c == 0)
    up = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0)))) | no_shift
    same_atom = pairs.center == pairs.neighbor
    same_type = types[:, 0] == types[:, 1]
    by_index = np.where(same_atom, up, pairs.center < pairs.neighbor)
    return np.where(same_type, by_index, types[:, 0] < types[:, 1])


def _with_self_pairs(pairs: Pairs, frames: Sequence[ase.Atoms]) -> Pairs:
    system = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    atom = np.concatenate([np.arange(len(frame)) for frame in frames])
    center = np.concatenate([pairs.center, atom])
    neighbor = np.concatenate([pairs.neighbor, atom])
    system = np.concatenate([pairs.system, system])
    shift = np.concatenate([pairs.shift, np.zeros((len(atom), 3), np.int64)])
    vector = np.concatenate([pairs.vector, np.zeros((len(atom), 3))])
    order = np.lexsort((*shift.T[::-1], neighbor, center, system))
    return Pairs(system, center, neighbor, shift, vector)[order]


def _block(pairs: Pairs, gradients: Sequence[str]) -> TensorBlock:
    names = ["system", "first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]
    entries = np.column_stack([pairs.system, pairs.center, pairs.neighbor, pairs.shift])
    samples = Labels(names, entries.astype(np.int32), assume_unique=True)
    xyz, distance = Labels.range("pair_xyz", 3), Labels.range("distance", 1)
    block = TensorBlock(pairs.vector[:, :, None].copy(), samples, [xyz], distance)
    makers = {"positions": _positions, "strain": _strain, "cell": _cell}
    for name in gradients:
        values, rows = makers[name](pairs)
        components = [*PARAMETERS[name], xyz]
        block.add_gradient(name, TensorBlock(values, rows, components, distance))
    return block


def _positions(pairs: Pairs) -> tuple[NDArray[np.float64], Labels]:
    """One on the neighbor, minus one on the center; an atom and its image move together."""
    moved = np.flatnonzero(pairs.center != pairs.neighbor)
    ends = np.stack([pairs.center, pairs.neighbor], axis=1)[moved]
    order = np.argsort(ends, axis=1)
    sign = np.array([-1.0, 1.0])[order].reshape(-1, 1, 1, 1)
    atoms = np.take_along_axis(ends, order, axis=1).ravel()
    rows = np.repeat(moved, 2)
    entries = np.column_stack([rows, pairs.system[rows], atoms]).astype(np.int32)
    samples = Labels(["sample", "system", "atom"], entries, assume_unique=True)
    return sign * np.eye(3)[:, :, None], samples


def _strain(pairs: Pairs) -> tuple[NDArray[np.float64], Labels]:
    """``dv_c/dε_ab = v_a δ_bc``."""
    values = pairs.vector[:, :, None, None] * np.eye(3)
    return values[..., None], Labels.range("sample", len(pairs))


def _cell(pairs: Pairs) -> tuple[NDArray[np.float64], Labels]:
    """``dv_c/dH_kb = S_k δ_bc``."""
    values = pairs.shift[:, :, None, None] * np.eye(3)
    return values[..., None], Labels.range("sample", len(pairs))
