"""What every single neighbor adds to the density around an atom.

A pair adds ``F_ln(r) Y_lm(u)``, and an atom pairs with itself, which adds what it does to its own
density. The sum over the second atoms of one type is the `SphericalExpansion`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.density import Delta, Density, Gaussian
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.descriptors.harmonics import spherical_harmonics
from nablatom.descriptors.radial_basis import Gto, RadialBasis
from nablatom.descriptors.radial_table import radial_table
from nablatom.descriptors.scaling import Willatt2018
from nablatom.descriptors.surroundings import Surroundings
from nablatom.labels import Labels
from nablatom.systems.pairs import PARAMETERS, Pairs
from nablatom.tensor import TensorMap

__all__ = ["SphericalExpansionByPair"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

CUTOFF, RADIAL, DENSITY = Cutoff(5.0, width=0.5), Gto(max_radial=7), Gaussian(0.3)
NAMES = ("system", "first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c")


@dataclass(frozen=True, kw_only=True)
class SphericalExpansionByPair(Explicit):
    """Density of every single neighbor around every atom, per l, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``o3_lambda, o3_sigma,
    first_atom_type, second_atom_type``, samples ``system, first_atom, second_atom,
    cell_shift_a, cell_shift_b, cell_shift_c`` (sorted; for l = 0 also every atom with itself),
    components ``o3_mu`` and properties ``n``. Parameters are those of `SphericalExpansion`.

    Examples
    --------
    >>> from ase.build import molecule
    >>> by_pair = SphericalExpansionByPair(max_angular=1)
    >>> by_pair(molecule("N2")).block(o3_lambda=1).samples["second_atom"]
    array([1, 0], dtype=int32)
    """

    cutoff: Cutoff = CUTOFF
    radial: RadialBasis = RADIAL
    density: Density | Delta = DENSITY
    scaling: Willatt2018 | None = None
    center_weight: float = 1.0
    max_angular: int = 6

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        if self.max_angular < 0:
            raise ValueError(f"max_angular counts from 0, got {self.max_angular}")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The pairs of some structures."""
        pairs, terms = self._pairs(frames)
        counts = np.array([len(frame) for frame in frames])
        types = np.concatenate([frame.numbers for frame in frames])
        first = (np.cumsum(counts) - counts)[pairs.system]
        keys = np.stack([types[first + pairs.center], types[first + pairs.neighbor]], axis=1)
        found = dict(self._blocks(pairs, terms, keys, gradients))
        names = ["o3_lambda", "o3_sigma", "first_atom_type", "second_atom_type"]
        return TensorMap(Labels(names, np.array(list(found), np.int32)), list(found.values()))

    def _pairs(self, frames: Sequence[ase.Atoms]) -> tuple[Pairs, "_Terms"]:
        """All pairs in order, and what each of them adds."""
        pairs = Surroundings.of(frames, self.cutoff.radius).pairs
        own = np.array([(s, i) for s, frame in enumerate(frames) for i in range(len(frame))])
        system = np.concatenate([pairs.system, own[:, 0]])
        center = np.concatenate([pairs.center, own[:, 1]])
        neighbor = np.concatenate([pairs.neighbor, own[:, 1]])
        shift = np.concatenate([pairs.shift, np.zeros((len(own), 3), np.int64)])
        vector = np.concatenate([pairs.vector, np.zeros((len(own), 3))])
        order = np.lexsort((*shift.T[::-1], neighbor, center, system))
        terms = self._terms(pairs, len(own))
        return Pairs(system, center, neighbor, shift, vector)[order], terms[order]

    def _terms(self, pairs: Pairs, alone: int) -> "_Terms":
        """Factors of the pairs, then of atoms with themselves."""
        r = np.concatenate([pairs.distance, np.zeros(alone)])
        u = np.concatenate([pairs.vector, np.zeros((alone, 3))]) / np.where(r > 0, r, 1.0)[:, None]
        table = radial_table(self.radial, self.density, self.cutoff.radius, self.max_angular)
        f, df, _ = self.cutoff(r)
        if self.scaling is not None:
            s, ds, _ = self.scaling(r)
            f, df = f * s, df * s + f * ds
        value, slope, _ = table(r)
        slope = df[:, None] * value + f[:, None] * slope
        value = f[:, None] * value
        Y, D = spherical_harmonics(u, self.max_angular)
        D = D / np.where(r > 0, r, 1.0)[:, None, None]
        own = np.arange(len(r)) >= len(pairs)
        slope[own], D[own], value[own] = 0.0, 0.0, 0.0
        # Y_00 is in the center's share already
        Y[own] = 0.0
        Y[own, 0] = self.center_weight
        value[own, : self.radial.size] = f[own, None] * table.center
        return _Terms(u, Y, D, value, slope)

    def _blocks(
        self, pairs: Pairs, terms: "_Terms", types: Integers, gradients: tuple[str, ...]
    ) -> Iterator[tuple[tuple[int, ...], TensorBlock]]:
        for first, second in np.unique(types, axis=0).tolist():
            rows = np.flatnonzero((types == (first, second)).all(axis=1))
            apart = rows[pairs.distance[rows] > 0]
            for l in range(self.max_angular + 1):
                some = rows if l == 0 else apart
                block = terms[some].block(pairs[some], l, self.radial.size, gradients)
                yield (l, 1, first, second), block


@dataclass(frozen=True, eq=False)
class _Terms:
    """Angular and radial factors of every pair."""

    directions: Array  # (pairs, 3)
    angular: Array  # (pairs, lm)
    angular_slope: Array  # (pairs, 3, lm)
    radial: Array  # (pairs, ln)
    radial_slope: Array  # (pairs, ln)

    def __getitem__(self, rows: Integers) -> "_Terms":
        return _Terms(
            self.directions[rows],
            self.angular[rows],
            self.angular_slope[rows],
            self.radial[rows],
            self.radial_slope[rows],
        )

    def block(self, pairs: Pairs, l: int, size: int, gradients: tuple[str, ...]) -> TensorBlock:
        """The block of these pairs for one l."""
        entries = np.column_stack([pairs.system, pairs.center, pairs.neighbor, pairs.shift])
        samples = Labels(NAMES, entries.astype(np.int32), assume_unique=True)
        lm, ln = slice(l * l, (l + 1) ** 2), slice(l * size, (l + 1) * size)
        Y, F = self.angular[:, lm, None], self.radial[:, None, ln]
        slope = self.radial_slope[:, None, ln]
        mu, n = Labels("o3_mu", np.arange(-l, l + 1)[:, None]), Labels.range("n", size)
        block = TensorBlock(Y * F, samples, [mu], n)
        if gradients:
            G = self.angular_slope[:, :, lm, None] * F[:, None]
            G = G + self.directions[:, :, None, None] * (Y * slope)[:, None]  # (pairs, 3, m, n)
        for name in gradients:
            values, rows = _derivative(name, pairs, G)
            block.add_gradient(name, TensorBlock(values, rows, [*PARAMETERS[name], mu], n))
        return block


def _derivative(name: str, pairs: Pairs, G: Array) -> tuple[Array, Labels]:
    if name == "positions":
        return _positions(pairs, G)
    weights = pairs.vector if name == "strain" else pairs.shift.astype(np.float64)
    return weights[:, :, None, None, None] * G[:, None], Labels.range("sample", len(pairs))


def _positions(pairs: Pairs, G: Array) -> tuple[Array, Labels]:
    """``-G`` on the first atom, ``+G`` on the second; with itself or its image, they cancel."""
    moved = pairs.center != pairs.neighbor
    sample = np.concatenate([np.arange(len(pairs)), np.flatnonzero(moved)])
    atom = np.concatenate([pairs.center, pairs.neighbor[moved]])
    values = np.concatenate([np.where(moved[:, None, None, None], -G, 0.0), G[moved]])
    order = np.lexsort((atom, sample))
    entries = np.column_stack([sample, pairs.system[sample], atom])[order].astype(np.int32)
    rows = Labels(["sample", "system", "atom"], entries, assume_unique=True)
    return values[order], rows
