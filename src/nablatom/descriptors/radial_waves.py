"""Spherical waves as radial functions: the eigenstates of the Laplacian in a sphere."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import spherical_jn

from nablatom.descriptors.radial_basis import Counted, for_every_l

__all__ = ["SphericalBessel", "SphericalWaves", "bessel_zeros"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SphericalBessel(Counted):
    """Eigenstates of the Laplacian in a sphere, ``j_l(z_ln r/R)``, orthonormal on [0, R].

    ``z_ln`` are the zeros of ``j_l``, so that all functions vanish at ``R``. The smoothest
    basis of its size; every l has its own functions.

    Parameters
    ----------
    max_radial
        Functions ``n = 0 … max_radial``.
    radius : length
        ``R``; the cutoff if None.

    Examples
    --------
    >>> basis = SphericalBessel(max_radial=1)
    >>> basis(np.array([0.0, 2.5, 5.0]), 5.0, max_angular=1)[0, :, 0, 0].round(6)
    array([0.397384, 0.252982, 0.      ])

    References
    ----------
    Bigi, Huguenin-Dumittan, Ceriotti, Manolopoulos, J. Chem. Phys. 157, 234101 (2022).
    """

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n)."""
        radius, zeros = self.reach(cutoff), bessel_zeros(max_angular, self.size)
        waves = [_wave(l, r[:, None] / radius, z) for l, z in enumerate(zeros)]
        scale = np.array([1.0, 1 / radius, 1 / radius**2])[:, None, None, None]
        return np.stack(waves, axis=2) * scale / radius**1.5


@dataclass(frozen=True)
class SphericalWaves(Counted):
    """``sqrt(2/R) sin((n+1) π r/R)/r``, orthonormal on [0, R]: those of l = 0 for every l.

    Parameters
    ----------
    max_radial
        Functions ``n = 0 … max_radial``.
    radius : length
        ``R``; the cutoff if None.
    """

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n): the same for all l."""
        waves = SphericalBessel(self.max_radial, self.radius)(r, cutoff, 0)
        return for_every_l(waves[:, :, 0], max_angular)


def _wave(l: int, x: Array, zeros: Array) -> Array:
    """``j_l(z x)`` normalised on [0, 1], with derivatives, (3, points, n).

    By ``j_l' = (l j_(l-1) - (l+1) j_(l+1))/(2l+1)``, which has no pole at 0.
    """
    j = {k: spherical_jn(k, zeros * x) for k in range(max(l - 2, 0), l + 3)}
    below = np.zeros_like(j[l])

    def slope(k: int) -> Array:
        return (k * j.get(k - 1, below) - (k + 1) * j[k + 1]) / (2 * k + 1)

    lower = slope(l - 1) if l > 0 else below
    curvature = (l * lower - (l + 1) * slope(l + 1)) / (2 * l + 1)
    norm = np.sqrt(2.0) / np.abs(spherical_jn(l + 1, zeros))
    return norm * np.stack([j[l], zeros * slope(l), zeros**2 * curvature])


@cache
def bessel_zeros(max_angular: int, size: int) -> Array:
    """The first zeros of every ``j_l``, (l, n): those of ``j_(l+1)`` lie between them."""
    between = np.pi * np.arange(1, size + max_angular + 1)
    rows = [between[:size]]
    for l in range(1, max_angular + 1):
        between = np.array([_zero(l, a, b) for a, b in pairwise(between)])
        rows.append(between[:size])
    return np.array(rows)


def _zero(l: int, a: float, b: float) -> float:
    return float(brentq(lambda x: spherical_jn(l, x), a, b, xtol=1e-14, rtol=1e-15))
