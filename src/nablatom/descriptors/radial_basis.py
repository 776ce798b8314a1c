"""Radial functions that densities are expanded on: what they have in common, and Gaussians.

A basis, called with distances, gives its functions with their first two derivatives. Those with
a ``max_radial`` are orthonormal with weight ``r²``, by Löwdin's symmetric recipe where they are
not by themselves. Waves, polynomials and given functions have files of their own.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import lgamma
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.orthonormal import gamma_half, inverse_root

__all__ = ["Counted", "Gto", "RadialBasis", "for_every_l", "powers"]

Array = NDArray[np.float64]


class RadialBasis(Protocol):
    """Radial functions ``R_nl(r)``, n from 0; equal ones are made of the same numbers."""

    def __hash__(self) -> int: ...

    @property
    def size(self) -> int:
        """Number of functions for every l."""

    def reach(self, cutoff: float) -> float:
        """Distance beyond which the functions are zero, or not defined, given the cutoff."""

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions, first and second derivatives, (3, points, max_angular + 1, n)."""


@dataclass(frozen=True)
class Counted:
    """Functions ``n = 0 … max_radial`` on a sphere of this radius, by default the cutoff."""

    max_radial: int
    radius: float | None = None

    def __post_init__(self) -> None:
        if self.max_radial < 0:
            raise ValueError(f"max_radial counts from 0, got {self.max_radial}")
        if self.radius is not None and not (np.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"the radius of a basis must be positive, got {self.radius}")

    @property
    def size(self) -> int:
        """Number of functions for every l."""
        return self.max_radial + 1

    def reach(self, cutoff: float) -> float:
        """The radius."""
        return self.radius or cutoff


@dataclass(frozen=True)
class Gto(Counted):
    """Gaussian type orbitals, ``r^n exp(-r²/2σ_n²)`` made orthonormal on [0, ∞).

    ``σ_n = R max(√n, 1)/N`` with ``N = max_radial + 1`` functions, the same for every l.

    Parameters
    ----------
    max_radial
        Functions ``n = 0 … max_radial``.
    radius : length
        ``R``; the cutoff if None.

    Examples
    --------
    >>> Gto(max_radial=5).size
    6

    References
    ----------
    Goscinski, Musil, Pozdnyakov, Nigam, Ceriotti, J. Chem. Phys. 155, 104106 (2021).
    """

    def reach(self, cutoff: float) -> float:
        """Where the widest Gaussian, times its power, is below 1e-17 of its largest value."""
        widest = float(self.widths(cutoff)[-1])
        return widest * (9.0 + float(np.sqrt(self.max_radial)))

    def widths(self, cutoff: float) -> Array:
        """``σ_n``, (size,)."""
        n = np.arange(self.size)
        return (self.radius or cutoff) * np.maximum(np.sqrt(n), 1.0) / self.size

    def mixing(self, cutoff: float) -> Array:
        """``T`` of ``R_n = sum_k T_nk r^k exp(-r²/2σ_k²)``, (size, size)."""
        n, sigma = np.arange(self.size), self.widths(cutoff)
        log_gamma = np.array([lgamma(k + 1.5) for k in n])
        log_norm = 0.5 * (np.log(2) - (2 * n + 3) * np.log(sigma) - log_gamma)
        return _inverse_root(self.size) * np.exp(log_norm)

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n): the same for all l."""
        r = r[:, None]
        b = 0.5 / self.widths(cutoff) ** 2
        power, first, second = powers(r, np.arange(self.size))
        slope = first - 2 * b * r * power
        curvature = second - 4 * b * r * first + (4 * b * b * r * r - 2 * b) * power
        primitives = np.stack([power, slope, curvature]) * np.exp(-b * r * r)
        return for_every_l(primitives @ self.mixing(cutoff).T, max_angular)


@cache
def _inverse_root(size: int) -> Array:
    """``S^(-1/2)`` of normalised primitives, which does not depend on the radius."""

    def overlap(i: int, j: int) -> Decimal:
        p, s, t = i + j + 3, Decimal(max(i, 1)), Decimal(max(j, 1))  # s, t: σ² over (R/N)²
        gammas = gamma_half(p) / (gamma_half(2 * i + 3) * gamma_half(2 * j + 3)).sqrt()
        square = (2 * s * t / (s + t)) ** p / (s ** Decimal(i + 1.5) * t ** Decimal(j + 1.5))
        return gammas * square.sqrt()

    return inverse_root(size, overlap)


def for_every_l(functions: Array, max_angular: int) -> Array:
    """Functions (…, n) → (…, l, n), without a copy."""
    shape = (*functions.shape[:-1], max_angular + 1, functions.shape[-1])
    return np.broadcast_to(functions[..., None, :], shape)


def powers(r: Array, k: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """``r^k`` with two derivatives; where a power falls below zero its factor is zero."""
    first = k * r ** np.maximum(k - 1, 0)
    second = k * (k - 1) * r ** np.maximum(k - 2, 0)
    return r**k, first, second
