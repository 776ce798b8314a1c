"""What a neighbor at some distance adds to the coefficients: radial integrals, and their table.

``I_nl(r) = int x² R_nl(x) int g(|x - r e|) P_l(x·e/x) dΩ dx`` of a density ``g`` that is a sum
of Gaussians ``w exp(-a q²)``: a Gaussian at the distance ``r`` has the angular part
``4π exp(-a (x² + r²)) i_l(2 a x r)``. With Gaussian orbitals the integral has a closed form, in
which nothing overflows; with any other functions it is a quadrature. A delta density leaves
``I_nl(r) = R_nl(r)``.

Musil et al., J. Chem. Phys. 154, 114109 (2021); DLMF 10.47, 10.54, 13.2.39, 13.3.15.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, hyp1f1, ive

from nablatom.descriptors.density import Delta, Density
from nablatom.descriptors.radial_basis import Gto, RadialBasis, powers

__all__ = ["RadialTable", "nodes_and_weights", "radial_integrals", "radial_table", "tabulated"]

Array = NDArray[np.float64]

FIRST, LAST = 80, 10240  # intervals of the coarsest and of the finest table
NODES = 20  # of a panel of the quadrature
TAIL = 9.0  # standard deviations after which a Gaussian is zero, 1e-18
CHUNK = 1 << 22  # numbers of a quadrature at a time


@dataclass(frozen=True, eq=False)
class RadialTable:
    """Radial integrals at uniform distances from 0 to the cutoff.

    Between the knots they are polynomials of degree 5, which match values, slopes and
    curvatures at both ends.

    Attributes
    ----------
    values : (knots, 3, (max_angular + 1) * radial)
        ``I, dI/dr, d²I/dr²``; ``l * radial + n`` is the column of ``l, n``.
    spacing : length
        Of the knots.
    center : (radial,)
        ``I_n0(0) Y_00``: what an atom adds to its own density.
    """

    values: Array
    spacing: float
    center: Array

    def __call__(self, r: Array) -> tuple[Array, Array, Array]:
        """``I``, its slope and its curvature at these distances, each (pairs, columns)."""
        h = self.spacing
        k = np.clip((r / h).astype(np.int64), 0, len(self.values) - 2)
        u = (r / h - k)[:, None]
        p, m, c = (self.values[k, order] * h**order for order in range(3))
        q, s, d = (self.values[k + 1, order] * h**order for order in range(3))
        rise = q - p
        c3 = 10 * rise - 6 * m - 4 * s - 1.5 * c + 0.5 * d
        c4 = -15 * rise + 8 * m + 7 * s + 1.5 * c - d
        c5 = 6 * rise - 3 * m - 3 * s - 0.5 * c + 0.5 * d
        return (
            p + u * (m + u * (c / 2 + u * (c3 + u * (c4 + u * c5)))),
            (m + u * (c + u * (3 * c3 + u * (4 * c4 + u * 5 * c5)))) / h,
            (c + u * (6 * c3 + u * (12 * c4 + u * 20 * c5))) / h**2,
        )


@lru_cache(maxsize=64)
def radial_table(
    basis: RadialBasis,
    density: Density | Delta,
    cutoff: float,
    max_angular: int,
    accuracy: float = 1e-12,
) -> RadialTable:
    """The table of the radial integrals of a basis, with as many knots as it takes.

    Parameters
    ----------
    cutoff : length
        The last knot; also the default radius of the basis.
    accuracy
        Largest error between the knots, as a fraction of the largest integral; 100 times as
        much for derivatives.

    Raises
    ------
    ValueError
        The basis ends before the cutoff, where delta densities would jump; or the functions
        are too rough for this accuracy.

    Examples
    --------
    >>> from nablatom.descriptors.density import Gaussian
    >>> table = radial_table(Gto(7), Gaussian(0.3), 5.0, 6)
    >>> table.values.shape
    (641, 3, 56)
    """
    if isinstance(density, Delta) and basis.reach(cutoff) < cutoff:
        raise ValueError(
            f"radial functions that end at {basis.reach(cutoff)} leave nothing of a delta density "
            f"beyond, but the cutoff is {cutoff}"
        )

    def integrals(r: Array) -> Array:
        return radial_integrals(basis, density, r, cutoff, max_angular)

    return tabulated(integrals, cutoff, accuracy)


def tabulated(integrals: Callable[[Array], Array], limit: float, accuracy: float) -> RadialTable:
    """The table of a function that gives (3, points, l, n), from 0 to the limit."""
    values = _refined(lambda x: _rows(integrals(x)), limit, accuracy)
    size = integrals(np.zeros(1)).shape[-1]
    center = values[0, 0, :size] / np.sqrt(4 * np.pi)
    for array in (values, center):
        array.flags.writeable = False
    return RadialTable(values, limit / (len(values) - 1), center)


def _refined(rows: Callable[[Array], Array], cutoff: float, accuracy: float) -> Array:
    """Halve the intervals until the values between the knots are those of the polynomials."""
    values = rows(np.linspace(0, cutoff, FIRST + 1, dtype=np.float64))
    intervals, before = FIRST, np.inf
    while intervals <= LAST:
        spacing = cutoff / intervals
        between = (np.arange(intervals, dtype=np.float64) + 0.5) * spacing
        exact = rows(between)
        guess, *_ = RadialTable(values, spacing, np.empty(0))(between)
        largest, steepest = (np.abs(values[:, order]).max() for order in (0, 1))
        error = np.abs(guess - exact[:, 0]).max()
        # The error is c u³ (1 - u)³: steepest beside the middle, by 3.44 over the spacing.
        if error <= accuracy * largest and 3.44 * error <= 100 * accuracy * steepest * spacing:
            return values
        if before / 8 < error < 1e-10 * largest:
            return values  # rounding of the integrals themselves
        values, before, intervals = _interleaved(values, exact), error, 2 * intervals
    raise ValueError(
        f"the radial integrals change too fast for a table of accuracy {accuracy}: the error is "
        f"{before:.1e} with {LAST} knots; take smoother radial functions, or a wider density"
    )


def _rows(integrals: Array) -> Array:
    """(3, points, l, n) → (points, 3, columns)."""
    _, points, angular, radial = integrals.shape
    return np.ascontiguousarray(np.moveaxis(integrals, 0, 1)).reshape(points, 3, angular * radial)


def _interleaved(knots: Array, between: Array) -> Array:
    values = np.empty((len(knots) + len(between), *knots.shape[1:]))
    values[::2], values[1::2] = knots, between
    return values


def radial_integrals(
    basis: RadialBasis, density: Density | Delta, r: Array, cutoff: float, max_angular: int
) -> Array:
    """The integrals at some distances with two derivatives, (3, points, l, n), to rounding."""
    if isinstance(density, Delta):
        return basis(r, cutoff, max_angular)
    weights, exponents = density.gaussians()
    total = np.zeros((3, len(r), max_angular + 1, basis.size))
    for w, a in zip(weights.tolist(), exponents.tolist(), strict=True):
        if isinstance(basis, Gto):
            total += w * _closed_form(basis, a, r, cutoff, max_angular)
        else:
            total += w * _quadrature(basis, a, r, cutoff, max_angular)
    return total


# -- Gaussian orbitals ---------------------------------------------------------------------


def _closed_form(basis: Gto, a: float, r: Array, cutoff: float, max_angular: int) -> Array:
    """``sum_k T_nk P_kl r^l exp(-(a - t) r²) M(β - α, β, -t r²)``, with ``t = a²/(a + b_k)``."""
    k, l = np.arange(basis.size), np.arange(max_angular + 1)[:, None]
    b = 0.5 / basis.widths(cutoff) ** 2
    alpha, beta = (k + l + 3) / 2, l + 1.5
    t = a * a / (a + b)
    log_prefactor = gammaln(alpha) - gammaln(beta) - alpha * np.log(a + b) + l * np.log(a)
    prefactor = np.pi**1.5 * np.exp(log_prefactor)
    r = r[:, None, None]
    decay = np.exp(-(a * b / (a + b)) * r * r)  # a - t without its cancellation
    m0, m1, m2 = (hyp1f1(beta - alpha, beta + i, -t * r * r) for i in range(3))
    m1, m2 = alpha / beta * m1, alpha * (alpha + 1) / (beta * (beta + 1)) * m2
    h = decay * m0
    slope = decay * r * (-2 * a * m0 + 2 * t * m1)
    curvature = decay * (
        (4 * a * a * r * r - 2 * a) * m0 + (2 * t - 8 * a * t * r * r) * m1 + 4 * t * t * r * r * m2
    )
    power, first, second = powers(r, l)
    primitives = prefactor * np.stack(
        [
            power * h,
            first * h + power * slope,
            second * h + 2 * first * slope + power * curvature,
        ]
    )
    return primitives @ basis.mixing(cutoff).T


# -- any functions -------------------------------------------------------------------------


def _quadrature(basis: RadialBasis, a: float, r: Array, cutoff: float, max_angular: int) -> Array:
    """Gauss-Legendre in panels of two standard deviations, where the Gaussian is not zero."""
    x, weights = nodes_and_weights(basis, np.sqrt(0.5 * a), cutoff)
    functions = basis(x, cutoff, max_angular)[0] * (weights * x * x)[:, None, None]
    sigma = np.sqrt(0.5 / a)
    width = min(len(x), int(np.max(_count(x, r, TAIL * sigma), initial=1)))
    first = np.clip(np.searchsorted(x, r - TAIL * sigma), 0, len(x) - width)
    result = np.empty((3, len(r), max_angular + 1, basis.size))
    step = max(1, CHUNK // (width * (max_angular + 1) * basis.size))
    for start in range(0, len(r), step):
        rows = slice(start, start + step)
        window = first[rows, None] + np.arange(width)
        kernel = _kernel(a, x[window], r[rows, None], max_angular)  # (3, l, points, nodes)
        result[:, rows] = _contracted(kernel, functions[window])
    return result


def _contracted(kernel: Array, functions: Array) -> Array:
    """Sum over the nodes, (3, points, l, n)."""
    products = np.moveaxis(kernel, 0, 2) @ np.moveaxis(functions, 2, 0)  # (l, points, 3, n)
    return np.transpose(products, (2, 1, 0, 3))


def nodes_and_weights(basis: RadialBasis, detail: float, cutoff: float) -> tuple[Array, Array]:
    """Gauss-Legendre on the support of the functions, in panels at most 1/detail long."""
    reach = basis.reach(cutoff)
    # the functions may wave as often as there are
    panels = int(np.ceil(reach * max(detail, (basis.size + 3) / (2 * cutoff))))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = reach / panels / 2
    x = half * (2 * np.arange(panels)[:, None] + 1 + nodes)
    return x.ravel(), np.tile(half * weights, panels)


def _count(x: Array, r: Array, reach: float) -> NDArray[np.intp]:
    return np.searchsorted(x, r + reach) - np.searchsorted(x, r - reach)


def _kernel(a: float, x: Array, r: Array, max_angular: int) -> Array:
    """``4π exp(-a (x² + r²)) i_l(2 a x r)`` and its two derivatives in r, (3, l, …)."""
    bessel = _scaled_bessel(2 * a * x * r, max_angular + 2)
    slope = _bessel_slope(bessel)
    curvature = _bessel_slope(slope)
    decay = 4 * np.pi * np.exp(-a * (x - r) ** 2)
    n = max_angular + 1
    i, di, ddi = bessel[:n], slope[:n], curvature[:n]
    return decay * np.stack(
        [
            i,
            2 * a * (x * di - r * i),
            4 * a * a * ((r * r - 0.5 / a) * i - 2 * r * x * di + x * x * ddi),
        ]
    )


def _scaled_bessel(z: Array, order: int) -> Array:
    """``exp(-z) i_l(z)`` for l = 0 … order, (l, …): downwards, which is stable."""
    safe = np.where(z > 0, z, 1.0)
    values = np.empty((order + 1, *z.shape))
    for l in (order, order - 1):
        values[l] = np.sqrt(np.pi / (2 * safe)) * ive(l + 0.5, safe)
    for l in range(order - 1, 0, -1):
        values[l - 1] = values[l + 1] + (2 * l + 1) / safe * values[l]
    return np.where(z > 0, values, (np.arange(order + 1) == 0).reshape(-1, *(1 for _ in z.shape)))


def _bessel_slope(values: Array) -> Array:
    """``i_l' = (l i_(l-1) + (l+1) i_(l+1))/(2l+1)``, for one order less."""
    l = np.arange(len(values) - 1).reshape(-1, *(1 for _ in values.shape[1:]))
    below = np.concatenate([values[:1], values[:-2]])  # times l = 0 at first
    return (l * below + (l + 1) * values[1:]) / (2 * l + 1)
