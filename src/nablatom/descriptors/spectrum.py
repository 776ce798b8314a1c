"""Rotation-invariant features of atoms: one and two neighbors at a time.

Radial spectrum, ``x_n = c_{00n}``. Power spectrum, for types ``A <= B``,

``p^{AB}_{l n n'} = κ sum_m c^A_lmn c^B_lmn'``, ``κ = (-1)^l (2l+1)^{-1/2} (√2 if A ≠ B)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.density_calculator import DensityCalculator, Layout
from nablatom.descriptors.expansion import chosen_radial, each
from nablatom.descriptors.kernels_expansion import expand, pull_expansion, push_expansion
from nablatom.descriptors.kernels_pair import padded
from nablatom.descriptors.kernels_spectrum import Choice, pull_spectrum, push_spectrum, spectrum
from nablatom.descriptors.storage import Storage
from nablatom.labels import Labels

__all__ = ["SoapPowerSpectrum", "SoapRadialSpectrum"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = NDArray[np.bool_]

NOBODY = 0  # the atomic number of no element


@dataclass(frozen=True, kw_only=True)
class SoapRadialSpectrum(DensityCalculator):
    """Radial density of each type of neighbors around every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type,
    neighbor_type``, samples ``system, atom`` and properties ``n``. Parameters are those of
    `SphericalExpansion`, without angles.

    Examples
    --------
    >>> from ase.build import bulk
    >>> spectrum = SoapRadialSpectrum()
    >>> spectrum(bulk("Cu"), gradients=["positions"]).block()
    TensorBlock
        samples (1): ['system', 'atom']
        components (): []
        properties (8): ['n']
        gradients: ['positions']
    """

    @property
    def _names(self) -> tuple[str, ...]:
        return ("center_type", "neighbor_type")

    @property
    def _largest_angular(self) -> int:
        return 0

    def _properties(self) -> Labels:
        return Labels.range("n", self.radial.size)

    def _layout(self, types: Integers, columns: Columns) -> Layout:
        count = len(types)
        keys = np.empty((count, count, 1, 2), np.int64)
        keys[..., 0], keys[..., 1] = types[:, None, None], types[:, None]
        return Layout(each(count), keys, np.full((count, 1), columns.sum()))

    def _block_labels(
        self,
        key: tuple[int, ...],  # noqa: ARG002
        columns: Columns,
    ) -> tuple[Sequence[Labels], Labels]:
        return [], chosen_radial(tuple(columns.tolist()))

    def _compute(self, first: int, last: int, storage: Storage, columns: Columns) -> None:
        around, basis = storage.hoods.around, self._basis(columns)
        offsets, wants = storage.offsets, storage.wants
        expand(first, last, around, basis, storage.places, offsets, wants, *storage.arrays)

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


@dataclass(frozen=True, kw_only=True)
class SoapPowerSpectrum(DensityCalculator):
    """Distances and angles to pairs of neighbors around every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type,
    neighbor_1_type, neighbor_2_type`` (the first not above the second), samples ``system,
    atom`` (atoms that have both) and properties ``l, n_1, n_2``.

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
    unique
        With twice the same type the spectrum is symmetric in ``n_1, n_2``; keep only
        ``n_1 <= n_2`` then, times √2 off the diagonal, so that scalar products of features
        stay what they are.
    radial_spectrum
        Also give the radial spectrum, as blocks ``(center, 0, neighbor)`` with properties
        ``(0, 0, n)``: products with a density that is one for the type 0, nobody. A linear
        model wants it, for what depends on single neighbors.

    Examples
    --------
    >>> from ase.build import bulk
    >>> spectrum = SoapPowerSpectrum(max_angular=2, radial_spectrum=True)
    >>> print(spectrum(bulk("Cu")))
    TensorMap with 2 blocks
    keys: center_type  neighbor_1_type  neighbor_2_type
              29              0               29
              29             29               29

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013).
    """

    max_angular: int = 6
    unique: bool = False
    radial_spectrum: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_angular < 0:
            raise ValueError(f"max_angular counts from 0, got {self.max_angular}")

    @property
    def _names(self) -> tuple[str, ...]:
        return ("center_type", "neighbor_1_type", "neighbor_2_type")

    @property
    def _largest_angular(self) -> int:
        return self.max_angular

    def _properties(self) -> Labels:
        return _all_properties(self.max_angular + 1, self.radial.size)

    def _layout(self, types: Integers, columns: Columns) -> Layout:
        count = len(types)
        groups = np.stack(np.triu_indices(count), axis=1)
        keys = np.empty((count, len(groups), 1 + self.radial_spectrum, 3), np.int64)
        keys[..., 0] = types[:, None, None]
        keys[..., 0, 1:] = types[groups]
        same = groups[:, 0] == groups[:, 1]
        widths = np.where(same, self._kept(columns, same=True).sum(), columns.sum())[:, None]
        if self.radial_spectrum:
            if NOBODY in types:
                raise ValueError("there are atoms of type 0, which stands for nobody in the keys")
            keys[..., 1, 1], keys[..., 1, 2] = NOBODY, types[groups[:, 0]]
            keys[:, ~same, 1] = -1  # two types have no radial spectrum
            widths = np.append(widths, np.where(same, self._kept_radial(columns), 0)[:, None], 1)
        return Layout(groups, keys, widths)

    def _block_labels(
        self, key: tuple[int, ...], columns: Columns
    ) -> tuple[Sequence[Labels], Labels]:
        _, first, second = key
        if first == NOBODY:
            kept = np.zeros_like(columns)
            kept[: self.radial.size] = columns[: self.radial.size]  # (0, 0, n)
        else:
            kept = self._kept(columns, same=first == second)
        return [], _some(self._properties(), kept.tobytes())

    def _kept(self, columns: Columns, *, same: bool) -> Columns:
        """Properties of a block."""
        if not (same and self.unique):
            return columns
        table = self._properties().values
        return columns & (table[:, 1] <= table[:, 2])

    def _kept_radial(self, columns: Columns) -> int:
        return int(columns[: self.radial.size].sum())

    def _choice(self, columns: Columns) -> Choice:
        return _choice(self.radial.size, self.max_angular + 1, self.unique, columns.tobytes())

    def _compute(self, first: int, last: int, storage: Storage, columns: Columns) -> None:
        spectrum(
            first,
            last,
            storage.hoods.around,
            self._basis(),
            storage.places,
            self._offsets(storage),
            storage.wants,
            self._choice(columns),
            *storage.arrays,
        )

    def _offsets(self, storage: Storage) -> Integers:
        """Kernels ask for the radial spectrum in any case."""
        if self.radial_spectrum:
            return storage.offsets
        return np.pad(storage.offsets, [(0, 0)] * 3 + [(0, 1)], constant_values=-1)

    def _push(self, first: int, last: int, storage: Storage, tangents: Array) -> None:
        around, places, offsets = storage.hoods.around, storage.places, self._offsets(storage)
        choice, values = self._choice(self._columns(None)), storage.values
        push_spectrum(first, last, around, self._basis(), places, offsets, choice, tangents, values)

    def _pull(
        self, first: int, last: int, storage: Storage, cotangents: Array, result: Array
    ) -> None:
        around, places, offsets = storage.hoods.around, storage.places, self._offsets(storage)
        choice = self._choice(self._columns(None))
        pull_spectrum(
            first, last, around, self._basis(), places, offsets, choice, cotangents, result
        )


@lru_cache(maxsize=32)
def _all_properties(angular: int, radial: int) -> Labels:
    table = np.indices((angular, radial, radial)).reshape(3, -1).T
    return Labels(["l", "n_1", "n_2"], np.ascontiguousarray(table))


@lru_cache(maxsize=64)
def _some(properties: Labels, kept: bytes) -> Labels:
    return properties.take(np.flatnonzero(np.frombuffer(kept, bool)))


@lru_cache(maxsize=64)
def _choice(radial: int, angular: int, unique: bool, columns: bytes) -> Choice:
    chosen, width = np.frombuffer(columns, bool), padded(radial)
    l, n, other = np.indices((angular, radial, radial)).reshape(3, -1)
    place = ((l * radial + n) * width + other).astype(np.uint64)
    kept = chosen & (n <= other) if unique else chosen
    factors = np.where(unique & (n < other), np.sqrt(2.0), 1.0)
    return Choice(
        same=place[kept],
        same_factors=factors[kept],
        other=place[chosen],
        other_factors=np.ones(int(chosen.sum())),
        radial=np.flatnonzero(chosen[:radial]).astype(np.uint64),
        whole=bool(kept.all() and radial == width),
    )
