"""Kernels: the radial and angular factors of one pair, and chunks of numbers.

Arrays over radial functions are padded to a multiple of `WIDTH`, so that loops over them come
in pieces that fill a register of the processor, and never need to ask how many are left.
"""

from collections.abc import Callable
from math import factorial, pi, sqrt
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.lanes import WIDTH

__all__ = ["Basis", "aligned", "compiled", "evaluate", "harmonic_factors", "padded"]

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
    v: Array,
    r: float,
    factor: float,
    slope: float,
    basis: Basis,
    harmonics: Array,
    gradients: Array,
    radial: Array,
    slopes: Array,
    scratch: Array,
) -> None:
    """Harmonics ``Y_lm``, ``r ∇Y_lm / r``, and radial factors ``F_ln``, ``F'_ln`` of one pair.

    ``v`` is the pair vector and ``r`` its length; ``factor`` and ``slope`` those of the cutoff.
    Formulas: `nablatom.descriptors.harmonics`.
    """
    inverse = 1.0 / r
    _harmonics(
        v[0] * inverse,
        v[1] * inverse,
        v[2] * inverse,
        inverse,
        basis.harmonics,
        harmonics,
        gradients,
        scratch,
    )
    _radial(r, factor, slope, basis.table, basis.inverse_spacing, radial, slopes)


@compiled
def _harmonics(
    x: float, y: float, z: float, inverse: float, factors: Array, Y: Array, D: Array, scratch: Array
) -> None:
    top = factors.shape[1] - 1
    q, c, s = scratch[2:], scratch[0], scratch[1]
    c[0], s[0], q[0, 0] = 1.0, 0.0, 1.0
    for m in range(1, top + 1):
        c[m] = x * c[m - 1] - y * s[m - 1]
        s[m] = x * s[m - 1] + y * c[m - 1]
    for l in range(1, top + 1):
        for m in range(l - 1):
            q[l, m] = factors[1, l, m] * z * q[l - 1, m] - factors[2, l, m] * q[l - 2, m]
        q[l, l] = (2 * l - 1) * q[l - 1, l - 1]
        q[l, l - 1] = z * q[l, l]
    for l in range(top + 1):
        middle = l * l + l
        for m in range(l + 1):
            norm = factors[0, l, m]
            along_z = norm * (l + m) * q[l - 1, m] if m < l else 0.0
            along_r = -norm * q[l - 1, m + 1] if m + 1 < l else 0.0
            here = norm * q[l, m]
            value = here * c[m]
            radial = along_r * c[m]
            dx, dy = radial * x, radial * y
            if m:
                dx += here * m * c[m - 1]
                dy -= here * m * s[m - 1]
            Y[middle + m] = value
            D[0, middle + m] = (dx - l * value * x) * inverse
            D[1, middle + m] = (dy - l * value * y) * inverse
            D[2, middle + m] = (along_z * c[m] - l * value * z) * inverse
            if m:
                value = here * s[m]
                radial = along_r * s[m]
                dx = radial * x + here * m * s[m - 1]
                dy = radial * y + here * m * c[m - 1]
                Y[middle - m] = value
                D[0, middle - m] = (dx - l * value * x) * inverse
                D[1, middle - m] = (dy - l * value * y) * inverse
                D[2, middle - m] = (along_z * s[m] - l * value * z) * inverse


@compiled
def _radial(
    r: float, factor: float, slope: float, table: Array, inverse_spacing: float, F: Array, dF: Array
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
    left, right = table[knot], table[knot + 1]
    for k in range(len(F)):
        rise = right[0, k] - left[0, k]
        value = left[0, k] + b0 * rise
        value += a1 * left[1, k] + a2 * left[2, k] + b1 * right[1, k] + b2 * right[2, k]
        change = d0 * rise
        change += da1 * left[1, k] + da2 * left[2, k] + db1 * right[1, k] + db2 * right[2, k]
        F[k] = factor * value
        dF[k] = factor * change + slope * value
