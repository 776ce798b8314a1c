"""Ridge regression on rows that arrive in batches.

The weights ``w`` minimise ``|X w - y|² + λ |S w|²`` with ``S`` the scale of each column.
Only the triangle ``R`` of the orthogonal factors of ``[y X]`` is kept: ``RᵀR`` equals the
normal matrix, but its condition is not squared. The singular values of ``R`` then give
the solution for every λ at once, and the triangles of parts of the data give
cross-validation without touching a row again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factor", "cross_validate", "residual", "ridge"]

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Factor:
    """Least-squares rows ``[y X]``, compressed to at most as many rows as columns.

    Parameters
    ----------
    matrix : (rows, 1 + features)
        Any matrix with the same normal matrix as the rows it stands for; ``y`` comes first.
    """

    matrix: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> "Factor":
        """The factor of rows ``x`` (rows, features) with right-hand sides ``y`` (rows,)."""
        return cls(_triangle(np.column_stack([y, x])))

    @classmethod
    def merged(cls, parts: Sequence["Factor"]) -> "Factor":
        """One factor for the rows of all ``parts``; columns a part lacks are zero in it."""
        width = max(part.matrix.shape[1] for part in parts)
        return cls(_triangle(np.concatenate([part.widened(width) for part in parts])))

    def widened(self, width: int) -> Array:
        """``matrix`` with columns of zeros added on the right."""
        return np.pad(self.matrix, ((0, 0), (0, width - self.matrix.shape[1])))

    @property
    def scale(self) -> Array:
        """Norm of every feature over the rows, one for features that vanish: (features,)."""
        norms = np.linalg.norm(self.matrix[:, 1:], axis=0)
        return np.where(norms > 0, norms, 1.0)


def ridge(factor: Factor, scale: Array, regularisation: Array) -> Array:
    """Weights for every regularisation: (features, regularisations).

    Directions in which the rows say nothing get no weight, also at ``λ = 0``.

    Parameters
    ----------
    scale : (features,)
        ``S``; a feature with a smaller scale is penalised less.
    regularisation : (regularisations,)
        ``λ``, in units of the weights of the rows.
    """
    width = len(scale) + 1
    matrix = factor.widened(width)
    u, s, vt = np.linalg.svd(matrix[:, 1:] / scale, full_matrices=False)
    noise = s[0] * len(scale) * np.finfo(s.dtype).eps if len(s) else 0.0
    told = s > noise
    u, s, vt = u[:, told], s[told], vt[told]
    filtered = s[:, None] / (s[:, None] ** 2 + regularisation)  # (directions, regularisations)
    return (vt.T @ (filtered * (u.T @ matrix[:, :1]))) / scale[:, None]


def residual(factor: Factor, weights: Array) -> Array:
    """``|X w - y|²`` of every column of ``weights``."""
    matrix = factor.widened(len(weights) + 1)
    difference = matrix[:, 1:] @ weights - matrix[:, :1]
    return (difference**2).sum(axis=0)


def cross_validate(parts: Sequence[Factor], scale: Array, regularisation: Array) -> Array:
    """Sum over the parts of the residual of each under weights from all the others."""
    if len(parts) < 2:
        raise ValueError(f"expected at least 2 parts to cross-validate, got {len(parts)}")
    loss = np.zeros(len(regularisation))
    for row, part in enumerate(parts):
        others = Factor.merged([*parts[:row], *parts[row + 1 :]])
        loss += residual(part, ridge(others, scale, regularisation))
    return loss


def _triangle(rows: Array) -> Array:
    return rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows, mode="r"))
