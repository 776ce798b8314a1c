"""Many small blocks put together, so that one call of NumPy serves hundreds of them.

An operation that treats every row alike and alone does not ask which block a row is from: the
rows of several blocks can stand below each other in one. Its labels are worked out once for a
map and kept with it, so that two maps are compared table by table instead of block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["together"]

# With fewer blocks in a run, or more bytes, there is nothing to gain.
_FEWEST, _BYTES = 32, 1 << 18


class Axes(NamedTuple):
    """The labels of a column of blocks, and where each of them ends."""

    samples: Labels
    components: tuple[Labels, ...]
    properties: Labels
    ends: list[int]


class Run(NamedTuple):
    """Consecutive blocks of a map that differ in nothing but their samples."""

    blocks: slice
    values: Axes
    gradients: dict[str, Axes]


def together(
    operation: Callable[..., TensorBlock],
    first: TensorMap,
    operands: Sequence[Any],
    options: dict[str, Any],
) -> TensorMap | None:
    """An operation on the rows of NumPy blocks, run by run; None where that has no use.

    It has none where blocks are large or few, where their labels differ too often, and where
    the labels of the operands are not the same throughout.
    """
    maps = [x for x in operands if isinstance(x, TensorMap)]
    if len(first) < _FEWEST or any(isinstance(x, TensorMap) for x in options.values()):
        return None
    runs = _runs(first)
    if not runs or not all(x is first or _same_labels(first, runs, x) for x in maps):
        return None
    blocks: list[TensorBlock] = []
    try:
        for run in runs:
            columns = [_column(x, run) if isinstance(x, TensorMap) else x for x in operands]
            blocks += _apart(operation(*columns, **options), run, first)
    except (ValueError, KeyError, TypeError):
        return None  # block by block, the error can say where it is from
    result = TensorMap.unchecked(first.keys, blocks, first.info())
    result._memo["runs"] = runs
    return result


def _runs(tensor: TensorMap) -> list[Run]:
    """The runs of a map; none if they are short on average, or cannot be put together."""
    blocks = tensor.blocks()
    runs: list[Run] | None = tensor._memo.get("runs")
    if runs is None or not all(_has_gradients_of(run, blocks[run.blocks]) for run in runs):
        bounds = list(_bounds(blocks)) if all(map(_is_plain, blocks)) else []
        long = len(bounds) * _FEWEST <= len(blocks)
        runs = tensor._memo["runs"] = [_run(blocks, *ends) for ends in bounds] if long else []
    return runs


def _has_gradients_of(run: Run, blocks: list[TensorBlock]) -> bool:
    """Whether nothing was added to the blocks since they were put together."""
    names = list(run.gradients)
    return all(block.gradients_list() == names for block in blocks) and not any(
        block.gradient(name).has_any_gradient() for name in names for block in blocks
    )


def _is_plain(block: TensorBlock) -> bool:
    """Whether a block is of NumPy, and its gradients have no gradients."""
    nested = any(gradient.has_any_gradient() for _, gradient in block.gradients())
    return isinstance(block.values, np.ndarray) and not nested


def _bounds(blocks: list[TensorBlock]) -> Iterator[tuple[int, int]]:
    """Where runs start and end."""
    start = size = 0
    for i, block in enumerate(blocks):
        own = sum(part.values.nbytes for part in (block, *dict(block.gradients()).values()))
        if i > start and (size + own > _BYTES or not _go_together(blocks[start], block)):
            yield start, i
            start, size = i, 0
        size += own
    yield start, len(blocks)


def _go_together(a: TensorBlock, b: TensorBlock) -> bool:
    """Whether two blocks differ in nothing but their samples, nor do their gradients."""
    return (
        a.properties == b.properties
        and a.components == b.components
        and a.gradients_list() == b.gradients_list()
        and all(g.components == b.gradient(name).components for name, g in a.gradients())
    )


def _run(blocks: list[TensorBlock], start: int, end: int) -> Run:
    here = blocks[start:end]
    tables = [block.samples.values for block in here]
    ends = _ends(tables)
    which = np.repeat(np.arange(len(here), dtype=np.int32), [len(table) for table in tables])
    names = ("_block", *here[0].samples.names)
    samples = Labels.unchecked(names, np.column_stack([which, np.concatenate(tables)]))
    gradients = {}
    for name in here[0].gradients_list():
        parts = [block.gradient(name) for block in here]
        gradients[name] = _gradient_axes(parts, ends[:-1])
    return Run(
        slice(start, end),
        Axes(samples, tuple(here[0].components), here[0].properties, ends),
        gradients,
    )


def _gradient_axes(parts: list[TensorBlock], starts: list[int]) -> Axes:
    tables = [part.samples.values for part in parts]
    table = np.concatenate(tables)
    table[:, 0] += np.repeat(starts, [len(part) for part in tables]).astype(np.int32)
    first = parts[0]
    samples = first.samples.with_entries(table)
    return Axes(samples, tuple(first.components), first.properties, _ends(tables))


def _ends(tables: list[NDArray[np.int32]]) -> list[int]:
    """Where each of several tables starts when they stand below each other, and the last ends."""
    return np.cumsum([0, *map(len, tables)]).tolist()


def _same_labels(first: TensorMap, runs: list[Run], tensor: TensorMap) -> bool:
    return tensor.keys == first.keys and runs == _runs(tensor)


def _column(tensor: TensorMap, run: Run) -> TensorBlock:
    """The blocks of a run as one."""
    blocks = tensor.blocks()[run.blocks]
    gradients = {
        name: _below_each_other([block.gradient(name) for block in blocks], axes)
        for name, axes in run.gradients.items()
    }
    return _below_each_other(blocks, run.values, gradients)


def _below_each_other(
    blocks: list[TensorBlock], axes: Axes, gradients: dict[str, TensorBlock] | None = None
) -> TensorBlock:
    values = np.concatenate([block.values for block in blocks])
    return TensorBlock.unchecked(values, axes.samples, axes.components, axes.properties, gradients)


def _apart(column: TensorBlock, run: Run, tensor: TensorMap) -> Iterator[TensorBlock]:
    """The blocks that one is made of, with the samples of those of a map."""
    gradients = [
        (name, axes, _pieces(column.gradient(name), axes)) for name, axes in run.gradients.items()
    ]
    pieces = _pieces(column, run.values)
    for i, block in enumerate(tensor.blocks()[run.blocks]):
        own = {
            name: _labelled(parts[i], block.gradient(name).samples, axes)
            for name, axes, parts in gradients
        }
        yield _labelled(pieces[i], block.samples, run.values, own)


def _pieces(column: TensorBlock, axes: Axes) -> list[NDArray[Any]]:
    return [column.values[start:end] for start, end in pairwise(axes.ends)]


def _labelled(
    values: NDArray[Any],
    samples: Labels,
    axes: Axes,
    gradients: dict[str, TensorBlock] | None = None,
) -> TensorBlock:
    """A block of its own samples, and of the components and properties of its run."""
    return TensorBlock.unchecked(values, samples, axes.components, axes.properties, gradients)
