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

__all__ = ["by_matrix", "contract"]


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


def by_matrix(x: Array, matrix: Array) -> Array:
    """``x @ matrix`` for any number of axes on the left, as one product instead of many small."""
    if x.ndim == 2:
        return x @ matrix
    lead = x.shape[:-1]
    return (x.reshape((prod(lead), x.shape[-1])) @ matrix).reshape((*lead, matrix.shape[-1]))


def _pair(a: str, b: str, result: str, x: Array, y: Array) -> Array:
    # axes that only one array has and nobody wants are summed beforehand, diagonals taken
    left = "".join(c for c in dict.fromkeys(a) if c in b or c in result)
    right = "".join(c for c in dict.fromkeys(b) if c in a or c in result)
    x = x if left == a else arrays.einsum(f"...{a}->...{left}", x)
    y = y if right == b else arrays.einsum(f"...{b}->...{right}", y)
    plan = _plan(left, right, result, x.ndim, y.ndim)
    if plan is None:
        return arrays.einsum(f"...{left},...{right}->...{result}", x, y)
    x, rows, _ = _as_matrices(x, plan.left)
    y, _, columns = _as_matrices(y, plan.right)
    product = by_matrix(x, y) if y.ndim == 2 else x @ y
    if len(rows) != 1 or len(columns) != 1:
        product = product.reshape((*product.shape[:-2], *rows, *columns))
    order = plan.to_result
    if order is None:
        return product
    lead = product.ndim - len(order)
    return arrays.permuted(product, (*range(lead), *[lead + i for i in order]))


class _Side(NamedTuple):
    """How an array becomes matrices: the order of its axes, how many lead, how many are rows."""

    order: tuple[int, ...] | None
    lead: int
    rows: int


class _Plan(NamedTuple):
    """How a product of two arrays becomes one of matrices."""

    left: _Side
    right: _Side
    to_result: tuple[int, ...] | None


@cache
def _plan(a: str, b: str, result: str, x_axes: int, y_axes: int) -> _Plan | None:
    """None where there is nothing for a matrix product to sum over, or nothing to sum for."""
    batch = "".join(c for c in result if c in a and c in b)
    rows = "".join(c for c in result if c in a and c not in b)
    columns = "".join(c for c in result if c in b and c not in a)
    inner = "".join(c for c in a if c in b and c not in result)
    if not inner or not rows + columns:
        return None
    return _Plan(
        _side(a, batch, rows, inner, x_axes),
        _side(b, batch, inner, columns, y_axes),
        _unless_same(tuple((batch + rows + columns).index(c) for c in result)),
    )


def _side(letters: str, batch: str, rows: str, columns: str, axes: int) -> _Side:
    lead = axes - len(letters)
    order = (*range(lead), *[lead + letters.index(c) for c in batch + rows + columns])
    return _Side(_unless_same(order), lead + len(batch), len(rows))


def _unless_same(order: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if order == tuple(range(len(order))) else order


def _as_matrices(x: Array, side: _Side) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """One axis of rows and one of columns, and the axes that they were."""
    if side.order is not None:
        x = arrays.permuted(x, side.order)
    shape, middle = tuple(x.shape), side.lead + side.rows
    rows, columns = shape[side.lead : middle], shape[middle:]
    if len(rows) != 1 or len(columns) != 1:
        x = x.reshape((*shape[: side.lead], prod(rows), prod(columns)))
    return x, rows, columns
