"""The density of neighbors around every atom, on radial functions and spherical harmonics.

``c^{iA}_lmn = sum_{p: Z_j = A} F_n(r_p) Y_lm(u_p)``, where ``F_n`` is a radial function times
the smooth cutoff. Per pair, ``G_p = F_n D_lm / r + F'_n u Y_lm`` is the derivative with
respect to the pair vector; `PairSum` makes of it every other derivative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.harmonics import spherical_harmonics
from nablatom.descriptors.neighborhoods import Neighborhoods, in_batches
from nablatom.descriptors.radial import smooth_cutoff, spherical_waves
from nablatom.labels import Labels
from nablatom.systems.pairs import Pairs, PairSum
from nablatom.tensor import TensorMap

__all__ = ["SphericalExpansion"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SphericalExpansion:
    """Density of each type of neighbors around every atom, per l, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``o3_lambda, o3_sigma,
    center_type, neighbor_type``, samples ``system, atom``, components ``o3_mu`` and
    properties ``n``. An atom has a row where it has a neighbor of that type, or is of that
    type itself.

    Parameters
    ----------
    cutoff : length
        Neighbors count within it.
    width : length
        Neighbors fade out over the last ``width`` before the cutoff; over all of it if None.
    max_radial
        Radial functions ``n = 0 … max_radial`` (see `spherical_waves`).
    max_angular
        Angular functions ``l = 0 … max_angular``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> expansion = SphericalExpansion(cutoff=4.0, max_radial=3, max_angular=1)
    >>> print(expansion([bulk("Cu")], gradients=["strain"]))
    TensorMap with 2 blocks
    keys: o3_lambda  o3_sigma  center_type  neighbor_type
              0         1          29            29
              1         1          29            29
    """

    cutoff: float = 5.5
    width: float | None = 1.5
    max_radial: int = 5
    max_angular: int = 6

    def __post_init__(self) -> None:
        if not (self.cutoff > 0 and 0 < (self.width or self.cutoff) <= self.cutoff):
            raise ValueError(f"expected 0 < width <= cutoff, got {self}")
        if self.max_radial < 0 or self.max_angular < 0:
            raise ValueError(f"max_radial and max_angular count from 0, got {self}")

    def __call__(
        self, structures: Sequence[ase.Atoms], *, gradients: Sequence[str] = ()
    ) -> TensorMap:
        """The expansion of every atom; gradients are any of positions, strain and cell."""
        return in_batches(lambda some: self.expand(some, gradients), structures, self.cutoff)

    def expand(self, atoms: Neighborhoods, gradients: Sequence[str]) -> TensorMap:
        """The expansion of a batch of atoms."""
        terms = _PairTerms.of(atoms.pairs, self)
        types = np.unique(atoms.type).tolist()
        found = {}
        for center, neighbor in ((a, b) for a in types for b in types):
            samples, rows = atoms.select(center, neighbor)
            if len(samples):
                total = PairSum.of(atoms.pairs[rows], samples, gradients)
                for l in range(self.max_angular + 1):
                    found[l, 1, center, neighbor] = terms.summed(total, rows, l)
        names = ["o3_lambda", "o3_sigma", "center_type", "neighbor_type"]
        keys = np.array(sorted(found), dtype=np.int32).reshape(-1, 4)
        return TensorMap(Labels(names, keys), [found[key] for key in sorted(found)])


@dataclass(frozen=True, eq=False)
class _PairTerms:
    """Radial and angular factors of every pair: what a term and its gradient are made of."""

    directions: Array  # (pairs, 3)
    radial: Array  # (pairs, n)
    radial_slope: Array  # (pairs, n)
    angular: Array  # (pairs, lm)
    angular_slope: Array  # (pairs, 3, lm)

    @staticmethod
    def of(pairs: Pairs, basis: SphericalExpansion) -> "_PairTerms":
        r = pairs.distance
        u = pairs.vector / r[:, None]
        waves, slopes = spherical_waves(r, basis.cutoff, basis.max_radial)
        width = basis.width or basis.cutoff
        fade, fade_slope = (f[:, None] for f in smooth_cutoff(r, basis.cutoff, width))
        Y, D = spherical_harmonics(u, basis.max_angular)
        slope = slopes * fade + waves * fade_slope
        return _PairTerms(u, waves * fade, slope, Y, D / r[:, None, None])

    def summed(self, total: PairSum, rows: NDArray[np.int64], l: int) -> TensorBlock:
        """Sum over the pairs of some rows, for one l, with its gradients."""
        lm = slice(l * l, (l + 1) ** 2)
        Y, D = self.angular[rows, lm], self.angular_slope[rows, :, lm]
        F, slope, u = self.radial[rows], self.radial_slope[rows], self.directions[rows]
        values = Y[:, :, None] * F[:, None, :]  # (pairs, m, n)
        derivative = D[..., None] * F[:, None, None, :]
        derivative += u[:, :, None, None] * (Y[:, :, None] * slope[:, None, :])[:, None]
        mu = Labels("o3_mu", np.arange(-l, l + 1)[:, None])
        return total(values, derivative, [mu], Labels.range("n", F.shape[1]))
