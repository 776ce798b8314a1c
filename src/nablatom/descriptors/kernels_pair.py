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

__all__ = [
    "Basis",
    "Factors",
    "aligned",
    "compiled",
    "evaluate",
    "harmonic_at",
    "harmonic_factors",
    "inside",
    "memory_of_pairs",
    "padded",
    "radial_at",
]

Array = NDArray[np.float64]
Kernel: TypeAlias = Callable[..., Any]

KINDS = 4  # of harmonics: themselves, and their derivatives along three axes


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


class Factors(NamedTuple):
    """Angular and radial factors of some pairs, which `evaluate` finds.

    What is about one l is together, because kernels work off all pairs for one l before the
    next.

    Attributes
    ----------
    harmonics : (lm, registers * 4 * WIDTH)
        Those of l begin at row ``l²``, ordered by register of pairs, by kind (``Y`` and the three
        parts of ``∇Y``), and by m; a lane is a pair.
    radial : (max_angular + 1, pairs * 2 * padded)
        ``F_n`` and ``F'_n`` of each pair.
    direction : (pairs, 3)
        Unit vectors.
    scratch
        Memory that `evaluate` works in.
    """

    harmonics: Array
    radial: Array
    direction: Array
    scratch: Array


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
def memory_of_pairs(pairs: int, basis: Basis) -> Factors:
    """Memory for the factors of so many pairs."""
    angular, width = basis.harmonics.shape[1], len(basis.center)
    registers = (pairs + WIDTH - 1) // WIDTH
    return Factors(
        aligned(angular * angular, registers * KINDS * WIDTH),
        aligned(angular, pairs * 2 * width),
        np.empty((pairs, 3)),
        aligned(1, (4 + 2 * angular + angular * angular) * WIDTH)[0],
    )


@inside
def harmonic_at(l: int, k: int, harmonics: Array) -> int:
    """Where ``Y_l,-l`` of pair ``k`` is: m is in steps of `WIDTH`, kinds in 2 l + 1 of them."""
    register = l * l * harmonics.shape[1] + k // WIDTH * (KINDS * (2 * l + 1) * WIDTH)
    return register + k % WIDTH


@inside
def radial_at(l: int, k: int, radial: Array, width: int) -> int:
    """Where ``F_ln`` of pair ``k`` are; ``F'_ln`` follow."""
    return l * radial.shape[1] + k * 2 * width


@compiled
def evaluate(around: "Surroundings", begin: int, end: int, basis: Basis, factors: Factors) -> None:
    """Harmonics ``Y_lm`` and ``∇Y_lm``, and radial factors ``F_ln``, ``F'_ln`` of some pairs.

    They become the first pairs of the factors. As many pairs as there are lanes share the
    arithmetic of the harmonics. Formulas: `nablatom.descriptors.harmonics`.
    """
    scratch = factors.scratch
    for start in range(begin, end, WIDTH):
        for lane in range(WIDTH):
            p = min(start + lane, end - 1)
            inverse = 1.0 / item(around.distance, p)
            for axis in range(3):
                u = item(around.vector, 3 * p + axis) * inverse
                put(factors.direction, 3 * (p - begin) + axis, u)
                put(scratch, axis * WIDTH + lane, u)
            put(scratch, 3 * WIDTH + lane, inverse)
        _harmonics(basis.harmonics, scratch, factors.harmonics, (start - begin) // WIDTH)
    for p in range(begin, end):
        r, factor, slope = item(around.distance, p), item(around.factor, p), item(around.slope, p)
        _radial(r, factor, slope, basis.table, basis.inverse_spacing, factors.radial, p - begin)


@inside
def _harmonics(norms: Array, scratch: Array, waves: Array, register: int) -> None:
    """All harmonics of a register of pairs; ``u`` and ``1/r`` are at the start of the scratch."""
    none, size = spread(0.0), norms.shape[1]
    lm, minus = size * size, spread(-1.0)
    x, y, z = load(scratch, 0), load(scratch, WIDTH), load(scratch, 2 * WIDTH)
    inverse = load(scratch, 3 * WIDTH)
    c, s, q = 4 * WIDTH, (4 + size) * WIDTH, (4 + 2 * size) * WIDTH
    store(scratch, c, spread(1.0))
    store(scratch, s, none)
    store(scratch, q, spread(1.0))
    minus_y = multiply_add(minus, y, none)
    for at in range(WIDTH, size * WIDTH, WIDTH):
        c_below, s_below = load(scratch, c + at - WIDTH), load(scratch, s + at - WIDTH)
        store(scratch, c + at, multiply_add(x, c_below, multiply_add(minus_y, s_below, none)))
        store(scratch, s + at, multiply_add(x, s_below, multiply_add(y, c_below, none)))
    for l in range(1, size):
        row, below = q + l * size * WIDTH, q + (l - 1) * size * WIDTH
        for m in range(l - 1):
            f = l * size + m
            first = multiply_add(spread(item(norms, lm + f)), z, none)
            second = multiply_add(
                spread(-item(norms, 2 * lm + f)),
                load(scratch, below - size * WIDTH + m * WIDTH),
                none,
            )
            here = multiply_add(first, load(scratch, below + m * WIDTH), second)
            store(scratch, row + m * WIDTH, here)
        last = load(scratch, below + (l - 1) * WIDTH)
        last = multiply_add(spread(2.0 * l - 1.0), last, none)
        store(scratch, row + l * WIDTH, last)
        store(scratch, row + (l - 1) * WIDTH, multiply_add(z, last, none))
    for l in range(size):
        row, below, kind = q + l * size * WIDTH, q + (l - 1) * size * WIDTH, (2 * l + 1) * WIDTH
        middle = harmonic_at(l, register * WIDTH, waves) + l * WIDTH
        for m in range(l + 1):
            n = item(norms, l * size + m)
            here = multiply_add(spread(n), load(scratch, row + m * WIDTH), none)
            along_z, along_r = none, none
            if m < l:
                along_z = multiply_add(spread(n * (l + m)), load(scratch, below + m * WIDTH), none)
            if m + 1 < l:
                along_r = multiply_add(spread(-n), load(scratch, below + (m + 1) * WIDTH), none)
            cosine, sine = load(scratch, c + m * WIDTH), load(scratch, s + m * WIDTH)
            c_slope, s_slope = none, none
            if m:
                tilt = multiply_add(spread(1.0 * m), here, none)
                c_slope = multiply_add(tilt, load(scratch, c + (m - 1) * WIDTH), none)
                s_slope = multiply_add(tilt, load(scratch, s + (m - 1) * WIDTH), none)
            # d/dx and d/dy of here * c_m are m here c_(m-1) and -m here s_(m-1), besides along_r
            for sign in range(1 if m == 0 else 2):
                wave, at = cosine, middle + m * WIDTH
                dx, dy = c_slope, multiply_add(minus, s_slope, none)
                if sign:
                    wave, at = sine, middle - m * WIDTH
                    dx, dy = s_slope, c_slope
                value, sideways = multiply_add(here, wave, none), multiply_add(along_r, wave, none)
                outwards = multiply_add(spread(-1.0 * l), value, none)
                dx = multiply_add(outwards, x, multiply_add(sideways, x, dx))
                dy = multiply_add(outwards, y, multiply_add(sideways, y, dy))
                dz = multiply_add(outwards, z, multiply_add(along_z, wave, none))
                store(waves, at, value)
                store(waves, at + kind, multiply_add(dx, inverse, none))
                store(waves, at + 2 * kind, multiply_add(dy, inverse, none))
                store(waves, at + 3 * kind, multiply_add(dz, inverse, none))


@inside
def _radial(
    r: float,
    factor: float,
    slope: float,
    table: Array,
    inverse_spacing: float,
    radial: Array,
    pair: int,
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
    width = count // len(radial)
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
        l = k // width
        at = radial_at(l, pair, radial, width) + k - l * width
        store(radial, at, multiply_add(keeps, value, none))
        store(radial, at + width, multiply_add(keeps, change, multiply_add(tilts, value, none)))
