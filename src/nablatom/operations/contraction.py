"""Sums of products over properties."""

from __future__ import annotations

from math import prod

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, remembered
from nablatom.operations.chain import aligned, linear
from nablatom.operations.lift import blockwise
from nablatom.operations.operands import check_library

__all__ = ["dot"]


@blockwise
def dot(a: TensorBlock, b: TensorBlock) -> TensorBlock:
    """The products ``sum_p a[i, …, p] b[j, p]`` of all samples ``i`` of a and ``j`` of b.

    The result has the samples and components of ``a``; its properties are the samples of
    ``b``, which has no components. Gradients follow the product rule. An operand without any
    gradients counts as constant, such as the weights of a linear model.

    Raises
    ------
    ValueError
        If the properties differ, if ``b`` has components, or if both have gradients but not
        with respect to the same parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> n = Labels.range("n", 2)
    >>> features = TensorBlock(np.array([[1.0, 2.0]]), Labels.range("atom", 1), [], n)
    >>> weights = TensorBlock(np.array([[3.0, 5.0]]), Labels.range("energy", 1), [], n)
    >>> dot(features, weights).values
    array([[13.]])
    """
    check_library([a, b])
    if b.components:
        raise ValueError(f"the second operand of dot has no components, got {b.components}")
    if a.properties != b.properties:
        raise ValueError(
            f"dot needs the same properties in the same order, got {a.properties!r} and "
            f"{b.properties!r}"
        )
    names = a.gradients_list(), b.gradients_list()
    if names[0] and names[1] and set(names[0]) != set(names[1]):
        raise ValueError(
            f"dot needs the same gradients on both sides, or none on one, got {names[0]} and "
            f"{names[1]}"
        )
    weights = arrays.transposed(b.values)
    result = linear(lambda x: x @ weights, a, properties=b.samples)
    gradients = dict(result.gradients())
    for name, gradient in b.gradients():
        second = _through_second(a, b, gradient, result)
        parts = aligned([gradients[name], second] if name in gradients else [second])
        gradients[name] = linear(lambda *terms: sum(terms[1:], terms[0]), *parts)
    return TensorBlock.unchecked(
        result.values, result.samples, result.components, result.properties, gradients
    )


def _through_second(
    a: TensorBlock, b: TensorBlock, gradient: TensorBlock, result: TensorBlock
) -> TensorBlock:
    """The derivative of ``a b`` by what moves ``b``: a row for each sample of a and each mover."""
    if gradient.has_any_gradient():
        raise ValueError(
            "the gradients of the second operand of dot have gradients of their own: dot has no "
            "rule for its second derivatives; take them away with remove_gradients"
        )
    movers, mover = gradient.samples.unique(gradient.samples.names[1:])
    rows = mover * len(b) + gradient.samples.column("sample")
    table = arrays.place_rows(gradient.values, rows, len(movers) * len(b))
    own, components = gradient.components, a.components
    inner = prod(len(c) for c in own)
    outer = len(a) * prod(len(c) for c in components)
    x = a.values.reshape((outer, a.shape[-1]))
    y = table.reshape((len(movers) * len(b) * inner, a.shape[-1]))
    flat = x @ arrays.transposed(y)
    split = (
        len(a),
        prod(len(c) for c in components),
        len(movers),
        len(b),
        inner,
    )
    ordered = arrays.namespace(flat).permute_dims(flat.reshape(split), (0, 2, 4, 1, 3))
    labels = [*own, *components]
    values = ordered.reshape((len(a) * len(movers), *[len(c) for c in labels], len(b)))
    samples = _every_pair(gradient.samples, len(a), movers)
    return TensorBlock.unchecked(values, samples, labels, result.properties)


@remembered
def _every_pair(samples: Labels, count: int, movers: Labels) -> Labels:
    """Gradient samples that pair every row of the values with every mover."""
    row = np.repeat(np.arange(count, dtype=np.int32), len(movers))[:, None]
    if len(samples.names) == 1:
        return samples.with_entries(row)
    return samples.with_entries(np.concatenate([row, np.tile(movers.values, (count, 1))], axis=1))
