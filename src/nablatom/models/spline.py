"""Cubic splines over uniform knots from zero on, differentiable, many tables at once."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

__all__ = ["Splines"]


class Splines(torch.nn.Module):
    """Tables of numbers as twice continuously differentiable functions.

    Cubic between knots ("not a knot" at both ends), straight lines outside.

    Parameters
    ----------
    values : (tables, knots)
        At ``0, spacing, 2 spacing …``; at least four.
    spacing
        Between knots.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0.0, 2.0, 21)
    >>> cube = Splines(x[None] ** 3, spacing=0.1)
    >>> cube(torch.tensor([1.23], dtype=torch.float64), torch.tensor([0]))  # 1.23³
    tensor([1.8609], dtype=torch.float64)
    """

    coefficients: Tensor

    def __init__(self, values: NDArray[np.float64], spacing: float) -> None:
        super().__init__()
        self.knots = values.shape[1]
        self.spacing = spacing
        knots = spacing * np.arange(self.knots)
        spline = CubicSpline(knots, values, axis=1).c  # (4, knots - 1, tables)
        rows = torch.tensor(np.ascontiguousarray(spline.transpose(2, 1, 0)).reshape(-1, 4))
        self.register_buffer("coefficients", rows)

    @staticmethod
    def values_of(coefficients: Tensor, tables: int, spacing: float) -> NDArray[np.float64]:
        """The values that have these coefficients, (tables, knots)."""
        pieces = coefficients.numpy().reshape(tables, -1, 4)
        last = np.polynomial.polynomial.polyval(spacing, pieces[:, -1, ::-1].T)
        return np.concatenate([pieces[:, :, 3], last[:, None]], axis=1)

    @property
    def end(self) -> float:
        """The last knot."""
        return self.spacing * (self.knots - 1)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """The value of each row's table at ``x``, (rows,)."""
        inside = x.clamp(0.0, self.end)
        piece = (inside.detach() / self.spacing).long().clamp(max=self.knots - 2)
        row = table * (self.knots - 1) + piece
        a, b, c, d = self.coefficients.index_select(0, row).to(x.dtype).unbind(1)
        t = inside - self.spacing * piece.to(x.dtype)  # whole numbers alone would be float32
        value = ((a * t + b) * t + c) * t + d
        slope = (3.0 * a * t + 2.0 * b) * t + c
        return value + slope * (x - inside)
