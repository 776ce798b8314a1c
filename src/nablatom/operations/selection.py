"""Choosing, ordering and joining what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered
from nablatom.operations.chain import Route, gather, linear
from nablatom.operations.lift import blockwise
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["remove_gradients", "slice", "sort"]

_AXES = ("samples", "components", "properties", "keys")


@blockwise
def slice(a: TensorBlock, axis: str, selection: Labels | Sequence[int]) -> TensorBlock:
    """The entries of one axis that match a selection, in their old order.

    ``selection`` are labels with some of the dimensions of the axis, or indices, which also
    set the order. Gradient rows follow their samples. Blocks without any match stay, empty.

    Raises
    ------
    ValueError
        If the axis is not ``"samples"`` or ``"properties"``, or has no such dimension.
    IndexError
        If an index is out of range.
    """
    if axis == "samples":
        return gather(a, _chosen(a.samples, selection))
    if axis != "properties":
        raise ValueError(f'axis must be "samples" or "properties", got {axis!r}')
    chosen = _chosen(a.properties, selection)
    return linear(lambda x: arrays.take(x, chosen.rows, axis=-1), a, properties=chosen.samples)


def _chosen(labels: Labels, selection: Labels | Sequence[int]) -> Route:
    if isinstance(selection, Labels):
        return _selected(labels, selection)
    rows = np.asarray(selection)
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if len(rows) and (rows.min() < -len(labels) or rows.max() >= len(labels)):
        raise IndexError(f"indices must be below {len(labels)}, got {rows.min()} to {rows.max()}")
    rows = rows.astype(np.int64) % max(1, len(labels))
    if len(np.unique(rows)) != len(rows):
        raise ValueError("an index occurs more than once")
    return Route(labels.take(rows), rows)


@remembered
def _selected(labels: Labels, selection: Labels) -> Route:
    rows = labels.select(selection)
    return Route(labels.take(rows), rows)


@traceable
def sort(a: Any, axes: str | Sequence[str] = "all", descending: bool = False) -> Any:
    """The same entries in lexicographic order of their labels.

    ``axes`` are some of ``"samples"``, ``"components"``, ``"properties"`` and, for maps,
    ``"keys"``. Gradient rows are sorted with the samples.

    Raises
    ------
    ValueError
        If an axis has another name.
    """
    chosen = list(_AXES) if axes == "all" else [axes] if isinstance(axes, str) else list(axes)
    for axis in chosen:
        if axis not in _AXES:
            raise ValueError(f"axes are {', '.join(_AXES)} or all, got {axis!r}")
    result = _sorted(a, chosen, descending)
    if isinstance(a, TensorMap) and "keys" in chosen:
        order = _order(a.keys, descending)
        blocks = result.blocks_by_id(order.tolist())
        return TensorMap.unchecked(a.keys.take(order), blocks, a.info())
    return result


@blockwise
def _sorted(a: TensorBlock, axes: list[str], descending: bool) -> TensorBlock:
    if "samples" in axes:
        a = _sorted_samples(a, descending)
    if "components" in axes:
        a = _sorted_components(a, descending)
    if "properties" in axes:
        order = _order(a.properties, descending)
        a = linear(lambda x: arrays.take(x, order, axis=-1), a, properties=a.properties.take(order))
    return a


def _order(labels: Labels, descending: bool) -> Rows:
    return labels.order()[::-1] if descending else labels.order()


def _sorted_samples(a: TensorBlock, descending: bool) -> TensorBlock:
    order = _order(a.samples, descending)
    a = gather(a, Route(a.samples.take(order), order))
    gradients = {name: _sorted_samples(g, descending) for name, g in a.gradients()}
    return TensorBlock.unchecked(a.values, a.samples, a.components, a.properties, gradients)


def _sorted_components(a: TensorBlock, descending: bool) -> TensorBlock:
    """The components of the values and, in their gradients, the parameter's own too."""
    values = a.values
    orders = [_order(component, descending) for component in a.components]
    for axis, order in enumerate(orders, start=1):
        values = arrays.take(values, order, axis=axis)
    components = [c.take(order) for c, order in zip(a.components, orders, strict=True)]
    gradients = {name: _sorted_components(g, descending) for name, g in a.gradients()}
    return TensorBlock.unchecked(values, a.samples, components, a.properties, gradients)


@blockwise
def remove_gradients(a: TensorBlock, remove: str | Sequence[str] | None = None) -> TensorBlock:
    """The same values without some gradients, or without any.

    Raises
    ------
    KeyError
        If a gradient to remove is not there.
    """
    names = [remove] if isinstance(remove, str) else remove
    for name in names or []:
        a.gradient(name)
    kept = {name: g for name, g in a.gradients() if names is not None and name not in names}
    return TensorBlock.unchecked(a.values, a.samples, a.components, a.properties, kept)
