"""Products of arrays, summed over axes that are named by letters.

Letters name the last axes of an array, from the left to the right; what stands before them
(samples, and the axes that a gradient has of its own) is the same in all arrays, or of length 1,
or, in a constant, not there at all. Sums over axes that two arrays share go through matrix
products, which are many times faster than a general loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import NamedTuple

from nablatom import arrays
from nablatom.arrays import Array

__all__ = ["contract"]


def contract(letters: Sequence[str], result: str, x: Sequence[Array]) -> Array:
    """The product of several arrays, summed over every letter that the result does not have.

    Parameters
    ----------
    letters
        For each array those of its last axes. One that occurs twice takes the diagonal.
    result
        The letters of the result, in their order there.
    """
    whole, here = x[0], letters[0]
    for i, other in enumerate(x[1:], start=1):
        wanted = set(result).union(*letters[i + 1 :])
        kept = "".join(dict.fromkeys(c for c in here + letters[i] if c in wanted))
        if i == len(x) - 1:
            kept = result
        whole, here = _pair(here, letters[i], kept, whole, other), kept
    return whole if here == result else arrays.einsum(f"...{here}->...{result}", whole)


def _pair(a: str, b: str, result: str, x: Array, y: Array) -> Array:
    plan = _plan(a, b, result)
    if plan is None:
        return arrays.einsum(f"...{a},...{b}->...{result}", x, y)
    x = x if plan.left == a else arrays.einsum(f"...{a}->...{plan.left}", x)
    y = y if plan.right == b else arrays.einsum(f"...{b}->...{plan.right}", y)
    xp = arrays.namespace(x)
    x_lead, y_lead = x.shape[: x.ndim - len(plan.left)], y.shape[: y.ndim - len(plan.right)]
    axes = (*x.shape[len(x_lead) :], *y.shape[len(y_lead) :])
    size = dict(zip(plan.left + plan.right, axes, strict=True))
    batch, rows, inner, columns = (
        [size[c] for c in group] for group in (plan.batch, plan.rows, plan.inner, plan.columns)
    )
    x = xp.permute_dims(x, (*range(len(x_lead)), *[len(x_lead) + i for i in plan.to_left]))
    y = xp.permute_dims(y, (*range(len(y_lead)), *[len(y_lead) + i for i in plan.to_right]))
    x = x.reshape((*x_lead, *batch, prod(rows), prod(inner)))
    y = y.reshape((*y_lead, *batch, prod(inner), prod(columns)))
    product = _matmul(x, y)
    lead = product.shape[: product.ndim - len(batch) - 2]
    product = product.reshape((*lead, *batch, *rows, *columns))
    return xp.permute_dims(product, (*range(len(lead)), *[len(lead) + i for i in plan.to_result]))


class _Plan(NamedTuple):
    """How a product of two arrays becomes one of matrices, for every entry of ``batch``."""

    left: str
    right: str
    batch: str
    rows: str
    inner: str
    columns: str
    to_left: tuple[int, ...]
    to_right: tuple[int, ...]
    to_result: tuple[int, ...]


@cache
def _plan(a: str, b: str, result: str) -> _Plan | None:
    """None where there is nothing for a matrix product to sum over, or nothing to sum for."""
    # axes that only one array has and nobody wants are summed beforehand, diagonals taken
    left = "".join(c for c in dict.fromkeys(a) if c in b or c in result)
    right = "".join(c for c in dict.fromkeys(b) if c in a or c in result)
    batch = "".join(c for c in result if c in left and c in right)
    rows = "".join(c for c in result if c in left and c not in right)
    columns = "".join(c for c in result if c in right and c not in left)
    inner = "".join(c for c in left if c in right and c not in result)
    if not inner or not rows + columns:
        return None
    return _Plan(
        left,
        right,
        batch,
        rows,
        inner,
        columns,
        tuple(left.index(c) for c in batch + rows + inner),
        tuple(right.index(c) for c in batch + inner + columns),
        tuple((batch + rows + columns).index(c) for c in result),
    )


def _matmul(x: Array, y: Array) -> Array:
    """Matrix products; one large instead of many small ones where one side is always the same."""
    if y.ndim == 2 and x.ndim > 2:
        lead = x.shape[:-1]
        return (x.reshape((prod(lead), x.shape[-1])) @ y).reshape((*lead, y.shape[-1]))
    return x @ y
