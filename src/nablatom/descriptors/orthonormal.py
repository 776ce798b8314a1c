"""``S^(-1/2)`` of overlaps that are singular to working precision, in decimal arithmetic.

Radial functions overlap so much that the smallest eigenvalue of ``S`` falls to 1e-8 and below
with a dozen of them, and double precision leaves few digits of its inverse root.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache
from operator import mul

import numpy as np
from numpy.typing import NDArray

__all__ = ["gamma_half", "inverse_root", "symmetric_rotation"]

Matrix = list[list[Decimal]]

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
DIGITS = 70


def inverse_root(size: int, overlap: Callable[[int, int], Decimal]) -> NDArray[np.float64]:
    """``S^(-1/2)`` of a symmetric positive matrix, to double precision.

    Parameters
    ----------
    size
        Of the matrix.
    overlap
        Its entries. Called within a context of 70 digits.

    Raises
    ------
    ValueError
        The matrix is singular to 30 digits.
    """
    with localcontext(prec=DIGITS):
        S = [[overlap(i, j) for j in range(size)] for i in range(size)]
        return np.array([[float(x) for x in row] for row in _inverse_root(S)])


def symmetric_rotation(size: int, overlap: Callable[[int, int], Decimal]) -> NDArray[np.float64]:
    """``S^(-1/2) L``, orthogonal, for ``S = L Lᵀ``.

    It takes functions orthonormalised one after the other to those orthonormalised all alike;
    where the former have a closed form, nothing cancels.
    """
    with localcontext(prec=DIGITS):
        S = [[overlap(i, j) for j in range(size)] for i in range(size)]
        root, lower = _inverse_root(S), _cholesky(S)
        rotation = [
            [sum(map(mul, row, column)) for column in zip(*lower, strict=True)] for row in root
        ]
        return np.array([[float(x) for x in row] for row in rotation])


@cache
def gamma_half(twice: int) -> Decimal:
    """``Γ(twice/2)`` for a positive integer."""
    with localcontext(prec=DIGITS):
        if twice <= 2:
            return PI.sqrt() if twice == 1 else Decimal(1)
        return gamma_half(twice - 2) * Decimal(twice - 2) / 2


def _inverse_root(S: Matrix) -> Matrix:
    """Denman and Beavers' iteration: ``Y → S^(1/2)``, ``Z → S^(-1/2)``, quadratically."""
    n = len(S)
    Y, Z = S, [[Decimal(int(i == j)) for j in range(n)] for i in range(n)]
    for _ in range(200):
        inverse_y, inverse_z = _inverse(Y), _inverse(Z)
        Y, following = _mean(Y, inverse_z), _mean(Z, inverse_y)
        change = max(
            abs(a - b) for x, y in zip(Z, following, strict=True) for a, b in zip(x, y, strict=True)
        )
        Z = following
        if change < Decimal(10) ** -25 * max(abs(x) for row in Z for x in row):
            return Z
    raise ValueError("the overlap of the radial functions is singular; take fewer of them")


def _cholesky(S: Matrix) -> Matrix:
    n = len(S)
    lower = [[Decimal(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = S[i][j] - sum(map(mul, lower[i][:j], lower[j][:j]), Decimal(0))
            lower[i][j] = rest.sqrt() if i == j else rest / lower[j][j]
    return lower


def _mean(a: Matrix, b: Matrix) -> Matrix:
    half = Decimal("0.5")
    return [[half * (x + y) for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def _inverse(a: Matrix) -> Matrix:
    """By elimination; a positive matrix needs no pivots."""
    n = len(a)
    rows = [[*row, *(Decimal(int(i == j)) for j in range(n))] for i, row in enumerate(a)]
    for k in range(n):
        pivot = rows[k][k]
        if abs(pivot) < Decimal(10) ** -40:
            raise ValueError("the overlap of the radial functions is singular; take fewer of them")
        rows[k] = [x / pivot for x in rows[k]]
        for i in range(n):
            if i != k:
                factor = rows[i][k]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[n:] for row in rows]
