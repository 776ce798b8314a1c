"""Functions of lengths and directions in torch, with two derivatives.

A radial function enters as its value, slope and curvature at the lengths, as
``F + F' (r - r_0) + F'' (r - r_0)²/2`` with ``r_0 = r`` held fixed: torch then finds the first
and the second derivative exactly, and nobody may ask for a third.
"""

from collections.abc import Callable
from math import factorial, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["harmonics", "jet", "length"]

Array = NDArray[np.float64]


def length(vectors: Tensor) -> Tensor:
    """Lengths of vectors, (vectors,)."""
    return (vectors * vectors).sum(dim=-1).sqrt()


def jet(r: Tensor, function: Callable[[Array], tuple[Array, Array, Array]]) -> Tensor:
    """A function of lengths with two derivatives, (lengths,) or (lengths, columns)."""
    value, slope, curvature = (r.new_tensor(part) for part in function(r.detach().numpy()))
    step = (r - r.detach()).reshape(-1, *(1 for _ in value.shape[1:]))
    return value + slope * step + curvature * step * step / 2


def harmonics(u: Tensor, angular: int) -> Tensor:
    """Real spherical harmonics of unit vectors, (pairs, lm): see `spherical_harmonics`."""
    x, y, z = u.unbind(dim=1)
    one = torch.ones_like(x)
    q = {(0, 0): one}
    c, s = [one], [torch.zeros_like(x)]
    for l in range(1, angular + 1):
        q[l, l] = (2 * l - 1) * q[l - 1, l - 1]
        q[l, l - 1] = z * q[l, l]
        for m in range(l - 1):
            q[l, m] = ((2 * l - 1) * z * q[l - 1, m] - (l + m - 1) * q[l - 2, m]) / (l - m)
        c, s = [*c, x * c[-1] - y * s[-1]], [*s, x * s[-1] + y * c[-1]]
    columns = []
    for l in range(angular + 1):
        for m in range(-l, l + 1):
            k = abs(m)
            square = (2 * l + 1) / (4 * pi) * factorial(l - k) / factorial(l + k)
            norm = sqrt(square * (2 if m else 1))
            columns.append(norm * q[l, k] * (s[k] if m < 0 else c[k]))
    return torch.stack(columns, dim=1)
