"""Invariant products of three densities around an atom: distances and angles of three neighbors.

``B_{l1 n1 l2 n2 l3 n3} = (-1)^l3 (2 l3 + 1)^(-1/2) sum C^{l3 m3}_{l1 m1 l2 m2} a_{l1 m1 n1}
b_{l2 m2 n2} c_{l3 m3 n3}``: two densities coupled to the degree of the third, and with it to
a scalar.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.equivariant import Densities, densities, in_rows, on_shared_samples
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.kernels_coupling import couple_three
from nablatom.labels import Labels
from nablatom.operations.chain import pointwise
from nablatom.operations.coupling import clebsch_gordan
from nablatom.tensor import TensorMap

__all__ = ["Bispectrum"]

Array = NDArray[np.float64]
Expansion = Callable[..., TensorMap]
Types = tuple[int, int, int, int]


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
        if self.parity not in (1, -1):
            raise ValueError(f"parity is 1 or -1, got {self.parity}")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The bispectrum of some structures."""
        density = densities(self.expansion(frames, gradients=gradients))
        found = {types: self._block(density, types) for types in _triples(density)}
        kept = sorted(types for types, block in found.items() if len(block))
        names = ["center_type", "neighbor_1_type", "neighbor_2_type", "neighbor_3_type"]
        entries = np.array(kept, np.int32).reshape(-1, len(names))
        return TensorMap(Labels(names, entries), [found[types] for types in kept])

    def _block(self, density: Densities, types: Types) -> TensorBlock:
        center, *neighbors = types
        x, y, z = (density[center, neighbor] for neighbor in neighbors)
        x, y = on_shared_samples(x, y)
        x, z = on_shared_samples(x, z)
        y, z = on_shared_samples(y, z)
        angular = round(x.shape[1] ** 0.5) - 1
        same = (neighbors[0] == neighbors[1], neighbors[1] == neighbors[2])
        return _products(x, y, z, _Triples.of(angular, self.parity, same))


def _triples(density: Densities) -> Iterator[Types]:
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
