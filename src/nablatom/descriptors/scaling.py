"""Weights of neighbors that fall off with their distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Willatt2018"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Willatt2018:
    """``u(r) = c/(c + (r/r_0)^m)``: near neighbors matter more than far ones.

    Called with distances, it returns the weights and their first two derivatives.

    Parameters
    ----------
    scale : length
        ``r_0``.
    rate
        ``c``; with 0, ``u = (r_0/r)^m``, which has no value at the center.
    exponent
        ``m``.

    Examples
    --------
    >>> Willatt2018(scale=2.0, rate=1.0, exponent=4)(np.array([0.0, 2.0]))[0]
    array([1. , 0.5])

    References
    ----------
    Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018).
    """

    scale: float
    rate: float = 1.0
    exponent: float = 4.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.rate >= 0 and self.exponent >= 0):
            raise ValueError(f"expected scale > 0, rate >= 0 and exponent >= 0, got {self}")

    def __call__(self, r: Array) -> tuple[Array, Array, Array]:
        """The weights at these distances, with their first two derivatives."""
        c, m = self.rate, self.exponent
        if c == 0 and np.any(r == 0):
            raise ValueError("a scaling with rate 0 is infinite at the center; choose rate > 0")
        with np.errstate(divide="ignore", invalid="ignore"):
            x = r / self.scale
            power = x**m
            below = c + power
            value = c / below if c else 1 / power
            first = -m * x ** (m - 1) / below * value
            second = m * x ** (m - 2) / below * value * (1 - m + 2 * m * power / below)
        center = r == 0  # powers of zero below one are no limits
        first, second = (
            np.where(center & (not finite), 0.0, derivative)
            for finite, derivative in ((m >= 1, first), (m >= 2, second))
        )
        return value, first / self.scale, second / self.scale**2
