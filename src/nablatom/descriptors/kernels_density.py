"""Kernels: products of the derivatives of one pair with directions and with cotangents.

A pair adds ``F_ln(r) Y_lm(u)`` to a density; ``G_b = F D_b / r + F' u_b Y`` is the derivative.
These products need no memory for ``G``.
"""

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_pair import compiled
from nablatom.descriptors.lanes import WIDTH, load, multiply_add, spread, store, total

__all__ = ["add_pair", "add_tangent", "pull_back"]

Array = NDArray[np.float64]


@compiled
def add_pair(density: Array, angular: int, width: int, Y: Array, F: Array) -> None:
    """Add the density of one neighbor."""
    for l in range(angular):
        for n in range(0, width, WIDTH):
            f = load(F, l * width + n)
            for m in range(l * l, (l + 1) * (l + 1)):
                at = m * width + n
                store(density, at, multiply_add(spread(Y[m]), f, load(density, at)))


@compiled
def add_tangent(
    density: Array,
    angular: int,
    width: int,
    v: Array,
    r: float,
    t: Array,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
) -> None:
    """Add ``sum_b t_b G_b``: how the density changes when the pair vector does."""
    u = (v[0] * t[0] + v[1] * t[1] + v[2] * t[2]) / r
    for l in range(angular):
        for n in range(0, width, WIDTH):
            f, s = load(F, l * width + n), load(dF, l * width + n)
            for m in range(l * l, (l + 1) * (l + 1)):
                at = m * width + n
                turned = t[0] * D[0, m] + t[1] * D[1, m] + t[2] * D[2, m]
                g = multiply_add(spread(turned), f, load(density, at))
                store(density, at, multiply_add(spread(u * Y[m]), s, g))


@compiled
def pull_back(
    result: Array,
    cotangent: Array,
    angular: int,
    width: int,
    v: Array,
    r: float,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
) -> None:
    """``result_b = sum_lmn H_lmn G_lmn,b`` for a cotangent ``H`` of the density."""
    x, y, z, along = 0.0, 0.0, 0.0, 0.0
    for l in range(angular):
        for m in range(l * l, (l + 1) * (l + 1)):
            turned, stretched = spread(0.0), spread(0.0)
            for n in range(0, width, WIDTH):
                h = load(cotangent, m * width + n)
                turned = multiply_add(h, load(F, l * width + n), turned)
                stretched = multiply_add(h, load(dF, l * width + n), stretched)
            sum_f, sum_s = total(turned), total(stretched)
            x += D[0, m] * sum_f
            y += D[1, m] * sum_f
            z += D[2, m] * sum_f
            along += Y[m] * sum_s
    along /= r
    result[0], result[1], result[2] = x + v[0] * along, y + v[1] * along, z + v[2] * along
