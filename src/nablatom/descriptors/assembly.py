"""Parts of a tensor, each of some structures → one tensor, in memory of choice."""

from collections.abc import Sequence

import ase
import numpy as np
from numpy.typing import DTypeLike

from nablatom.block import TensorBlock
from nablatom.descriptors.storage import Workspace
from nablatom.labels import Labels
from nablatom.operations import join
from nablatom.tensor import TensorMap

__all__ = ["assembled", "placed", "ranges", "renumbered"]


def ranges(frames: Sequence[ase.Atoms], count: int) -> list[tuple[int, int]]:
    """Up to so many ranges of structures, with about as many atoms each and at least one.

    Examples
    --------
    >>> from ase.build import molecule
    >>> ranges([molecule("H2O"), molecule("H2"), molecule("N2"), ase.Atoms()], 2)
    [(0, 1), (1, 4)]
    """
    atoms = np.array([len(frame) for frame in frames])
    middle = np.cumsum(atoms) - atoms / 2
    part = np.floor(middle * count / atoms.sum()).clip(0, count - 1)
    starts = np.flatnonzero(np.diff(part[atoms > 0], prepend=-1))
    first = np.flatnonzero(atoms > 0)[starts]
    ends = [*first[1:].tolist(), len(frames)]
    return list(zip([0, *first[1:].tolist()], ends, strict=True))


def renumbered(tensor: TensorMap, first: int) -> TensorMap:
    """The tensor of some structures, with systems counted from ``first``."""
    if first == 0:
        return tensor
    blocks = [_renumbered_block(block, first) for block in tensor.blocks()]
    return TensorMap.unchecked(tensor.keys, blocks, dict(tensor.info()))


def _renumbered_block(block: TensorBlock, first: int) -> TensorBlock:
    gradients = {name: _renumbered_block(g, first) for name, g in block.gradients()}
    names = block.samples.names
    values = block.samples.values + first * (np.array(names) == "system").astype(np.int32)
    samples = Labels.unchecked(tuple(names), np.ascontiguousarray(values, np.int32))
    components = tuple(block.components)
    return TensorBlock.unchecked(block.values, samples, components, block.properties, gradients)


def assembled(parts: Sequence[TensorMap]) -> TensorMap:
    """The parts one after the other; blocks in the order of their types, then of ``o3``."""
    whole = join(parts, "samples", different_keys="union") if len(parts) > 1 else parts[0]
    names = whole.keys.names
    columns = sorted(range(len(names)), key=lambda k: names[k].startswith("o3_"))
    table = whole.keys.values[:, columns]
    order = np.lexsort(table.T[::-1])
    blocks = [whole.block_by_id(k) for k in order.tolist()]
    return TensorMap.unchecked(whole.keys.take(order), blocks, dict(whole.info()))


def placed(tensor: TensorMap, dtype: DTypeLike, out: Workspace | None) -> TensorMap:
    """The tensor with numbers of a dtype, in the memory of a workspace if there is one."""
    if out is None and np.dtype(dtype) == np.float64:
        return tensor
    sizes: dict[str, int] = {}
    for block in tensor.blocks():
        for name, part in (("values", block), *block.gradients()):
            sizes[name] = sizes.get(name, 0) + part.values.size
    workspace = Workspace() if out is None else out
    free = {name: workspace.array(f"{name} 0", size, dtype) for name, size in sizes.items()}

    def moved(name: str, block: TensorBlock) -> TensorBlock:
        size = block.values.size
        values, free[name] = free[name][:size].reshape(block.shape), free[name][size:]
        values[...] = block.values
        gradients = {key: moved(key, part) for key, part in block.gradients()}
        components = tuple(block.components)
        return TensorBlock.unchecked(values, block.samples, components, block.properties, gradients)

    blocks = [moved("values", block) for block in tensor.blocks()]
    return TensorMap.unchecked(tensor.keys, blocks, dict(tensor.info()))
