"""Radial functions given by the user: at points of a table, or as functions of the distance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

from nablatom.descriptors.radial_basis import for_every_l

__all__ = ["Functions", "Tabulated"]

Array = NDArray[np.float64]
Nested = tuple["float | Nested", ...]

PIECES, DEGREE = 32, 20


@dataclass(frozen=True)
class Tabulated:
    """Functions given at points, as they are, interpolated by splines of degree 5.

    Parameters
    ----------
    points : (points,), length
        Rising, from 0 to the cutoff or beyond; at least six.
    values : (points, n) or (points, l, n)
        One function per column, the same for all l or each l with its own.

    Examples
    --------
    >>> r = np.linspace(0, 5, 51)
    >>> basis = Tabulated(r, np.stack([np.exp(-r), np.exp(-2 * r)], axis=1))
    >>> basis.size
    2
    """

    points: tuple[float, ...]
    values: Nested

    def __init__(self, points: ArrayLike, values: ArrayLike) -> None:
        x, y = np.asarray(points, np.float64), np.asarray(values, np.float64)
        if x.ndim != 1 or len(x) < 6 or x[0] != 0 or not (np.diff(x) > 0).all():
            raise ValueError(f"expected at least six rising points from 0 on, got {x.tolist()}")
        if y.ndim not in (2, 3) or len(y) != len(x) or not np.isfinite(y).all():
            raise ValueError(
                f"expected finite values of shape ({len(x)}, n) or ({len(x)}, l, n), got {y.shape}"
            )
        object.__setattr__(self, "points", tuple(x.tolist()))
        object.__setattr__(self, "values", _as_tuples(y.tolist()))

    @property
    def size(self) -> int:
        """Number of functions for every l."""
        return int(np.shape(self.values)[-1])

    def reach(self, cutoff: float) -> float:  # noqa: ARG002 - a table has its own
        """The last point."""
        return self.points[-1]

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:  # noqa: ARG002
        """Functions and derivatives, (3, points, l, n)."""
        values = np.asarray(self.values, np.float64)
        if values.ndim == 2:
            values = for_every_l(values, max_angular)
        elif values.shape[1] <= max_angular:
            raise ValueError(
                f"the table has radial functions for l < {values.shape[1]}, but max_angular is "
                f"{max_angular}"
            )
        spline = make_interp_spline(np.asarray(self.points), values[:, : max_angular + 1], k=5)
        return np.stack([spline(r, nu) for nu in range(3)])


@dataclass(frozen=True)
class Functions:
    """Any functions of the distance, as they are, the same for every l.

    They are called with arrays of distances in [0, R] and return arrays of the same shape.
    Derivatives come from Chebyshev polynomials of degree 20 on 32 pieces.

    Parameters
    ----------
    functions
        Smooth ones.
    radius : length
        ``R``; the cutoff if None.

    Examples
    --------
    >>> basis = Functions((np.cos, lambda r: np.exp(-r)))
    >>> basis(np.array([0.5, 1.0]), 5.0, 0)[1, :, 0].round(6)  # derivatives
    array([[-0.479426, -0.606531],
           [-0.841471, -0.367879]])
    """

    functions: tuple[Callable[[Array], Array], ...]
    radius: float | None = None

    def __post_init__(self) -> None:
        if not self.functions:
            raise ValueError("no radial functions: expected at least one")
        if self.radius is not None and not self.radius > 0:
            raise ValueError(f"the radius of a basis must be positive, got {self.radius}")

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.functions)

    def reach(self, cutoff: float) -> float:
        """The radius."""
        return self.radius or cutoff

    def __call__(self, r: Array, cutoff: float, max_angular: int) -> Array:
        """Functions and derivatives, (3, points, l, n): the same for all l."""
        radius = self.reach(cutoff)
        found = np.stack([_piecewise(f, r, radius) for f in self.functions], axis=-1)
        return for_every_l(found, max_angular)


def _piecewise(function: Callable[[Array], Array], r: Array, radius: float) -> Array:
    """A function and its derivatives through Chebyshev polynomials, (3, points)."""
    half = radius / PIECES / 2
    nodes = chebyshev.chebpts1(DEGREE + 1)
    centers = half * (2 * np.arange(PIECES) + 1)
    samples = np.asarray(function(centers[:, None] + half * nodes), np.float64)
    coefficients = np.linalg.solve(chebyshev.chebvander(nodes, DEGREE), samples.T)
    piece = np.clip((r / (2 * half)).astype(np.int64), 0, PIECES - 1)
    x = (r - centers[piece]) / half
    derivatives = (chebyshev.chebder(coefficients, k, scl=1 / half) for k in range(3))
    return np.stack([chebyshev.chebval(x, c[:, piece], tensor=False) for c in derivatives])


def _as_tuples(values: object) -> object:
    return tuple(map(_as_tuples, values)) if isinstance(values, list) else values
