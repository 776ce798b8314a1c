"""Invariant products of three densities around an atom: distances and angles of three neighbors.

``B_{l1 n1 l2 n2 l3 n3} = (-1)^l3 (2 l3 + 1)^(-1/2) sum C^{l3 m3}_{l1 m1 l2 m2} a_{l1 m1 n1}
b_{l2 m2 n2} c_{l3 m3 n3}``: two densities coupled to the degree of the third, and with it to
a scalar.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import ase
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.assembly import assembled
from nablatom.descriptors.explicit import (
    Derivatives,
    Explicit,
    Structures,
    check_cotangent,
    unknown_cotangent,
)
from nablatom.descriptors.field_types import check_settings
from nablatom.descriptors.kernels_coupling import couple_three, pull_couple_three
from nablatom.descriptors.products import (
    Expansion,
    Pulled,
    at_shared,
    differentiable,
    in_rows,
    moving,
    rates,
    shared,
    side_by_side,
)
from nablatom.labels import Labels, LabelsEntry
from nablatom.operations.chain import pointwise
from nablatom.operations.coupling import clebsch_gordan
from nablatom.tensor import TensorMap

__all__ = ["Bispectrum"]

Array = NDArray[np.float64]
Types = tuple[int, int, int, int]

NAMES = ["center_type", "neighbor_1_type", "neighbor_2_type", "neighbor_3_type"]


@dataclass(frozen=True)
class Bispectrum(Explicit):
    """Invariants of three neighbors at a time, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type, neighbor_1_type,
    neighbor_2_type, neighbor_3_type`` (rising), samples ``system, atom`` (atoms that have all
    three types of neighbors) and properties ``l_1, l_2, l_3, n_1, n_2, n_3``. For neighbors of
    equal types, only rising l are kept.

    Parameters
    ----------
    expansion
        A `SphericalExpansion`, or anything that returns such tensors.
    parity
        1: scalars. -1: pseudoscalars, whose sign tells a structure from its mirror image.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SphericalExpansion
    >>> bispectrum = Bispectrum(SphericalExpansion(max_angular=1))
    >>> len(bispectrum(molecule("CH4")).keys)
    8

    References
    ----------
    Bartók, Payne, Kondor, Csányi, Phys. Rev. Lett. 104, 136403 (2010).
    """

    expansion: Expansion
    parity: int = 1

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        if self.parity not in (1, -1):
            raise ValueError(f"parity is 1 or -1, got {self.parity}")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The bispectrum of some structures."""
        return self._of(self.expansion(frames, gradients=gradients))

    def vjp(
        self, structures: Structures, cotangents: TensorMap, *, threads: int = 1
    ) -> Derivatives:
        """As that of all calculators; through the ``vjp`` of the expansion, if it has one."""
        if not differentiable(self.expansion):
            return super().vjp(structures, cotangents, threads=threads)
        density = Pulled(self.expansion, self._checked_frames(structures, threads), threads)
        for key, given in cotangents.items():
            self._pull(key, given, density)
        return density.back(threads)

    def jvp(
        self, structures: Structures, tangents: Mapping[str, ArrayLike], *, threads: int = 1
    ) -> TensorMap:
        """As that of all calculators; through the ``jvp`` of the expansion, if it has one."""
        if not differentiable(self.expansion):
            return super().jvp(structures, tangents, threads=threads)
        frames = self._checked_frames(structures, threads)
        return rates(assembled([self._of(moving(self.expansion, frames, tangents, threads))]))

    def _of(self, expansion: TensorMap) -> TensorMap:
        """The products of an expansion."""
        density = side_by_side(expansion)
        found = {}
        for center, *neighbors in _triples(density):
            x, y, z = at_shared(*(density[center, neighbor] for neighbor in neighbors))
            if len(x):
                triples = self._coefficients(neighbors, x)
                found[center, *neighbors] = _products(x, y, z, triples)
        entries = np.array(list(found), np.int32).reshape(-1, len(NAMES))
        return TensorMap(Labels(NAMES, entries), list(found.values()))

    def _pull(self, key: LabelsEntry, given: TensorBlock, density: Pulled) -> None:
        """Add the derivatives of one block of products, by all three densities."""
        center, *neighbors = tuple(key)
        types = [(center, neighbor) for neighbor in neighbors]
        known = all(one in density.densities for one in types)
        if key.names != NAMES or not known or neighbors != sorted(neighbors):
            raise unknown_cotangent(key, NAMES)
        blocks = [density.densities[one] for one in types]
        triples = self._coefficients(neighbors, blocks[0])
        sizes = tuple(len(block.properties) for block in blocks)
        samples, rows = shared(*blocks)
        check_cotangent(key, given, samples, _properties(triples.degrees, sizes))
        shape = (len(samples), len(triples.degrees), *sizes)
        cotangents = np.ascontiguousarray(given.values, np.float64).reshape(shape)
        parts = [block.values[own] for block, own in zip(blocks, rows, strict=True)]
        found = [np.zeros(part.shape) for part in parts]
        terms = triples.terms, triples.coefficients, triples.places
        pull_couple_three(*parts, *terms, cotangents, *found)  # type: ignore[call-arg]
        for one, own, derivative in zip(types, rows, found, strict=True):
            density.derivatives[one][own] += derivative

    def _coefficients(self, neighbors: Sequence[int], block: TensorBlock) -> "_Triples":
        angular = round(block.shape[1] ** 0.5) - 1
        a, b, c = neighbors
        return _Triples.of(angular, self.parity, (a == b, b == c))


def _triples(density: Mapping[tuple[int, int], TensorBlock]) -> Iterator[Types]:
    """Rising types of three neighbors, for every type of center."""
    for center in sorted({center for center, _ in density}):
        neighbors = sorted(neighbor for other, neighbor in density if other == center)
        for a, b, c in product(neighbors, repeat=3):
            if a <= b <= c:
                yield center, a, b, c


class _Triples(NamedTuple):
    """Products of three degrees that have a scalar, and the coefficients of its terms."""

    degrees: tuple[tuple[int, int, int], ...]
    terms: NDArray[np.int64]  # lm of the three densities
    coefficients: Array
    places: NDArray[np.int64]  # where the terms of each product begin

    @staticmethod
    @cache
    def of(angular: int, parity: int, same: tuple[bool, bool]) -> "_Triples":
        l = range(angular + 1)
        degrees = tuple(
            (l1, l2, l3)
            for l1, l2, l3 in product(l, l, l)
            if abs(l1 - l2) <= l3 <= l1 + l2
            and (-1) ** (l1 + l2 + l3) == parity
            and not (same[0] and l1 > l2)
            and not (same[1] and l2 > l3)
        )
        terms, coefficients = [np.empty((0, 3), np.int64)], [np.empty(0)]
        for l1, l2, l3 in degrees:
            C = clebsch_gordan(l1, l2, l3)
            places = np.argwhere(np.abs(C) > 1e-14)
            coefficients.append(C[tuple(places.T)] * (-1) ** l3 / np.sqrt(2 * l3 + 1))
            terms.append(np.add(places, (l1 * l1, l2 * l2, l3 * l3), dtype=np.int64))
        starts = np.cumsum([len(part) for part in terms])
        return _Triples(degrees, np.concatenate(terms), np.concatenate(coefficients), starts)


def _products(
    first: TensorBlock, second: TensorBlock, third: TensorBlock, triples: _Triples
) -> TensorBlock:
    sizes = tuple(len(block.properties) for block in (first, second, third))
    properties = _properties(triples.degrees, sizes)

    def value(a: Array, b: Array, c: Array) -> Array:
        leading = np.broadcast_shapes(*(array.shape[:-2] for array in (a, b, c)))
        x, y, z = (in_rows(array, leading) for array in (a, b, c))
        result = np.empty((len(x), len(triples.degrees), *sizes))
        couple_three(x, y, z, triples.terms, triples.coefficients, triples.places, result)
        return result.reshape(*leading, len(properties))

    def tangent(a: Array, b: Array, c: Array, da: Array, db: Array, dc: Array) -> Array:
        return value(da, b, c) + value(a, db, c) + value(a, b, dc)

    return pointwise(value, tangent, first, second, third, components=(), properties=properties)


@cache
def _properties(degrees: tuple[tuple[int, int, int], ...], sizes: tuple[int, ...]) -> Labels:
    p, *n = np.indices((len(degrees), *sizes)).reshape(4, -1)
    l = np.array(degrees, np.int64).reshape(-1, 3)[p]
    names = ["l_1", "l_2", "l_3", "n_1", "n_2", "n_3"]
    return Labels(names, np.column_stack([l, *n]).astype(np.int32), assume_unique=True)
