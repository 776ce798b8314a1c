"""The rules behind the reductions: weighted sums, means and variances of groups of entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, listed_names, remembered
from nablatom.operations.chain import (
    Route,
    Slope,
    linear,
    once,
    scaled,
    scatter,
    scatter_scaled,
)
from nablatom.operations.operands import check_labels, check_library

__all__ = [
    "Groups",
    "Moments",
    "deviation",
    "groups_of",
    "mean_of_properties",
    "mean_of_samples",
    "moments_of_properties",
    "moments_of_samples",
    "property_weights",
    "reduced_labels",
    "sample_weights",
    "sum_of_properties",
    "sum_of_samples",
    "variance",
]


# -- which entries go together ---------------------------------------------------------


def reduced_labels(
    labels: Labels, axis: str, names: str | Sequence[str], groups: Labels | None
) -> Route:
    """Where each entry goes when some dimensions are reduced."""
    reduced = listed_names(names)
    for name in reduced:
        if name not in labels.names:
            raise ValueError(f"no {axis} dimension {name!r}: they are {labels.names}")
    if groups is None:
        return _reduced(labels, *reduced)
    check_labels("a reduction", groups, "groups")
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
    check_library([tensor, weights])
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
    check_library([tensor, weights])
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


# -- sums and means --------------------------------------------------------------------


def sum_of_samples(x: TensorBlock, route: Route, w: TensorBlock | None) -> TensorBlock:
    """``sum w x``: a constant factor for each sample, or a product of two with gradients."""
    if w is None:
        return scatter(x, route)
    factors = w.values.reshape(-1)
    if not w.has_any_gradient():
        return scatter(x, route, factors)
    values = arrays.add_rows(x.values, route.rows, len(route.samples), factors)
    return scatter_scaled(values, route, (x, _at(w.values)), (w, _at(x.values)))


def mean_of_samples(x: TensorBlock, route: Route, w: TensorBlock | None) -> TensorBlock:
    """``sum w x / sum w`` over the samples that go together."""
    if w is None or not w.has_any_gradient():
        return scatter(x, route, _shares_of_samples(x, route, w))
    shares, inverse = _shares_of_samples(x, route, w), _inverse_weights(x, route, w)
    center = arrays.add_rows(x.values, route.rows, len(route.samples), shares)

    def by_weight(rows: Any) -> Array:
        group = route.rows[rows]
        off = arrays.rows_of(x.values, rows) - arrays.take(center, group)
        return off * arrays.take(inverse, group)

    by_value = _at(arrays.column(shares, x.values))
    return scatter_scaled(center, route, (x, by_value), (w, by_weight))


def _at(values: Array) -> Slope:
    return lambda rows: arrays.rows_of(values, rows)


def _inverse_weights(x: TensorBlock, route: Route, w: TensorBlock) -> Array:
    """``1 / sum w`` of each group, in a shape that goes with the values."""
    sums = arrays.add_rows(w.values.reshape(-1), route.rows, len(route.samples))
    # a group without weight has no entries: any other number will do
    sums = sums + arrays.constant(groups_of(route).size == 0, like=sums)
    return arrays.column(1 / sums, x.values)


def _shares_of_samples(x: TensorBlock, route: Route, w: TensorBlock | None) -> Array:
    """``w / sum w`` of each sample."""
    if w is None:
        return 1 / arrays.constant(groups_of(route).size_of_entry, like=x.values)
    inverse = _inverse_weights(x, route, w).reshape(-1)
    return w.values.reshape(-1) * arrays.take(inverse, route.rows)


def sum_of_properties(x: TensorBlock, route: Route, w: Array | None) -> TensorBlock:
    """``sum w x`` over the properties that go together."""
    summed = _summed(route)
    if w is None:
        return linear(summed, x, properties=route.samples)
    return linear(
        lambda y: arrays.in_pieces(lambda part: summed(part * w), y), x, properties=route.samples
    )


def mean_of_properties(x: TensorBlock, route: Route, w: Array | None) -> TensorBlock:
    """``sum w x / sum w`` over the properties that go together."""
    return linear(_averaged(x, route, w), x, properties=route.samples)


def _summed(route: Route) -> Callable[[Array], Array]:
    """What adds the columns that go together."""
    columns = groups_of(route).columns
    return lambda x: arrays.add_columns(x, route.rows, columns)


def _averaged(x: TensorBlock, route: Route, w: Array | None) -> Callable[[Array], Array]:
    """What takes the mean of the columns that go together, for arrays like the values."""
    summed = _summed(route)
    if w is not None:
        shares = _shares_of_properties(x, route, w)
        return lambda y: arrays.in_pieces(lambda part: summed(part * shares), y)
    count = arrays.constant(groups_of(route).divisor, like=x.values)
    return lambda y: summed(y) / count


def _shares_of_properties(x: TensorBlock, route: Route, w: Array | None) -> Array:
    """``w / sum w`` of each property."""
    groups = groups_of(route)
    if w is None:
        return 1 / arrays.constant(groups.size_of_entry, like=x.values)
    sums = arrays.add_columns(w[None], route.rows, groups.columns)[0]
    sums = sums + arrays.constant(groups.size == 0, like=sums)
    return w / arrays.take(sums, route.rows)


class Groups(NamedTuple):
    """What a route says of its groups."""

    size: NDArray[np.int64]
    divisor: NDArray[np.float64]
    """The same, or 1 where there is nothing: its mean is zero."""
    size_of_entry: NDArray[np.float64]
    """How many go together with each entry, itself included."""
    roundings: NDArray[np.float64]
    """By how many times the precision the mean of a group of equal numbers can be off."""
    columns: arrays.Columns


def groups_of(route: Route) -> Groups:
    """The groups that a route leads to."""
    if "groups" not in route.plans:
        size = np.bincount(route.rows, minlength=len(route.samples))
        divisor = np.maximum(size, 1).astype(np.float64)
        roundings = (size + 2).astype(np.float64)
        columns = arrays.columns(route.rows, len(size))
        route.plans["groups"] = Groups(size, divisor, divisor[route.rows], roundings, columns)
    groups: Groups = route.plans["groups"]
    return groups


# -- variances ------------------------------------------------------------------------


class Moments(NamedTuple):
    """How the entries of a block lie about the means of their groups."""

    center: Array
    """The mean of each group."""
    variance: Array
    """The mean square of the deviations from it."""
    roundings: NDArray[np.float64]
    """By how many times the precision the mean of equal numbers is off, shaped as the others."""
    block: Callable[[Array, Callable[[], Array]], TensorBlock]
    """The block of some values, functions of the variances; their slopes where they are needed.

    The mean moves with the values too, but ``<x - c> dc`` is zero: the gradients of the mean,
    which have rows for every pair of entries in a group, are never needed.
    """


def moments_of_samples(x: TensorBlock, route: Route, weights: Any) -> Moments:
    """The moments of the samples that go together."""
    w = sample_weights(x, weights)
    shares = _shares_of_samples(x, route, w)
    center = arrays.add_rows(x.values, route.rows, len(route.samples), shares)

    def deviations(rows: Any) -> Array:
        return arrays.rows_of(x.values, rows) - arrays.take(center, route.rows[rows])

    def squares(rows: Any) -> Array:
        off = deviations(rows)
        if w is None:
            return off * off
        return off * off * arrays.column(arrays.rows_of(shares, rows), off)

    def block(values: Array, slopes: Callable[[], Array]) -> TensorBlock:
        slopes_of_groups = once(slopes)

        def by_value(rows: Any) -> Array:
            off = deviations(rows)
            off = off * arrays.column(2 * arrays.rows_of(shares, rows), off)
            return off * arrays.take(slopes_of_groups(), route.rows[rows])

        if w is None or not w.has_any_gradient():
            return scatter_scaled(values, route, (x, by_value))
        inverse = _inverse_weights(x, route, w)

        def by_weight(rows: Any) -> Array:
            group = route.rows[rows]
            excess = deviations(rows) ** 2 - arrays.take(variance, group)
            return excess * arrays.take(slopes_of_groups() * inverse, group)

        return scatter_scaled(values, route, (x, by_value), (w, by_weight))

    variance = arrays.add_rows_of(squares, route.rows, len(route.samples), x.values)
    if w is None:
        count = arrays.constant(groups_of(route).divisor, like=variance)
        variance = variance / arrays.column(count, variance)
    roundings = groups_of(route).roundings.reshape((-1, *[1] * (len(x.shape) - 1)))
    return Moments(center, variance, roundings, block)


def moments_of_properties(x: TensorBlock, route: Route, weights: Any) -> Moments:
    """The moments of the properties that go together."""
    w = property_weights(x, weights)
    average = _averaged(x, route, w)
    center = average(x.values)

    def spread(groups: Array, rows: Any) -> Array:
        return arrays.take(arrays.rows_of(groups, rows), route.rows, axis=-1)

    def deviations(rows: Any) -> Array:
        return arrays.rows_of(x.values, rows) - spread(center, rows)

    def block(values: Array, slopes: Callable[[], Array]) -> TensorBlock:
        slopes_of_groups = once(slopes)
        shares = once(lambda: _shares_of_properties(x, route, w))
        return scaled(
            values,
            lambda rows: 2 * shares() * deviations(rows) * spread(slopes_of_groups(), rows),
            x,
            then=_summed(route),
            properties=route.samples,
        )

    def squares(rows: Any) -> Array:
        off = deviations(rows)
        return average(off * off)

    variance = arrays.rowwise(lambda rows, _: squares(rows), len(x), x.values)
    return Moments(center, variance, groups_of(route).roundings, block)


def variance(moments: Moments) -> TensorBlock:
    """``<(x - <x>)^2>``."""
    values = moments.variance
    return moments.block(values, lambda: arrays.filled(values.shape, 1, values))


def deviation(moments: Moments) -> TensorBlock:
    """The root of the variance, whose slope at zero, where there is none, counts as zero.

    Zero is what rounding leaves: a mean of ``n`` equal numbers is off by up to ``n + 2`` times
    the precision, and a slope from that would be noise of order one.
    """
    squares, center = moments.variance, moments.center
    roundings = arrays.constant(moments.roundings, like=center)
    rounding = arrays.precision(center) * roundings * center
    spread = squares > rounding * rounding
    # one is added where there is none: the derivative of a root at zero is infinite
    root = (squares + ~spread) ** 0.5
    return moments.block(root * spread, lambda: spread / (2 * root))
