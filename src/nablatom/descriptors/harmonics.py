"""Real spherical harmonics of unit vectors, with their gradients.

No Condon-Shortley phase, ``m = -l … l``, orthonormal on the sphere. With ``u = (x, y, z)``,
``Y_lm = N_lm q_lm c_m`` and ``Y_l,-m = N_lm q_lm s_m``, where ``q`` follows a recurrence in
``z`` (Legendre functions without their factor ``sin^m``) and ``c_m + i s_m = (x + i y)^m``.
As polynomials in x, y, z these are the solid harmonics at r = 1; their gradient, less its
radial part ``l Y u``, is ``r grad Y``, without a pole.

Bigi, Fraux, Browning, Ceriotti, J. Chem. Phys. 159, 064802 (2023).
"""

from math import factorial, pi, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["spherical_harmonics"]

Array = NDArray[np.float64]


def spherical_harmonics(directions: Array, max_angular: int) -> tuple[Array, Array]:
    """Spherical harmonics ``Y`` and ``D = r grad Y`` up to ``l = max_angular``.

    Parameters
    ----------
    directions : (pairs, 3)
        Unit vectors.

    Returns
    -------
    Y : (pairs, (max_angular + 1)²)
        ``l² + l + m`` is the column of ``l, m``.
    D : (pairs, 3, (max_angular + 1)²)
        Derivative of ``Y(v/|v|)`` with respect to ``v``, times ``|v|``.

    Examples
    --------
    >>> Y, D = spherical_harmonics(np.array([[0.0, 0.0, 1.0]]), 1)
    >>> np.round(Y / Y[0, 0], 6)  # l = 1 is sqrt(3) (y, z, x)
    array([[1.      , 0.      , 1.732051, 0.      ]])
    """
    x, y, z = directions.T
    q = _legendre(z, max_angular)
    c, s = _sines(x, y, max_angular)
    values = np.empty((len(directions), (max_angular + 1) ** 2))
    solid = np.empty((len(directions), 3, (max_angular + 1) ** 2))
    zero = np.zeros_like(x)
    for l in range(max_angular + 1):
        for m in range(l + 1):
            n = _norm(l, m)
            along_z = (l + m) * q[l - 1, m] if m < l else zero
            along_r = -q[l - 1, m + 1] if m + 1 < l else zero  # dq/dx = x ·, dq/dy = y ·
            for column, e, de_dx, de_dy in _waves(l, m, c, s):
                values[:, column] = n * q[l, m] * e
                solid[:, 0, column] = n * (along_r * x * e + q[l, m] * de_dx)
                solid[:, 1, column] = n * (along_r * y * e + q[l, m] * de_dy)
                solid[:, 2, column] = n * along_z * e
    degree = np.repeat(np.arange(max_angular + 1), 2 * np.arange(max_angular + 1) + 1)
    return values, solid - directions[:, :, None] * (degree * values)[:, None, :]


def _legendre(z: Array, max_angular: int) -> dict[tuple[int, int], Array]:
    q = {(0, 0): np.ones_like(z)}
    for l in range(1, max_angular + 1):
        q[l, l] = (2 * l - 1) * q[l - 1, l - 1]
        q[l, l - 1] = z * q[l, l]
        for m in range(l - 1):
            q[l, m] = ((2 * l - 1) * z * q[l - 1, m] - (l + m - 1) * q[l - 2, m]) / (l - m)
    return q


def _sines(x: Array, y: Array, max_angular: int) -> tuple[list[Array], list[Array]]:
    """``(x + i y)^m`` as real and imaginary parts."""
    c, s = [np.ones_like(x)], [np.zeros_like(x)]
    for m in range(max_angular):
        c.append(x * c[m] - y * s[m])
        s.append(x * s[m] + y * c[m])
    return c, s


def _waves(
    l: int, m: int, c: list[Array], s: list[Array]
) -> list[tuple[int, Array, Array | float, Array | float]]:
    """Column of ``l, m`` and of ``l, -m``; their factor in x and y; its two derivatives."""
    center = l * l + l
    if m == 0:
        return [(center, c[0], 0.0, 0.0)]
    return [
        (center + m, c[m], m * c[m - 1], -m * s[m - 1]),
        (center - m, s[m], m * s[m - 1], m * c[m - 1]),
    ]


def _norm(l: int, m: int) -> float:
    return sqrt((2 if m else 1) * (2 * l + 1) / (4 * pi) * factorial(l - m) / factorial(l + m))
