"""How gradients follow values: the only chain rule in the library.

A stored gradient is a batch of tangents: row ``r`` is the derivative of the value row
``sample[r]`` along one direction. An operation therefore needs one rule for its values and
one for a tangent, and every stored gradient goes through the second.

Rules count component and property axes from the right. A gradient only has more axes on
the left, so that one expression serves values and gradients.

=================================  ==============================  ========================
function                           for                             rule for a tangent
=================================  ==============================  ========================
``elementwise(f, slope, block)``   abs, pow, exp, …                ``slope(x) dx``
``linear(f, *blocks)``             sums, scaling, matrix products  ``f(dx, dy, …)``
``bilinear(f, a, b)``              products of two blocks          ``f(dx, y) + f(x, dy)``
``pointwise(value, tangent, …)``   anything sample by sample       as given
``gather(block, route)``           slice, sort, repeat             rows taken
``scatter(block, route)``          sums over samples               rows accumulated
=================================  ==============================  ========================

The label part of every rule is a pure plan, kept with the labels it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered
from nablatom.merge import shared_gradients, with_sample
from nablatom.operations.operands import check_library

__all__ = [
    "Route",
    "Slope",
    "aligned",
    "bilinear",
    "elementwise",
    "followed",
    "gather",
    "linear",
    "once",
    "pointwise",
    "scaled",
    "scatter",
    "scatter_scaled",
]


class Route:
    """Which row goes where; ``samples`` are the labels of the rows of the result.

    For :func:`gather`, row ``i`` of the result is the old row ``rows[i]``; for
    :func:`scatter`, the old row ``i`` is added to row ``rows[i]`` of the result.
    """

    __slots__ = ("__weakref__", "plans", "rows", "samples")

    def __init__(self, samples: Labels, rows: Rows) -> None:
        self.samples, self.rows = samples, rows
        self.plans: dict[str, Any] = {}  # what follows from these rows, once it is asked for


# -- sample by sample ------------------------------------------------------------------


def pointwise(
    value: Callable[..., Array],
    tangent: Callable[..., Array],
    *blocks: TensorBlock,
    components: Sequence[Labels] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """``value(x, y, …)`` of the values, and ``tangent(x, y, …, dx, dy, …)`` of each gradient.

    ``components`` and ``properties`` label the result where they are not those of the first
    block. All blocks have the same samples and gradients with respect to the same
    parameters; their gradient rows may differ, and count as zero where one has none.

    Raises
    ------
    ValueError
        If the blocks do not go together, or if a gradient has gradients of its own: this
        rule does not say how second derivatives follow.
    """
    tangents = _by_rows([x.values for x in blocks], lambda *xs: tangent(*xs[:-1]))
    return _build(value, tangents, blocks, components, properties, nested=False)


def elementwise(
    function: Callable[[Array], Array], slope: Callable[[Array], Array], block: TensorBlock
) -> TensorBlock:
    """``function`` of every value; each gradient is multiplied by ``slope`` of its value."""
    x = block.values
    values = arrays.in_pieces(function, x)
    return scaled(values, lambda rows: slope(arrays.rows_of(x, rows)), block)


def scaled(
    values: Array,
    slope: Callable[[slice], Array],
    block: TensorBlock,
    *,
    then: Callable[[Array], Array] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """These values; each gradient is multiplied by the slope of its value.

    ``slope`` takes which rows of the values it is asked for. ``then`` is a linear function of
    the products, whose properties are those of the result.
    """
    tangents = _by_slopes(slope, then)
    return _build(lambda _: values, tangents, [block], None, properties, nested=False)


def bilinear(
    function: Callable[[Array, Array], Array],
    a: TensorBlock,
    b: TensorBlock,
    *,
    components: Sequence[Labels] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """``function(a, b)``, linear in both, by the product rule."""

    def tangent(x: Array, y: Array, dx: Array, dy: Array, out: Array | None) -> Array:
        return arrays.total(function(dx, y), function(x, dy), out)

    tangents = _by_rows([a.values, b.values], tangent)
    return _build(function, tangents, [a, b], components, properties, nested=False)


def linear(
    function: Callable[..., Array],
    *blocks: TensorBlock,
    components: Sequence[Labels] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """``function`` of the values and, as it is linear, of each gradient and its gradients.

    ``function`` takes one array for each block and works row by row, or is a plain sum or
    difference of them.
    """
    return _build(
        function,
        lambda _samples, _extra, parts: function(*parts),
        blocks,
        components,
        properties,
        nested=True,
    )


Tangents = Callable[[Labels, int, list[Array]], Array]


def _by_rows(values: list[Array], tangent: Callable[..., Array]) -> Tangents:
    """``tangent(x, y, …, dx, dy, …, out)`` of the values that each gradient row belongs to."""

    def tangents(samples: Labels, extra: int, parts: list[Array]) -> Array:
        rows = samples.values[:, 0]
        if arrays.is_small(parts[0]):
            return tangent(*[_at_rows(x, rows, extra) for x in values], *parts, None)

        def piece(part: slice, out: Array | None) -> Array:
            x = [_at_rows(array, rows[part], extra) for array in values]
            return tangent(*x, *[dx[part] for dx in parts], out)

        return arrays.rowwise(piece, len(rows), parts[0])

    return tangents


def _by_slopes(slope: Callable[[slice], Array], then: Callable[[Array], Array] | None) -> Tangents:
    """``then(slope dx)``. A value has many gradient rows, but its slope is worked out once."""
    whole = once(lambda: slope(slice(None)))

    def product(slopes: Array, dx: Array, out: Array | None) -> Array:
        return arrays.product(slopes, dx, out) if then is None else then(slopes * dx)

    def tangents(samples: Labels, extra: int, parts: list[Array]) -> Array:
        rows, (dx,) = samples.values[:, 0], parts
        if arrays.is_small(dx):
            return product(_at_rows(whole(), rows, extra), dx, None)
        in_order = bool((rows[1:] >= rows[:-1]).all())

        def piece(part: slice, out: Array | None) -> Array:
            at = rows[part]
            if not in_order:
                return product(_at_rows(whole(), at, extra), dx[part], out)
            slopes = slope(slice(int(at[0]), int(at[-1]) + 1))
            return product(_at_rows(slopes, at - at[0], extra), dx[part], out)

        return arrays.rowwise(piece, len(rows), dx)

    return tangents


def once(make: Callable[[], Array]) -> Callable[[], Array]:
    """What makes an array when it is first asked for, and then has it."""
    made: list[Array] = []

    def known() -> Array:
        if not made:
            made.append(make())
        return made[0]

    return known


def _build(
    value: Callable[..., Array],
    tangents: Tangents,
    blocks: Sequence[TensorBlock],
    components: Sequence[Labels] | None,
    properties: Labels | None,
    *,
    nested: bool,
) -> TensorBlock:
    """The block of ``value``, with every shared gradient through ``tangents``."""
    first = blocks[0]
    _check_same_samples(blocks)
    components = first.components if components is None else components
    properties = first.properties if properties is None else properties
    values = value(*[block.values for block in blocks])
    gradients = {}
    for parameter in shared_gradients(blocks):
        parts = [block.gradient(parameter) for block in blocks]
        if not _all_labelled_alike(parts):
            _check_own_components(blocks, parts, parameter)
            parts = aligned(parts)
        own = _own_components(first, parts[0])
        axes = (*own, *components)
        if nested:
            built = _build(value, tangents, parts, axes, properties, nested=True)
        else:
            _refuse_nested(parts, parameter)
            samples = parts[0].samples
            derivatives = tangents(samples, len(own), [part.values for part in parts])
            built = TensorBlock.unchecked(derivatives, samples, axes, properties)
        gradients[parameter] = built
    return TensorBlock.unchecked(values, first.samples, components, properties, gradients)


def _at_rows(values: Array, rows: NDArray[np.int32], extra: int) -> Array:
    """The values that each tangent belongs to, with axes of length 1 for the parameter's own."""
    return _with_extra_axes(arrays.take(values, rows), extra)


def _with_extra_axes(x: Array, extra: int) -> Array:
    return x.reshape((x.shape[0], *[1] * extra, *x.shape[1:])) if extra else x


def _own_components(block: TensorBlock, gradient: TensorBlock) -> list[Labels]:
    """The components that a parameter brings: those on the left of the components of its block."""
    components = gradient.components
    return components[: len(components) - len(block.components)]


def _check_own_components(
    blocks: Sequence[TensorBlock], parts: Sequence[TensorBlock], parameter: str
) -> None:
    own, *others = map(_own_components, blocks, parts)
    for other in others:
        if other != own:
            raise ValueError(
                f"gradients {parameter!r} must have the same components of their own, got "
                f"{own} and {other}"
            )


def _refuse_nested(parts: Sequence[TensorBlock], parameter: str) -> None:
    for part in parts:
        if part.has_any_gradient():
            raise ValueError(
                f"the gradient {parameter!r} has gradients of its own "
                f"({', '.join(part.gradients_list())}): only linear operations carry second "
                "derivatives; take them away with remove_gradients"
            )


def _all_labelled_alike(blocks: Sequence[TensorBlock]) -> bool:
    first = blocks[0]
    return all(first.labelled_as(block) for block in blocks[1:])


def _check_same_samples(blocks: Sequence[TensorBlock]) -> None:
    check_library(blocks)
    if _all_labelled_alike(blocks):
        return
    samples = blocks[0].samples
    for block in blocks[1:]:
        if block.samples != samples:
            raise ValueError(
                f"blocks must have the same samples in the same order, got {samples!r} "
                f"and {block.samples!r}"
            )


# -- different sparsity ----------------------------------------------------------------


def aligned(gradients: Sequence[TensorBlock]) -> list[TensorBlock]:
    """The gradients on the union of their samples, zero where one had no row."""
    samples = _joint([gradient.samples for gradient in gradients])
    return [_on(samples, gradient) for gradient in gradients]


def _joint(samples: Sequence[Labels]) -> Labels:
    """The samples of all gradients: their union, sorted unless they are the same."""
    joint = samples[0]
    for other in samples[1:]:
        if other == joint:
            continue
        if other.names != joint.names:
            raise ValueError(
                f"gradient samples must have the same dimensions, got {joint.names} and "
                f"{other.names}"
            )
        joint = _sorted_union(joint, other)
    return joint


@remembered
def _sorted_union(samples: Labels, other: Labels) -> Labels:
    union = samples.union(other)
    return union.take(union.order())


@remembered
def _places(samples: Labels, among: Labels) -> Rows:
    return among.union_and_mapping(samples)[2]


def _on(samples: Labels, gradient: TensorBlock) -> TensorBlock:
    """A gradient with zero rows for the samples it does not have."""
    if gradient.samples == samples:
        return gradient
    at = _places(gradient.samples, samples)
    values = arrays.place_rows(gradient.values, at, len(samples))
    route = Route(samples, at)
    nested = {name: scatter(g, _moved(g.samples, route)) for name, g in gradient.gradients()}
    return TensorBlock.unchecked(values, samples, gradient.components, gradient.properties, nested)


# -- row by row ------------------------------------------------------------------------


def gather(
    block: TensorBlock, route: Route, *, take: Callable[[Array, Rows], Array] = arrays.take
) -> TensorBlock:
    """The block whose row ``i`` is row ``route.rows[i]`` of this one; rows may repeat.

    ``take`` is what takes rows of an array: copies, or views where it can.
    """
    gradients = {
        name: gather(gradient, followed(gradient.samples, route), take=take)
        for name, gradient in block.gradients()
    }
    values = take(block.values, route.rows)
    return TensorBlock.unchecked(
        values, route.samples, block.components, block.properties, gradients
    )


@remembered
def followed(samples: Labels, route: Route) -> Route:
    """The gradient rows of each row that is taken, in their order, with ``sample`` renumbered."""
    old = samples.values[:, 0].astype(np.int64)
    count = np.bincount(old, minlength=int(route.rows.max(initial=-1)) + 1)
    by_sample = slice(None) if bool((old[1:] >= old[:-1]).all()) else np.argsort(old, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])
    taken = count[route.rows]
    new = np.repeat(np.arange(len(route.rows)), taken)
    within = np.arange(len(new)) - np.repeat(np.cumsum(taken) - taken, taken)
    rows = np.arange(len(old))[by_sample][start[route.rows][new] + within]
    values = samples.values[rows]
    values[:, 0] = new
    return Route(samples.with_entries(values), rows)


def scatter(block: TensorBlock, route: Route, factors: Array | None = None) -> TensorBlock:
    """The block whose row ``k`` is the sum of the rows of this one with ``route.rows == k``.

    ``factors``, one number for each row, multiply the rows and their gradients.
    """
    gradients = {}
    for name, gradient in block.gradients():
        own = factors
        if factors is not None:
            own = arrays.take(factors, gradient.samples.values[:, 0])
        gradients[name] = scatter(gradient, _moved(gradient.samples, route), own)
    values = arrays.add_rows(block.values, route.rows, len(route.samples), factors)
    return TensorBlock.unchecked(
        values, route.samples, block.components, block.properties, gradients
    )


Slope = Callable[[Any], Array]
"""From rows of the old values, a slice or indices, to the slopes there."""


def scatter_scaled(values: Array, route: Route, *terms: tuple[TensorBlock, Slope]) -> TensorBlock:
    """These values; each gradient is a sum of gradient rows times the slopes of their values.

    Each term is a block of old values and its slopes. The result is labelled as the first of
    them; where that has components and properties, the others may have axes of length 1.
    """
    first = terms[0][0]
    names = dict.fromkeys(name for block, _ in terms for name in block.gradients_list())
    gradients = {name: _scattered(name, route, terms) for name in names}
    return TensorBlock.unchecked(
        values, route.samples, first.components, first.properties, gradients
    )


def _scattered(name: str, route: Route, terms: Sequence[tuple[TensorBlock, Slope]]) -> TensorBlock:
    """One gradient of all terms that have it, on the axes of the first term."""
    first = terms[0][0]
    having = [(block, slope) for block, slope in terms if block.has_gradient(name)]
    parts = [block.gradient(name) for block, _ in having]
    _refuse_nested(parts, name)
    own = _own_components(having[0][0], parts[0])
    routes = [_moved(part.samples, route) for part in parts]
    samples = routes[0].samples
    if len(parts) > 1:
        _check_own_components([block for block, _ in having], parts, name)
        samples = _joint([each.samples for each in routes])
    total = None
    for (block, slope), part, moved in zip(having, parts, routes, strict=True):
        here = moved.samples is samples or moved.samples == samples
        rows = moved.rows if here else _places(moved.samples, samples)[moved.rows]
        product, like = _times_slope(part, slope, len(own)), part.values
        if block is not first:  # what is added has more entries than what it is made from
            shape = (len(part), *map(len, own), *first.shape[1:])
            like = arrays.namespace(like).broadcast_to(like, shape)
        total = arrays.add_rows_of(product, rows, len(samples), like, total)
    return TensorBlock.unchecked(total, samples, (*own, *first.components), first.properties)


def _times_slope(
    gradient: TensorBlock, slope: Slope, extra: int
) -> Callable[[Rows | slice], Array]:
    samples = gradient.samples.values[:, 0]

    def product(rows: Rows | slice) -> Array:
        slopes = slope(samples[rows])
        return arrays.rows_of(gradient.values, rows) * _with_extra_axes(slopes, extra)

    return product


@remembered
def _moved(samples: Labels, route: Route) -> Route:
    """Where the gradient rows go when the rows they belong to are added together."""
    merged, rows = with_sample(samples, route.rows).unique(samples.names)
    return Route(merged, rows)
