"""Kernels: densities, and products of derivatives with directions and cotangents.

A pair adds ``F_ln(r) Y_lm(u)`` to a density; ``G_b = F D_b / r + F' u_b Y`` is the derivative.
These products need no memory for ``G``. Row ``k`` of ``Y``, ``D``, ``F`` and ``dF`` belongs to
pair ``p``; a density starts at ``at`` in its array.
"""

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_index import Surroundings
from nablatom.descriptors.kernels_pair import inside
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

__all__ = ["add_pair", "add_tangent", "pull_back"]

Array = NDArray[np.float64]


@inside
def add_pair(density: Array, at: int, angular: int, width: int, Y: Array, F: Array, k: int) -> None:
    """Add the density of one neighbor."""
    y, f_row = k * angular * angular, k * angular * width
    for l in range(angular):
        for n in range(0, width, WIDTH):
            f, here = load(F, f_row + l * width + n), at + l * l * width + n
            for m in range(l * l, (l + 1) * (l + 1)):
                store(density, here, multiply_add(broadcast(Y, y + m), f, load(density, here)))
                here += width


@inside
def add_tangent(
    density: Array,
    at: int,
    angular: int,
    width: int,
    around: Surroundings,
    p: int,
    tangents: Array,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
    k: int,
) -> None:
    """Add ``sum_b t_b G_b``: how the density changes when the pair vector does."""
    lm = angular * angular
    y, d, f_row = k * lm, 3 * k * lm, k * angular * width
    tx, ty, tz = item(tangents, 3 * p), item(tangents, 3 * p + 1), item(tangents, 3 * p + 2)
    u = item(around.vector, 3 * p) * tx + item(around.vector, 3 * p + 1) * ty
    u = (u + item(around.vector, 3 * p + 2) * tz) / item(around.distance, p)
    for l in range(angular):
        for n in range(0, width, WIDTH):
            f, s = load(F, f_row + l * width + n), load(dF, f_row + l * width + n)
            for m in range(l * l, (l + 1) * (l + 1)):
                here = at + m * width + n
                turned = tx * item(D, d + m) + ty * item(D, d + lm + m)
                turned += tz * item(D, d + 2 * lm + m)
                g = multiply_add(spread(turned), f, load(density, here))
                store(density, here, multiply_add(spread(u * item(Y, y + m)), s, g))


@inside
def pull_back(
    result: Array,
    cotangent: Array,
    at: int,
    angular: int,
    width: int,
    around: Surroundings,
    p: int,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
    k: int,
) -> None:
    """``result_pb = sum_lmn H_lmn G_lmn,b`` for a cotangent ``H`` of the density."""
    lm = angular * angular
    y_row, d, f_row = k * lm, 3 * k * lm, k * angular * width
    x, y, z, along = 0.0, 0.0, 0.0, 0.0
    for l in range(angular):
        for m in range(l * l, (l + 1) * (l + 1)):
            turned, stretched = spread(0.0), spread(0.0)
            for n in range(0, width, WIDTH):
                h = load(cotangent, at + m * width + n)
                turned = multiply_add(h, load(F, f_row + l * width + n), turned)
                stretched = multiply_add(h, load(dF, f_row + l * width + n), stretched)
            sum_f, sum_s = total(turned), total(stretched)
            x += item(D, d + m) * sum_f
            y += item(D, d + lm + m) * sum_f
            z += item(D, d + 2 * lm + m) * sum_f
            along += item(Y, y_row + m) * sum_s
    along /= item(around.distance, p)
    put(result, 3 * p, x + item(around.vector, 3 * p) * along)
    put(result, 3 * p + 1, y + item(around.vector, 3 * p + 1) * along)
    put(result, 3 * p + 2, z + item(around.vector, 3 * p + 2) * along)
