"""Parts of maps and blocks by what their labels say: ``tensor.loc(…)`` and ``block.loc(…)``."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, remembered
from nablatom.operations.chain import Route, gather, linear
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["loc"]

Pick = tuple[Any, ...]
"""``("in", values…)`` or ``("from", start, stop, step)``: what a value may be, and hashable."""


def loc(tensor: Any, selection: Mapping[str, Any]) -> Any:
    """The part of a map or of a block whose labels have these values, as views where possible.

    See :meth:`nablatom.TensorMap.loc` and :meth:`nablatom.TensorBlock.loc`.
    """
    picks = tuple([(name, _pick(name, wanted)) for name, wanted in selection.items()])
    return (_part_of_map if isinstance(tensor, TensorMap) else _part_of_block)(tensor, picks)


@traceable
def _part_of_map(tensor: TensorMap, picks: tuple[tuple[str, Pick], ...]) -> TensorMap:
    of_keys = tuple([(name, pick) for name, pick in picks if name in tensor.keys.names])
    others = tuple([(name, pick) for name, pick in picks if name not in tensor.keys.names])
    route = _route(tensor.keys, *of_keys)
    blocks = tensor.blocks_by_id(route.rows.tolist()) if of_keys else tensor.blocks()
    if others:
        blocks = [_checked_part(tensor, block, others) for block in blocks]
    return TensorMap.unchecked(route.samples, blocks, tensor.info())


def _checked_part(
    tensor: TensorMap, block: TensorBlock, picks: tuple[tuple[str, Pick], ...]
) -> TensorBlock:
    try:
        return _part_of_block(block, picks)
    except ValueError as error:
        error.add_note(f"the keys have {tensor.keys.names}")
        raise


@traceable
def _part_of_block(block: TensorBlock, picks: tuple[tuple[str, Pick], ...]) -> TensorBlock:
    axes = [block.samples, *block.components, block.properties]
    chosen: list[list[tuple[str, Pick]]] = [[] for _ in axes]
    for name, pick in picks:
        chosen[_axis_of(name, axes)].append((name, pick))
    if chosen[0]:
        block = gather(block, _route(block.samples, *chosen[0]), take=arrays.part)
    for i in range(1, len(axes)):
        if chosen[i]:
            block = _narrowed(block, i, _route(axes[i], *chosen[i]))
    return block


def _axis_of(name: str, axes: list[Labels]) -> int:
    found = [i for i, labels in enumerate(axes) if name in labels.names]
    if not found:
        there = [name for labels in axes for name in labels.names]
        raise ValueError(f"no dimension {name!r} in the block: it has {there}")
    if len(found) > 1:
        raise ValueError(
            f"{name!r} is a dimension of more than one axis of the block; rename_dimension tells "
            "them apart"
        )
    return found[0]


def _narrowed(block: TensorBlock, axis: int, route: Route) -> TensorBlock:
    """Some entries of a component (axis 1, 2, …) or of the properties (the last axis)."""
    axes = [*block.components, block.properties]
    from_right = axis - 1 - len(axes)
    axes[from_right] = route.samples
    return linear(
        lambda x: arrays.part(x, route.rows, from_right),
        block,
        components=axes[:-1],
        properties=axes[-1],
    )


@remembered
def _route(labels: Labels, *picks: tuple[str, Pick]) -> Route:
    """The entries that every pick allows."""
    allowed = np.ones(len(labels), bool)
    for name, pick in picks:
        allowed &= _allowed(labels.column(name), pick)
    rows = np.flatnonzero(allowed)
    return Route(labels if len(rows) == len(labels) else labels.take(rows), rows)


def _allowed(column: NDArray[np.int32], pick: Pick) -> NDArray[np.bool_]:
    kind, *values = pick
    if kind == "in":
        return column == values[0] if len(values) == 1 else np.isin(column, values)
    start, stop, step = values
    allowed = np.ones(len(column), bool)
    if start is not None:
        allowed &= column >= start
    if stop is not None:
        allowed &= column < stop
    if step is not None:
        allowed &= (column - (start or 0)) % step == 0
    return allowed


def _bounds(name: str, wanted: slice) -> list[int | None]:
    bounds = [
        None if bound is None else operator.index(bound)
        for bound in (wanted.start, wanted.stop, wanted.step)
    ]
    if bounds[-1] is not None and bounds[-1] < 1:
        raise ValueError(f"{name}: the step must be 1 or more, got {wanted.step}")
    return bounds


def _pick(name: str, wanted: Any) -> Pick:
    try:
        if isinstance(wanted, slice):
            return ("from", *_bounds(name, wanted))
        values = arrays.to_numpy(wanted).tolist() if arrays.is_array(wanted) else wanted
        if not isinstance(values, list | tuple | set | frozenset | range):
            values = [values]
        return ("in", *[operator.index(value) for value in values])
    except TypeError:
        raise TypeError(
            f"{name}: expected an integer, several of them or a slice, got {wanted!r}"
        ) from None
