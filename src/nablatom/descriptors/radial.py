"""Radial functions of pair distances, with their derivatives.

``R_n(r) = sqrt(2/r_c) sin((n+1) pi r/r_c) / r``: the spherical waves of l = 0 that vanish at
the cutoff, orthonormal with weight ``r²`` on [0, r_c]. They are even and smooth in r, also
at 0. The cutoff function makes the products vanish smoothly at ``r_c``.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["smooth_cutoff", "spherical_waves"]

Array = NDArray[np.float64]


def spherical_waves(r: Array, cutoff: float, max_radial: int) -> tuple[Array, Array]:
    """``R_n(r)`` for n = 0 … max_radial, and derivatives, each (pairs, max_radial + 1).

    Examples
    --------
    >>> waves, slopes = spherical_waves(np.array([0.0, 2.5]), cutoff=5.0, max_radial=1)
    >>> np.round(waves, 4)
    array([[0.3974, 0.7948],
           [0.253 , 0.    ]])
    """
    k = np.pi * np.arange(1, max_radial + 2) / cutoff
    x = r[:, None] * k
    # sin(x)/x and its derivative, cos(x)/x - sin(x)/x², by their series where it cancels
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, x)
    sinc = np.where(small, 1 - x**2 / 6 * (1 - x**2 / 20), np.sin(safe) / safe)
    slope = np.where(small, -x / 3 * (1 - x**2 / 10), (np.cos(safe) - sinc) / safe)
    norm = np.sqrt(2 / cutoff) * k
    return norm * sinc, norm * k * slope


def smooth_cutoff(r: Array, cutoff: float, width: float) -> tuple[Array, Array]:
    """Shifted cosine, 1 below ``cutoff - width`` and 0 from ``cutoff`` on; its derivative."""
    x = np.clip((r - cutoff + width) / width, 0.0, 1.0)
    return (1 + np.cos(np.pi * x)) / 2, -np.pi / (2 * width) * np.sin(np.pi * x)
