"""Kernels: the radial and angular factors of one pair, and chunks of numbers.

Arrays over radial functions are padded to a multiple of `WIDTH`, so that loops over them come
in pieces that fill a register of the processor, and never need to ask how many are left.
"""

from collections.abc import Callable
from math import factorial, pi, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.lanes import WIDTH, item, load, multiply_add, put, spread, store

if TYPE_CHECKING:
    from nablatom.descriptors.kernels_index import Surroundings

__all__ = ["Basis", "aligned", "compiled", "evaluate", "harmonic_factors", "inside", "padded"]

Array = NDArray[np.float64]
Kernel: TypeAlias = Callable[..., Any]


def compiled(function: Kernel) -> Kernel:
    """The function as machine code, kept on disk, that runs without the interpreter's lock."""
    # a + b*c in one rounding is the only liberty taken with arithmetic
    kernel: Kernel = numba.njit(
        function, cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
    )
    return kernel


def padded(size: int) -> int:
    """The next multiple of `WIDTH`."""
    return -(-size // WIDTH) * WIDTH


def inside(function: Kernel) -> Kernel:
    """As `compiled`, and part of what calls it: passing arrays to small functions is slow."""
    kernel: Kernel = numba.njit(
        function,
        cache=True,
        nogil=True,
        error_model="numpy",
        fastmath={"contract"},
        forceinline=True,
    )
    return kernel


class Basis(NamedTuple):
    """Radial table and factors of the harmonics.

    Attributes
    ----------
    table : (knots, 3, (max_angular + 1) * padded)
        Values, slopes and curvatures of the radial integrals at uniform knots, in units of
        the spacing; column ``l * padded + n``.
    inverse_spacing
        Of the knots.
    size
        Number of radial functions ``n`` without padding.
    center : (padded,)
        What an atom adds to its own density, with its weight.
    harmonics : (3, max_angular + 1, max_angular + 1)
        See `harmonic_factors`.
    """

    table: Array
    inverse_spacing: float
    size: int
    center: Array
    harmonics: Array


def harmonic_factors(max_angular: int) -> Array:
    """Norms and the two factors of the recurrence in l, for each l, m."""
    factors = np.zeros((3, max_angular + 1, max_angular + 1))
    for l in range(max_angular + 1):
        for m in range(l + 1):
            shell = (2 if m else 1) * (2 * l + 1) / (4 * pi)
            factors[0, l, m] = sqrt(shell * factorial(l - m) / factorial(l + m))
            if m < l:
                factors[1:, l, m] = (2 * l - 1) / (l - m), (l + m - 1) / (l - m)
    return factors


@compiled
def aligned(rows: int, columns: int) -> Array:
    """Zeros whose rows start where a register of the processor loads them in one go.

    ``columns`` must be a multiple of `WIDTH`.
    """
    numbers = np.zeros(rows * columns + WIDTH)
    start = (-numbers.ctypes.data // 8) % WIDTH
    return numbers[start : start + rows * columns].reshape(rows, columns)


@compiled
def evaluate(
    around: "Surroundings",
    p: int,
    basis: Basis,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
    k: int,
    scratch: Array,
) -> None:
    """Harmonics ``Y_lm``, ``r ∇Y_lm / r``, and radial factors ``F_ln``, ``F'_ln`` of pair ``p``.

    They become row ``k`` of ``Y`` (rows, lm), ``D`` (rows, 3, lm), ``F`` and ``dF`` (rows, ln).
    Formulas: `nablatom.descriptors.harmonics`.
    """
    r = item(around.distance, p)
    inverse = 1.0 / r
    x, y, z = (
        item(around.vector, 3 * p) * inverse,
        item(around.vector, 3 * p + 1) * inverse,
        item(around.vector, 3 * p + 2) * inverse,
    )
    _harmonics(x, y, z, inverse, basis.harmonics, Y, D, k, scratch)
    factor, slope = item(around.factor, p), item(around.slope, p)
    _radial(r, factor, slope, basis.table, basis.inverse_spacing, F, dF, k)


@inside
def _harmonics(
    x: float,
    y: float,
    z: float,
    inverse: float,
    factors: Array,
    Y: Array,
    D: Array,
    k: int,
    scratch: Array,
) -> None:
    size = factors.shape[1]
    # scratch: c, s, then q; factors: norm, and the two of the recurrence
    s, q, once, twice = size, 2 * size, size * size, 2 * size * size
    put(scratch, 0, 1.0)
    put(scratch, s + 0, 0.0)
    put(scratch, q + 0, 1.0)
    for m in range(1, size):
        put(scratch, m, x * item(scratch, m - 1) - y * item(scratch, s + m - 1))
        put(scratch, s + m, x * item(scratch, s + m - 1) + y * item(scratch, m - 1))
    for l in range(1, size):
        row = l * size
        for m in range(l - 1):
            here = item(factors, once + row + m) * z * item(scratch, q + row - size + m)
            put(
                scratch,
                q + row + m,
                here - item(factors, twice + row + m) * item(scratch, q + row - 2 * size + m),
            )
        last = (2 * l - 1) * item(scratch, q + row - size + l - 1)
        put(scratch, q + row + l, last)
        put(scratch, q + row + l - 1, z * last)
    lm = size * size
    y_row, d_row = k * lm, 3 * k * lm
    for l in range(size):
        row, middle = l * size, l * l + l
        for m in range(l + 1):
            n = item(factors, row + m)
            here = n * item(scratch, q + row + m)
            along_z = n * (l + m) * item(scratch, q + row - size + m) if m < l else 0.0
            along_r = -n * item(scratch, q + row - size + m + 1) if m + 1 < l else 0.0
            value, sideways = here * item(scratch, m), along_r * item(scratch, m)
            dx, dy, at = sideways * x, sideways * y, middle + m
            if m:
                dx += here * m * item(scratch, m - 1)
                dy -= here * m * item(scratch, s + m - 1)
            put(Y, y_row + at, value)
            put(D, d_row + at, (dx - l * value * x) * inverse)
            put(D, d_row + lm + at, (dy - l * value * y) * inverse)
            put(D, d_row + 2 * lm + at, (along_z * item(scratch, m) - l * value * z) * inverse)
            if m:
                value, sideways, at = (
                    here * item(scratch, s + m),
                    along_r * item(scratch, s + m),
                    middle - m,
                )
                dx = sideways * x + here * m * item(scratch, s + m - 1)
                dy = sideways * y + here * m * item(scratch, m - 1)
                put(Y, y_row + at, value)
                put(D, d_row + at, (dx - l * value * x) * inverse)
                put(D, d_row + lm + at, (dy - l * value * y) * inverse)
                put(
                    D,
                    d_row + 2 * lm + at,
                    (along_z * item(scratch, s + m) - l * value * z) * inverse,
                )


@inside
def _radial(
    r: float,
    factor: float,
    slope: float,
    table: Array,
    inverse_spacing: float,
    F: Array,
    dF: Array,
    row: int,
) -> None:
    """Quintic Hermite interpolation, times the cutoff."""
    u = r * inverse_spacing
    knot = min(int(u), table.shape[0] - 2)
    u -= knot
    u2 = u * u
    u3 = u2 * u
    b0 = u3 * (10 - 15 * u + 6 * u2)
    a1, b1 = u - u3 * (6 - 8 * u + 3 * u2), u3 * (7 * u - 4 - 3 * u2)
    a2, b2 = 0.5 * u2 * (1 - 3 * u + 3 * u2 - u3), 0.5 * u3 * (1 - 2 * u + u2)
    d0 = 30 * u2 * (1 - 2 * u + u2) * inverse_spacing
    da1 = (1 - u2 * (18 - 32 * u + 15 * u2)) * inverse_spacing
    db1 = u2 * (28 * u - 12 - 15 * u2) * inverse_spacing
    da2 = 0.5 * (2 * u - u2 * (9 - 12 * u + 5 * u2)) * inverse_spacing
    db2 = 0.5 * u2 * (3 - 8 * u + 5 * u2) * inverse_spacing
    none, keeps, tilts = spread(0.0), spread(factor), spread(slope)
    count = table.shape[2]
    at_left = knot * 3 * count
    at_right = at_left + 3 * count
    for k in range(0, count, WIDTH):
        value, change = load(table, at_left + k), none
        rise = multiply_add(spread(-1.0), value, load(table, at_right + k))
        value, change = multiply_add(spread(b0), rise, value), multiply_add(spread(d0), rise, none)
        other = load(table, at_left + count + k)
        value, change = (
            multiply_add(spread(a1), other, value),
            multiply_add(spread(da1), other, change),
        )
        other = load(table, at_left + 2 * count + k)
        value, change = (
            multiply_add(spread(a2), other, value),
            multiply_add(spread(da2), other, change),
        )
        other = load(table, at_right + count + k)
        value, change = (
            multiply_add(spread(b1), other, value),
            multiply_add(spread(db1), other, change),
        )
        other = load(table, at_right + 2 * count + k)
        value, change = (
            multiply_add(spread(b2), other, value),
            multiply_add(spread(db2), other, change),
        )
        store(F, row * count + k, multiply_add(keeps, value, none))
        store(dF, row * count + k, multiply_add(keeps, change, multiply_add(tilts, value, none)))
