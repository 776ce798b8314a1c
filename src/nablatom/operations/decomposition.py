"""Singular values and vectors of the properties."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations.operands import check_tensor
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["MODE", "check_count", "signs", "svd"]

MODE = "mode"
"""The name of the property that counts directions."""


@traceable
def svd(a: Any, rank: int | None = None) -> tuple[Any, Any, Any]:
    """The factors ``u, s, v`` of ``a[i, …, p] = sum_k u[i, …, k] s[k] v[k, p]``.

    The rows of the matrix are samples and components, its columns properties. The largest
    ``rank`` singular values are kept, or all of them. Each row of ``v`` has the sign that makes
    its largest entry positive.

    Gradients are refused: singular vectors of nearby singular values have none to speak of.
    ``dot(a, v)`` has them, with ``v`` for a constant.

    Returns
    -------
    u : (samples, …, mode)
    s : (1, mode)
        In falling order.
    v : (mode, properties)
        Orthonormal rows, as the second operand of :func:`dot`.

    Raises
    ------
    ValueError
        If there are gradients, or if the rank is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> rows, n = Labels.range("atom", 2), Labels.range("n", 2)
    >>> u, s, v = svd(TensorBlock(np.array([[3.0, 4.0], [6.0, 8.0]]), rows, [], n), rank=1)
    >>> v.values.round(12)
    array([[0.6, 0.8]])
    """
    check_tensor("svd", a, "a")
    check_count("rank", rank)
    if isinstance(a, TensorBlock):
        return _factors(a, rank)
    factors = [_factors(block, rank) for block in a]
    u, s, v = (
        TensorMap.unchecked(a.keys, [f[side] for f in factors], a.info()) for side in range(3)
    )
    return u, s, v


def _factors(block: TensorBlock, rank: int | None) -> tuple[TensorBlock, TensorBlock, TensorBlock]:
    if block.has_any_gradient():
        raise ValueError(
            f"svd has no rule for gradients, got {block.gradients_list()}; take them away with "
            "remove_gradients, and use dot(a, v), which carries them with v for a constant"
        )
    xp = arrays.namespace(block.values)
    u, s, v = xp.linalg.svd(_rows(block.values), full_matrices=False)
    sign = signs(v)
    u, s, v = (u * sign)[:, :rank], s[:rank], (v * sign[:, None])[:rank]
    modes = Labels.range(MODE, len(s))
    u = u.reshape((*block.shape[:-1], len(s)))
    return (
        TensorBlock.unchecked(u, block.samples, tuple(block.components), modes),
        TensorBlock.unchecked(s[None, :], Labels.single(), (), modes),
        TensorBlock.unchecked(v, modes, (), block.properties),
    )


def _rows(values: Array) -> Array:
    """Samples and components as rows of a matrix."""
    return values.reshape((prod(values.shape[:-1]), values.shape[-1]))


def signs(vectors: Array) -> Array:
    """The sign of the largest entry of each row, 1 or -1."""
    xp = arrays.namespace(vectors)
    if not vectors.shape[0] * vectors.shape[1]:
        return arrays.filled(vectors.shape[:1], 1, vectors)
    positive = xp.max(vectors, axis=1) >= -xp.min(vectors, axis=1)
    return arrays.filled((1,), 2, vectors) * positive - 1


def check_count(name: str, count: int | None) -> None:
    """Raise an error unless a number of directions is positive, or None."""
    if count is None:
        return
    if not isinstance(count, int | np.integer):
        raise TypeError(f"{name} must be a whole number or None, got {type(count).__name__}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
