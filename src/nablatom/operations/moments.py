"""The rules behind the reductions: weighted sums, means and variances of groups of entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, remembered
from nablatom.operations.chain import Route, bilinear, elementwise, linear, pointwise, scatter

__all__ = [
    "Groups",
    "Means",
    "deviation",
    "groups_of",
    "mean_of_properties",
    "mean_of_samples",
    "means_of_properties",
    "means_of_samples",
    "property_weights",
    "reduced_labels",
    "sample_weights",
    "sum_of_properties",
    "variance",
    "weighted",
]


# -- which entries go together ---------------------------------------------------------


def reduced_labels(
    labels: Labels, axis: str, names: str | Sequence[str], groups: Labels | None
) -> Route:
    """Where each entry goes when some dimensions are reduced."""
    reduced = (names,) if isinstance(names, str) else tuple(names)
    for name in reduced:
        if name not in labels.names:
            raise ValueError(f"no {axis} dimension {name!r}: they are {labels.names}")
    if groups is None:
        return _reduced(labels, *reduced)
    return _grouped(labels, groups, *reduced)


@remembered
def _reduced(labels: Labels, *names: str) -> Route:
    return Route(*labels.unique([name for name in labels.names if name not in names]))


@remembered
def _grouped(labels: Labels, groups: Labels, *names: str) -> Route:
    """The same, with the dimensions that ``groups`` add to each entry."""
    shared = [name for name in groups.names if name in labels.names]
    added = [name for name in groups.names if name not in labels.names]
    if not shared or not added:
        raise ValueError(
            f"groups need dimensions of the labels, {labels.names}, and others beside them, got "
            f"{groups.names}"
        )
    entries, of_group = groups.unique(shared)
    if len(entries) < len(groups):
        twice = entries[int(np.bincount(of_group).argmax())]
        raise ValueError(f"groups must have one row for each {shared}, got several for {twice}")
    distinct, of_label = labels.unique(shared)
    place = entries.union_and_mapping(distinct)[2]
    if len(missing := np.flatnonzero(place >= len(entries))):
        raise ValueError(f"groups do not have {distinct[int(missing[0])]}")
    row = np.empty(len(groups), np.int64)
    row[of_group] = np.arange(len(groups))
    at = row[place[of_label]]
    for name in added:
        labels = labels.append(name, groups.column(name)[at])
    return _reduced(labels, *names)


# -- weights ---------------------------------------------------------------------------


def sample_weights(tensor: TensorBlock, weights: Any) -> TensorBlock | None:
    """The weights as a block of one property, with as many components as the tensor has."""
    if weights is None:
        return None
    if not isinstance(weights, TensorBlock):
        column = _checked_numbers(tensor, weights, "samples", len(tensor))
        return _column_block(
            tensor, TensorBlock.unchecked(column[:, None], tensor.samples, (), Labels.single())
        )
    if weights.samples != tensor.samples or weights.components or weights.shape[-1] != 1:
        raise ValueError(
            "weights over samples need the same samples in the same order, one property and no "
            f"components, got {weights!r}"
        )
    return _column_block(tensor, weights)


def _column_block(tensor: TensorBlock, weights: TensorBlock) -> TensorBlock:
    """A block of one column with axes of length 1 for the components of another."""
    axes = [Labels.range(f"_{i}", 1) for i in range(len(tensor.components))]

    def widened(block: TensorBlock) -> TensorBlock:
        shape = (*block.shape[:-1], *[1] * len(axes), 1)
        gradients = {name: widened(g) for name, g in block.gradients()}
        return TensorBlock.unchecked(
            block.values.reshape(shape),
            block.samples,
            (*block.components, *axes),
            block.properties,
            gradients,
        )

    return widened(weights) if axes else weights


def property_weights(tensor: TensorBlock, weights: Any) -> Array | None:
    """The weights as an array of one number for each property."""
    if weights is None:
        return None
    if not isinstance(weights, TensorBlock):
        return _checked_numbers(tensor, weights, "properties", tensor.shape[-1])
    if weights.properties != tensor.properties or weights.shape != (1, tensor.shape[-1]):
        raise ValueError(
            "weights over properties need the same properties in the same order, one sample and "
            f"no components, got {weights!r}"
        )
    if weights.has_any_gradient():
        raise ValueError(
            "weights over properties are constants, but these have gradients "
            f"{weights.gradients_list()}: take them away with remove_gradients, or use dot, which "
            "has a product rule"
        )
    return weights.values[0]


def _checked_numbers(tensor: TensorBlock, weights: Any, axis: str, count: int) -> Array:
    numbers = weights if arrays.is_array(weights) else np.asarray(weights)
    if tuple(numbers.shape) != (count,):
        raise ValueError(
            f"weights must have shape ({count},), one number for each of the {axis}, got "
            f"{tuple(numbers.shape)}"
        )
    if arrays.namespace(tensor.values).isdtype(tensor.dtype, "integral"):
        raise TypeError(
            f"weights need values with a fraction, got {arrays.dtype_name(tensor.values)}: "
            "convert them with .to(dtype=…)"
        )
    if isinstance(numbers, np.ndarray):
        return arrays.constant(numbers, like=tensor.values)
    return numbers


# -- the rules -------------------------------------------------------------------------


def weighted(x: TensorBlock, w: TensorBlock | None) -> TensorBlock:
    """``w x``: a constant factor for each sample, or a product of two things with gradients."""
    if w is None:
        return x
    if not w.has_any_gradient():
        return _by_sample(lambda values, factor: values * factor, x, w.values)
    x, w = _with_same_gradients(x, w), _with_same_gradients(w, x)
    return bilinear(lambda a, b: a * b, x, w, components=x.components, properties=x.properties)


def mean_of_samples(x: TensorBlock, route: Route, w: TensorBlock | None) -> TensorBlock:
    """``sum w x / sum w`` over the samples that go together."""
    total = scatter(weighted(x, w), route)
    if w is None or not w.has_any_gradient():
        return _by_sample(lambda values, sums: values / sums, total, _sample_sums(x, route, w))
    weight = _shifted(scatter(w, route), groups_of(route).size == 0)
    weight = _with_same_gradients(weight, total)
    return pointwise(
        lambda a, b: a / b,
        lambda a, b, da, db: (da - a / b * db) / b,
        total,
        weight,
        components=x.components,
        properties=x.properties,
    )


def _sample_sums(x: TensorBlock, route: Route, w: TensorBlock | None) -> Array:
    """``sum w`` of each group, or 1 if it is empty: the mean of nothing is zero."""
    groups = groups_of(route)
    if w is None:
        number = arrays.constant(groups.at_least_one, like=x.values)
        return number.reshape((-1, *[1] * (len(x.shape) - 1)))
    sums = arrays.add_rows(w.values, route.rows, len(route.samples))
    return sums + arrays.constant(groups.size == 0, like=sums).reshape((-1, *[1] * (sums.ndim - 1)))


def sum_of_properties(x: TensorBlock, route: Route, w: Array | None) -> TensorBlock:
    """``sum w x`` over the properties that go together."""
    groups = groups_of(route)

    def summed(values: Array) -> Array:
        return arrays.add_columns(values if w is None else values * w, route.rows, groups.columns)

    return linear(summed, x, properties=route.samples)


def mean_of_properties(x: TensorBlock, route: Route, w: Array | None) -> TensorBlock:
    """``sum w x / sum w`` over the properties that go together."""
    sums = _property_sums(x, route, w)
    return linear(lambda values: values / sums, sum_of_properties(x, route, w))


def _property_sums(x: TensorBlock, route: Route, w: Array | None) -> Array:
    """``sum w`` of each group, or 1 if it is empty."""
    groups = groups_of(route)
    if w is None:
        return arrays.constant(groups.at_least_one, like=x.values)
    sums = arrays.add_columns(w[None], route.rows, groups.columns)[0]
    return sums + arrays.constant(groups.size == 0, like=sums)


class Groups(NamedTuple):
    """What a route says of its groups."""

    size: NDArray[np.int64]
    at_least_one: NDArray[np.int64]
    columns: arrays.Columns


def groups_of(route: Route) -> Groups:
    """The groups that a route leads to."""
    return _groups_of(route.samples, route)


@remembered
def _groups_of(samples: Labels, route: Route) -> Groups:
    size = np.bincount(route.rows, minlength=len(samples))
    return Groups(size, np.maximum(size, 1), arrays.columns(route.rows, len(samples)))


class Means(NamedTuple):
    """How to average over the entries that go together."""

    center: Callable[[Array], Array]
    """The mean of each group."""
    spread: Callable[[Array], Array]
    """The number of its group for every entry."""
    squares: Callable[[TensorBlock, Array], TensorBlock]
    """The mean of the squares of the deviations from the mean, which are given."""
    entries: NDArray[np.int64]
    """How many entries a group has, in a shape that goes with the result."""


def means_of_samples(x: TensorBlock, route: Route, weights: Any) -> Means:
    """Means over the samples that go together."""
    w = sample_weights(x, weights)
    sums = _sample_sums(x, route, w)

    def center(values: Array) -> Array:
        values = values if w is None else values * w.values
        return arrays.add_rows(values, route.rows, len(route.samples)) / sums

    def squares(block: TensorBlock, off: Array) -> TensorBlock:
        if w is not None and w.has_any_gradient():
            return mean_of_samples(_squares(block, off, off), route, w)
        share = arrays.take(1 / sums, route.rows)
        return scatter(
            _squares(block, off, off * (share if w is None else share * w.values)), route
        )

    entries = groups_of(route).size.reshape((-1, *[1] * (len(x.shape) - 1)))
    return Means(center, lambda mean: arrays.take(mean, route.rows), squares, entries)


def means_of_properties(x: TensorBlock, route: Route, weights: Any) -> Means:
    """Means over the properties that go together."""
    w = property_weights(x, weights)
    groups, sums = groups_of(route), _property_sums(x, route, w)

    def center(values: Array) -> Array:
        values = values if w is None else values * w
        return arrays.add_columns(values, route.rows, groups.columns) / sums

    def squares(block: TensorBlock, off: Array) -> TensorBlock:
        share = arrays.take(1 / sums, route.rows)
        shared = _squares(block, off, off * (share if w is None else share * w))
        return sum_of_properties(shared, route, None)

    return Means(center, lambda mean: arrays.take(mean, route.rows, axis=-1), squares, groups.size)


def _squares(block: TensorBlock, off: Array, weighted: Array) -> TensorBlock:
    """``w (x - c)^2`` from the deviations and the weighted ones, with ``c`` kept fixed.

    The mean moves with the values too, but ``<x - c> dc`` is zero: its gradients, which have
    rows for every pair of samples in a group, are never needed.
    """
    return elementwise(lambda _: off * weighted, lambda _: 2 * weighted, block)


def variance(x: TensorBlock, means: Means) -> TensorBlock:
    """``<(x - <x>)^2>``."""
    return means.squares(x, x.values - means.spread(means.center(x.values)))


def deviation(x: TensorBlock, means: Means) -> TensorBlock:
    """The root of the variance, whose slope at zero, where there is none, counts as zero.

    Zero is what rounding leaves: a mean of ``n`` equal numbers is off by up to ``n + 2`` times
    the precision, and a slope from that would be noise of order one.
    """
    center = means.center(x.values)
    squares = means.squares(x, x.values - means.spread(center))
    xp = arrays.namespace(center)
    rounding = xp.finfo(center.dtype).eps * arrays.constant(means.entries + 2, like=center)
    spread = squares.values > (rounding * center) ** 2
    # masked before the root as well: its own derivative at zero is infinite
    root = xp.where(spread, squares.values, 1) ** 0.5
    nothing = 0 * squares.values
    return elementwise(
        lambda _: xp.where(spread, root, nothing),
        lambda _: xp.where(spread, 0.5 / root, nothing),
        squares,
    )


def _by_sample(
    function: Callable[[Array, Array], Array], block: TensorBlock, column: Array
) -> TensorBlock:
    """``function(x, c)``, linear in ``x``, with one constant for each sample.

    ``column`` has shape ``(samples, 1, …, 1)``; gradients, and theirs, take the constant of the
    sample they belong to.
    """
    gradients = {}
    for name, gradient in block.gradients():
        rows = gradient.samples.column("sample")
        own = len(gradient.shape) - len(block.shape)
        shape = (len(rows), *[1] * own, *column.shape[1:])
        gradients[name] = _by_sample(function, gradient, arrays.take(column, rows).reshape(shape))
    return TensorBlock.unchecked(
        function(block.values, column), block.samples, block.components, block.properties, gradients
    )


def _shifted(block: TensorBlock, empty: Array) -> TensorBlock:
    """The same gradients, and one more in the rows that nothing was added to."""
    shift = arrays.constant(empty, like=block.values).reshape((-1, *[1] * (len(block.shape) - 1)))
    return TensorBlock.unchecked(
        block.values + shift,
        block.samples,
        block.components,
        block.properties,
        dict(block.gradients()),
    )


def _with_same_gradients(block: TensorBlock, other: TensorBlock) -> TensorBlock:
    """The block with gradients that have no rows where only the other one has any."""
    gradients = {}
    for name in dict.fromkeys([*block.gradients_list(), *other.gradients_list()]):
        if block.has_gradient(name):
            gradients[name] = block.gradient(name)
            continue
        like = other.gradient(name)
        own = like.components[: len(like.components) - len(other.components)]
        components = [*own, *block.components]
        shape = (0, *[len(axis) for axis in [*components, block.properties]])
        gradients[name] = TensorBlock.unchecked(
            arrays.filled(shape, 0, block.values),
            Labels.empty(like.samples.names),
            components,
            block.properties,
        )
    return TensorBlock.unchecked(
        block.values, block.samples, block.components, block.properties, gradients
    )
