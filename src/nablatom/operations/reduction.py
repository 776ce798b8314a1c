"""Sums and means over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, remembered
from nablatom.operations.chain import Route, scatter
from nablatom.operations.lift import blockwise

__all__ = ["mean_over_samples", "sum_over_samples"]


@blockwise
def sum_over_samples(a: TensorBlock, sample_names: str | Sequence[str]) -> TensorBlock:
    """The sum over some sample dimensions; the remaining ones label the result, sorted.

    Gradients add up as their values do: rows that come to differentiate the same sum with
    respect to the same thing become one. Over all dimensions, the one sample is ``_ = 0``.

    Raises
    ------
    ValueError
        If the samples do not have one of the dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> energies = TensorBlock(np.array([[1.0], [2.0], [5.0]]), atoms, [], Labels.single())
    >>> sum_over_samples(energies, "atom").values
    array([[3.],
           [5.]])
    """
    return scatter(a, _route(a.samples, *_remaining(a.samples, sample_names)))


@blockwise
def mean_over_samples(a: TensorBlock, sample_names: str | Sequence[str]) -> TensorBlock:
    """The mean over some sample dimensions; the remaining ones label the result, sorted.

    Each gradient is that of the sum, divided by the number of *samples* averaged, whether or
    not all of them have a gradient row. Errors are those of :func:`sum_over_samples`.
    """
    route = _route(a.samples, *_remaining(a.samples, sample_names))
    count = np.bincount(route.rows, minlength=len(route.samples))
    return _scaled(scatter(a, route), 1.0 / np.maximum(count, 1))


def _remaining(samples: Labels, sample_names: str | Sequence[str]) -> list[str]:
    names = [sample_names] if isinstance(sample_names, str) else list(sample_names)
    for name in names:
        if name not in samples.names:
            raise ValueError(f"no sample dimension {name!r}: they are {samples.names}")
    return [name for name in samples.names if name not in names]


@remembered
def _route(samples: Labels, *names: str) -> Route:
    return Route(*samples.unique(names))


def _scaled(block: TensorBlock, factors: Array) -> TensorBlock:
    """Every row times its own factor, gradients and theirs included."""
    gradients = {
        name: _scaled(gradient, factors[gradient.samples.column("sample")])
        for name, gradient in block.gradients()
    }
    column = arrays.constant(factors, like=block.values)
    values = block.values * column.reshape((-1, *[1] * (len(block.shape) - 1)))
    return TensorBlock.unchecked(
        values, block.samples, block.components, block.properties, gradients
    )
