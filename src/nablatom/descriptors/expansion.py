"""The density of neighbors around every atom, on radial functions and spherical harmonics.

``c^{iA}_lmn = sum_{p: Z_j = A} F_ln(r_p) Y_lm(u_p)``, where ``F_ln`` is the radial integral of
the density times the smooth cutoff. Per pair, ``G_p = F D_lm / r + F' u Y_lm`` is the derivative
with respect to the pair vector, and sums of it are every other derivative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.density_calculator import DensityCalculator, Layout
from nablatom.descriptors.kernels_expansion import expand, pull_expansion, push_expansion
from nablatom.descriptors.storage import Storage
from nablatom.labels import Labels

__all__ = ["SphericalExpansion"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SphericalExpansion(DensityCalculator):
    """Density of each type of neighbors around every atom, per l, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``o3_lambda, o3_sigma,
    center_type, neighbor_type``, samples ``system, atom``, components ``o3_mu`` and
    properties ``n``. An atom has a row where it has a neighbor of that type, or is of that
    type itself.

    Parameters
    ----------
    cutoff
        Which neighbors count, and how they fade out.
    radial
        The radial functions: `Gto`, `SphericalBessel`, …
    density
        What stands for a neighbor: a `Gaussian`, or `Delta` for a point.
    scaling
        Weights of neighbors by their distance, `Willatt2018`.
    center_weight
        Of the atom itself in its own density.
    types
        Atomic numbers that blocks are made for, whether they occur or not; None for those
        that occur.
    max_angular
        Angular functions ``l = 0 … max_angular``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.descriptors import Cutoff, Gaussian, Gto
    >>> expansion = SphericalExpansion(
    ...     cutoff=Cutoff(4.0, width=0.5), radial=Gto(max_radial=3), max_angular=1
    ... )
    >>> print(expansion(bulk("Cu"), gradients=["strain"]))
    TensorMap with 2 blocks
    keys: o3_lambda  o3_sigma  center_type  neighbor_type
              0         1          29            29
              1         1          29            29

    References
    ----------
    Musil et al., J. Chem. Phys. 154, 114109 (2021).
    """

    max_angular: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_angular < 0:
            raise ValueError(f"max_angular counts from 0, got {self.max_angular}")

    @property
    def _names(self) -> tuple[str, ...]:
        return ("o3_lambda", "o3_sigma", "center_type", "neighbor_type")

    @property
    def _largest_angular(self) -> int:
        return self.max_angular

    def _properties(self) -> Labels:
        return Labels.range("n", self.radial.size)

    def _layout(self, types: Integers, columns: Columns) -> Layout:
        parts, count = np.arange(self.max_angular + 1), len(types)
        keys = np.ones((count, count, len(parts), 4), np.int64)
        keys[..., 0] = parts
        keys[..., 2] = types[:, None, None]
        keys[..., 3] = types[:, None]
        widths = (2 * parts + 1) * int(columns.sum())
        return Layout(each(count), keys, np.tile(widths, (count, 1)))

    def _block_labels(
        self, key: tuple[int, ...], columns: Columns
    ) -> tuple[Sequence[Labels], Labels]:
        return [_mu(key[0])], chosen_radial(tuple(columns.tolist()))

    def _compute(self, first: int, last: int, storage: Storage, columns: Columns) -> None:
        expand(
            first,
            last,
            storage.hoods.around,
            self._basis(columns),
            storage.places,
            storage.offsets,
            storage.wants,
            *storage.arrays,
        )

    def _push(self, first: int, last: int, storage: Storage, tangents: Array) -> None:
        around, places = storage.hoods.around, storage.places
        push_expansion(
            first, last, around, self._basis(), places, storage.offsets, tangents, storage.values
        )

    def _pull(
        self, first: int, last: int, storage: Storage, cotangents: Array, result: Array
    ) -> None:
        around, places = storage.hoods.around, storage.places
        pull_expansion(
            first, last, around, self._basis(), places, storage.offsets, cotangents, result
        )


def each(types: int) -> Integers:
    """One group for each type of neighbors."""
    return np.repeat(np.arange(types), 2).reshape(-1, 2)


@cache
def _mu(l: int) -> Labels:
    return Labels("o3_mu", np.arange(-l, l + 1)[:, None])


@cache
def chosen_radial(columns: tuple[bool, ...]) -> Labels:
    """The radial functions that are chosen."""
    return Labels("n", np.flatnonzero(columns)[:, None])
