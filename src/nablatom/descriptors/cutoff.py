"""Where the neighborhood of an atom ends, and how neighbors fade out before.

``f(r) = 1`` below ``r_c - w``, 0 from ``r_c`` on, and a function of
``x = (r - r_c + w)/w`` from 1 to 0 in between.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutoff", "Polynomial", "ShiftedCosine", "Smoothing", "Step"]

Array = NDArray[np.float64]


class Smoothing(Protocol):
    """The way from 1 to 0."""

    def __call__(self, x: Array) -> tuple[Array, Array, Array]:
        """The function on [0, 1], with its first and second derivative."""


@dataclass(frozen=True)
class Step:
    """No way at all: neighbors count until they are gone. Gradients miss the jump."""

    def __call__(self, x: Array) -> tuple[Array, Array, Array]:
        """One, and no slope."""
        return np.ones_like(x), np.zeros_like(x), np.zeros_like(x)


@dataclass(frozen=True)
class ShiftedCosine:
    """``(1 + cos(π x))/2``; its second derivative jumps at both ends."""

    def __call__(self, x: Array) -> tuple[Array, Array, Array]:
        """The function on [0, 1], with its first and second derivative."""
        cosine = np.cos(np.pi * x)
        return (1 + cosine) / 2, -np.pi / 2 * np.sin(np.pi * x), -(np.pi**2) / 2 * cosine


@dataclass(frozen=True)
class Polynomial:
    """``1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2)``.

    Its first ``p - 1`` derivatives vanish at 0, and two of them at 1.

    Parameters
    ----------
    degree
        ``p``, at least 3, so that second derivatives are continuous.

    References
    ----------
    Gasteiger, Groß, Günnemann, ICLR (2020), eq. 8.
    """

    degree: int = 3

    def __post_init__(self) -> None:
        if self.degree < 3:
            raise ValueError(f"the degree must be 3 or more, got {self.degree}")

    def __call__(self, x: Array) -> tuple[Array, Array, Array]:
        """The function on [0, 1], with its first and second derivative."""
        p = self.degree
        factors = (-(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2)
        terms = list(zip(factors, range(p, p + 3), strict=True))
        value = 1 + sum((c * x**k for c, k in terms), np.zeros_like(x))
        first = sum((c * k * x ** (k - 1) for c, k in terms), np.zeros_like(x))
        second = sum((c * k * (k - 1) * x ** (k - 2) for c, k in terms), np.zeros_like(x))
        return value, first, second


@dataclass(frozen=True)
class Cutoff:
    """The radius of the neighborhood, and the smoothing before it.

    Called with distances, it returns the factor of each neighbor and its first two
    derivatives, each of the shape of the distances.

    Parameters
    ----------
    radius : length
        Neighbors closer than this count.
    width : length
        Over which they fade out; the whole radius if None. A `Step` has no width.
    smoothing
        `ShiftedCosine`, `Polynomial` or `Step`.

    Raises
    ------
    ValueError
        Unless ``0 < width <= radius``.

    Examples
    --------
    >>> cutoff = Cutoff(5.0, width=1.0)
    >>> value, slope, curvature = cutoff(np.array([3.0, 4.5, 6.0]))
    >>> value.round(6), slope.round(6)
    (array([1. , 0.5, 0. ]), array([ 0.      , -1.570796,  0.      ]))
    """

    radius: float
    width: float | None = 0.5
    smoothing: Smoothing = ShiftedCosine()

    def __post_init__(self) -> None:
        width = self.radius if self.width is None else self.width
        if not (np.isfinite(self.radius) and 0 < width <= self.radius):
            raise ValueError(f"expected 0 < width <= cutoff radius, got {self}")

    def __call__(self, r: Array) -> tuple[Array, Array, Array]:
        """The factor of neighbors at these distances, with its first two derivatives."""
        width = self.radius if self.width is None else self.width
        x = (r - self.radius + width) / width
        value, first, second = self.smoothing(np.clip(x, 0.0, 1.0))
        inside, fading = r < self.radius, (x > 0) & (x < 1)
        return (
            np.where(inside, value, 0.0),
            np.where(fading, first / width, 0.0),
            np.where(fading, second / width**2, 0.0),
        )
