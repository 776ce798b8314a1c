"""Real spherical harmonics as polynomials, in plain tensor operations.

They differentiate to any order, compile, and agree with e3nn's in order, axes and norm
(``component``: the squares of the ``2l + 1`` harmonics sum to ``2l + 1``). The recursion is the
project's own for descriptors, with the axes in e3nn's order: its poles lie on the y axis.
"""

from math import factorial, sqrt

import torch

__all__ = ["spherical_harmonics"]


def spherical_harmonics(directions: torch.Tensor, l_max: int) -> torch.Tensor:
    """Harmonics of unit vectors, (..., 3) → (..., (l_max + 1)²), by l and then m from −l.

    With ``c_m + i s_m = (z + i x)^m`` and the associated Legendre polynomials ``q_lm(y)`` over
    ``(1 - y²)^(m/2)``: ``Y_lm = N_lm q_lm c_m`` and ``Y_l,-m = N_lm q_lm s_m``.

    Examples
    --------
    >>> spherical_harmonics(torch.tensor([[0.0, 1.0, 0.0]]), 2)[0, 4:]
    tensor([0.0000, 0.0000, 2.2361, 0.0000, 0.0000])

    References
    ----------
    Bigi, Fraux, Browning, Ceriotti, J. Chem. Phys. 159, 064802 (2023).
    """
    x, y, z = directions.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    cosines, sines = [one], [zero]
    for m in range(1, l_max + 1):
        cosines.append(z * cosines[-1] - x * sines[-1] if m > 1 else z)
        sines.append(z * sines[-1] + x * cosines[m - 1] if m > 1 else x)
    legendre = _legendre(y, l_max)
    columns = [
        _norm(l, abs(m)) * legendre[l][abs(m)] * (cosines[m] if m >= 0 else sines[-m])
        for l in range(l_max + 1)
        for m in range(-l, l + 1)
    ]
    return torch.stack(columns, -1)


def _legendre(y: torch.Tensor, l_max: int) -> list[list[torch.Tensor]]:
    """``q_lm(y)`` for m from 0 to l."""
    q: list[list[torch.Tensor]] = [[torch.ones_like(y)]]
    for l in range(1, l_max + 1):
        row = [
            ((2 * l - 1) * y * q[l - 1][m] - (l + m - 1) * q[l - 2][m]) / (l - m)
            for m in range(l - 1)
        ]
        top = q[l - 1][l - 1] * (2 * l - 1)
        q.append([*row, y * top, top])
    return q


def _norm(l: int, m: int) -> float:
    return sqrt((2 * l + 1) * factorial(l - m) / factorial(l + m) * (2 if m else 1))
