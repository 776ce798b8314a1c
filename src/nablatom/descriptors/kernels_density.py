"""Kernels: densities, and products of derivatives with directions and cotangents.

A pair adds ``F_ln(r) Y_lm(u)`` to a density; ``G_b = F ∂_b Y + F' u_b Y`` is the derivative.
These products need no memory for ``G``. Pair ``begin + k`` is pair ``k`` of the harmonics and
radial factors (`nablatom.descriptors.kernels_pair.Factors`); a density starts at ``at`` in
its array.
"""

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_pair import Factors, harmonic_at, inside, radial_at
from nablatom.descriptors.lanes import (
    WIDTH,
    broadcast,
    item,
    load,
    multiply_add,
    put,
    spread,
    store,
    total,
)

__all__ = ["add_pairs", "add_tangent", "pull_back"]

Array = NDArray[np.float64]


@inside
def add_pairs(
    density: Array,
    at: int,
    angular: int,
    width: int,
    factors: Factors,
    first: int,
    last: int,
) -> None:
    """Add the density of some neighbors."""
    waves, radial = factors.harmonics, factors.radial
    for l in range(angular):
        for k in range(first, last):
            y, f_at = harmonic_at(l, k, waves), radial_at(l, k, radial, width)
            for n in range(0, width, WIDTH):
                f, here = load(radial, f_at + n), at + l * l * width + n
                for m in range(0, (2 * l + 1) * WIDTH, WIDTH):
                    more = multiply_add(broadcast(waves, y + m), f, load(density, here))
                    store(density, here, more)
                    here += width


@inside
def add_tangent(
    density: Array,
    at: int,
    angular: int,
    width: int,
    tangents: Array,
    p: int,
    factors: Factors,
    k: int,
) -> None:
    """Add ``sum_b t_b G_b``: how the density changes when the pair vector does."""
    waves, radial = factors.harmonics, factors.radial
    tx, ty, tz = item(tangents, 3 * p), item(tangents, 3 * p + 1), item(tangents, 3 * p + 2)
    u = item(factors.direction, 3 * k) * tx + item(factors.direction, 3 * k + 1) * ty
    u += item(factors.direction, 3 * k + 2) * tz
    for l in range(angular):
        y, f_at, kind = (
            harmonic_at(l, k, waves),
            radial_at(l, k, radial, width),
            (2 * l + 1) * WIDTH,
        )
        for n in range(0, width, WIDTH):
            f, s = load(radial, f_at + n), load(radial, f_at + width + n)
            here = at + l * l * width + n
            for m in range(y, y + kind, WIDTH):
                turned = tx * item(waves, m + kind) + ty * item(waves, m + 2 * kind)
                turned += tz * item(waves, m + 3 * kind)
                g = multiply_add(spread(turned), f, load(density, here))
                store(density, here, multiply_add(spread(u * item(waves, m)), s, g))
                here += width


@inside
def pull_back(
    result: Array,
    cotangent: Array,
    at: int,
    angular: int,
    width: int,
    p: int,
    factors: Factors,
    k: int,
) -> None:
    """``result_pb = sum_lmn H_lmn G_lmn,b`` for a cotangent ``H`` of the density."""
    none, waves, radial = spread(0.0), factors.harmonics, factors.radial
    x, y, z, along = none, none, none, none
    for l in range(angular):
        y_at, f_at, kind = (
            harmonic_at(l, k, waves),
            radial_at(l, k, radial, width),
            (2 * l + 1) * WIDTH,
        )
        for n in range(0, width, WIDTH):
            value, dx, dy, dz = none, none, none, none
            here = at + l * l * width + n
            for m in range(y_at, y_at + kind, WIDTH):
                h = load(cotangent, here)
                value = multiply_add(broadcast(waves, m), h, value)
                dx = multiply_add(broadcast(waves, m + kind), h, dx)
                dy = multiply_add(broadcast(waves, m + 2 * kind), h, dy)
                dz = multiply_add(broadcast(waves, m + 3 * kind), h, dz)
                here += width
            f, slope = load(radial, f_at + n), load(radial, f_at + width + n)
            x, y, z = multiply_add(f, dx, x), multiply_add(f, dy, y), multiply_add(f, dz, z)
            along = multiply_add(slope, value, along)
    outwards, u = total(along), factors.direction
    put(result, 3 * p, total(x) + item(u, 3 * k) * outwards)
    put(result, 3 * p + 1, total(y) + item(u, 3 * k + 1) * outwards)
    put(result, 3 * p + 2, total(z) + item(u, 3 * k + 2) * outwards)
