"""Polynomials of the distance as radial functions."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_jacobi

from nablatom.descriptors.orthonormal import inverse_root, symmetric_rotation
from nablatom.descriptors.radial_basis import Counted, for_every_l, powers

__all__ = ["Bernstein", "Monomials"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Monomials(Counted):
    """``r^(l + 2n)`` made orthonormal on [0, R]: what the Taylor series of a density has.

    Parameters
    ----------
    max_radial
        Functions ``n = 0 … max_radial``.
    radius : length
        ``R``; the cutoff if None.
    """

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n)."""
        radius, angular = self.reach(cutoff), range(max_angular + 1)
        mixed = [_zernike(r / radius, l, self.size) @ _mixing(l, self.size).T for l in angular]
        return _scaled(np.stack(mixed, axis=2), radius)


@dataclass(frozen=True)
class Bernstein(Counted):
    """Bernstein polynomials of ``r/R`` made orthonormal on [0, R], the same for every l.

    ``B_n(x) = C(N, n) x^n (1 - x)^(N - n)`` with ``N = max_radial``: localised one after the
    other, from the center to the radius.

    Parameters
    ----------
    max_radial
        Functions ``n = 0 … max_radial``.
    radius : length
        ``R``; the cutoff if None.
    """

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n): the same for all l."""
        radius = self.reach(cutoff)
        mixed = _bernstein(r / radius, self.max_radial) @ _bernstein_mixing(self.size)
        return _scaled(for_every_l(mixed, max_angular), radius)


def _scaled(functions: Array, radius: float) -> Array:
    """Functions orthonormal on [0, 1] with their derivatives → those on [0, R]."""
    return functions * np.array([1.0, 1 / radius, 1 / radius**2])[:, None, None, None] / radius**1.5


def _zernike(x: Array, l: int, size: int) -> Array:
    """Orthonormal polynomials ``x^l P_n(2x² - 1)`` on [0, 1], with derivatives, (3, points, n)."""
    n, b = np.arange(size), l + 0.5
    x = x[:, None]
    p, p1, p2 = (_jacobi(n, b, 2 * x * x - 1, order) for order in range(3))
    slope, curvature = 4 * x * p1, 4 * p1 + 16 * x * x * p2  # of P, with respect to x
    power, first, second = powers(x, np.array([l]))
    norm = np.sqrt(2 * (2 * n + l + 1.5))
    return norm * np.stack(
        [
            power * p,
            first * p + power * slope,
            second * p + 2 * first * slope + power * curvature,
        ]
    )


def _jacobi(n: NDArray[np.int64], b: float, t: Array, order: int) -> Array:
    """Derivatives of ``P_n^(0, b)(t)`` of some order (DLMF 18.9.15)."""
    factor = np.prod([(n + b + 1 + k) / 2 for k in range(order)], axis=0)
    lower = eval_jacobi(np.maximum(n - order, 0), float(order), b + order, t)
    return np.where(n >= order, factor * lower, 0.0)


@cache
def _mixing(l: int, size: int) -> Array:
    """Symmetrically orthonormal monomials from orthonormal polynomials of rising degree."""

    def overlap(i: int, j: int) -> Decimal:
        a, b = 2 * (l + 2 * i) + 3, 2 * (l + 2 * j) + 3
        return 2 * Decimal(a * b).sqrt() / Decimal(a + b)

    return symmetric_rotation(size, overlap)


def _bernstein(x: Array, degree: int) -> Array:
    """Bernstein polynomials and derivatives, (3, points, degree + 1)."""
    value = _bernstein_values(x, degree)
    first = _raised(_bernstein_values(x, degree - 1), degree)
    second = _raised(_raised(_bernstein_values(x, degree - 2), degree - 1), degree)
    return np.stack([value, first, second])


def _bernstein_values(x: Array, degree: int) -> Array:
    n = np.arange(degree + 1)
    binomial = np.array([comb(degree, k) for k in range(degree + 1)], dtype=np.float64)
    return binomial * x[:, None] ** n * (1 - x[:, None]) ** (degree - n)


def _raised(lower: Array, degree: int) -> Array:
    """Derivative of the polynomials of a degree, from those (or a derivative) of one below."""
    if degree <= 0:
        return np.zeros((len(lower), max(degree, -1) + 1))
    edges = np.pad(lower, ((0, 0), (1, 1)))
    return degree * (edges[:, :-1] - edges[:, 1:])


@cache
def _bernstein_mixing(size: int) -> Array:
    """``int_0^1 x² B_i B_j dx`` is a beta function."""
    d = size - 1

    def overlap(i: int, j: int) -> Decimal:
        product = Decimal(comb(d, i) * comb(d, j))
        return product / (Decimal(2 * d + 3) * Decimal(comb(2 * d + 2, i + j + 2)))

    return inverse_root(size, overlap)
