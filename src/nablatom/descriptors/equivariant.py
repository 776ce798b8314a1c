"""Products of two densities around an atom that turn as spherical harmonics do: λ-SOAP.

``x^{λμ}_{l1 n1 l2 n2} = sum_{m1 m2} C^{λμ}_{l1 m1 l2 m2} a_{l1 m1 n1} b_{l2 m2 n2}`` for the
densities ``a`` and ``b`` of two types of neighbors; ``σ = (-1)^(l1 + l2 + λ)`` is the parity
that is left after that of the harmonics.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.kernels_coupling import couple
from nablatom.labels import Labels
from nablatom.operations.chain import Route, bilinear, gather, linear
from nablatom.operations.coupling import clebsch_gordan
from nablatom.tensor import TensorMap

__all__ = [
    "Couplings",
    "EquivariantPowerSpectrum",
    "coupled",
    "densities",
    "in_rows",
    "on_shared_samples",
]

Array = NDArray[np.float64]
Expansion = Callable[..., TensorMap]
Densities = dict[tuple[int, int], TensorBlock]
"""Center type, neighbor type → all components of the density, (samples, lm, n)."""


@dataclass(frozen=True)
class EquivariantPowerSpectrum(Explicit):
    """Products of densities that turn as harmonics of degree λ, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``o3_lambda, o3_sigma,
    center_type, neighbor_1_type, neighbor_2_type``, samples ``system, atom`` (atoms that have
    both types of neighbors), components ``o3_mu`` and properties ``l_1, l_2, n_1, n_2``. With
    one expansion only ``l_1 <= l_2`` is kept, as the others are the same with types and n
    exchanged.

    Parameters
    ----------
    expansion
        A `SphericalExpansion`, or anything that returns such tensors.
    other
        Of the second density; the same if None.
    max_lambda
        The largest degree of the products; all that there are if None.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SphericalExpansion
    >>> spectrum = EquivariantPowerSpectrum(SphericalExpansion(max_angular=2), max_lambda=1)
    >>> print(spectrum(molecule("N2")).keys)
    Labels(
        o3_lambda  o3_sigma  center_type  neighbor_1_type  neighbor_2_type
            0         1           7              7                7
            1         -1          7              7                7
            1         1           7              7                7
    )

    References
    ----------
    Grisafi, Wilkins, Csányi, Ceriotti, Phys. Rev. Lett. 120, 036002 (2018).
    """

    expansion: Expansion
    other: Expansion | None = None
    max_lambda: int | None = None

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The products for some structures."""
        first = densities(self.expansion(frames, gradients=gradients))
        second = densities(self.other(frames, gradients=gradients)) if self.other else first
        found = {}
        for (center, a), (also, b) in ((x, y) for x in first for y in second):
            if center == also:
                x, y = on_shared_samples(first[center, a], second[center, b])
                if len(x):
                    for (degree, sigma), block in self._products(x, y):
                        found[degree, sigma, center, a, b] = block
        names = ["o3_lambda", "o3_sigma", "center_type", "neighbor_1_type", "neighbor_2_type"]
        keys = sorted(found)
        entries = np.array(keys, np.int32).reshape(-1, len(names))
        return TensorMap(Labels(names, entries), [found[key] for key in keys])

    def _products(
        self, x: TensorBlock, y: TensorBlock
    ) -> Iterator[tuple[tuple[int, int], TensorBlock]]:
        angular = _max_angular(x), _max_angular(y)
        largest = sum(angular) if self.max_lambda is None else min(self.max_lambda, sum(angular))
        for degree in range(largest + 1):
            for sigma in (1, -1):
                couplings = Couplings.of(*angular, degree, sigma, ordered=self.other is None)
                if couplings.degrees:
                    yield (degree, sigma), coupled(x, y, degree, couplings)


def densities(expansion: TensorMap) -> Densities:
    """The components of every l side by side, for each pair of types."""
    parts: dict[tuple[int, int], list[TensorBlock]] = {}
    for key, block in sorted(expansion.items(), key=lambda item: tuple(item[0])):
        parts.setdefault((key["center_type"], key["neighbor_type"]), []).append(block)
    return {types: _side_by_side(blocks) for types, blocks in parts.items()}


def _side_by_side(blocks: Sequence[TensorBlock]) -> TensorBlock:
    count = sum(block.shape[1] for block in blocks)
    return linear(
        lambda *arrays: np.concatenate(arrays, axis=-2),
        *blocks,
        components=[Labels.range("lm", count)],
        properties=blocks[0].properties,
    )


def _max_angular(density: TensorBlock) -> int:
    return round(density.shape[1] ** 0.5) - 1


def on_shared_samples(a: TensorBlock, b: TensorBlock) -> tuple[TensorBlock, TensorBlock]:
    """Both densities for the atoms that have both."""
    if a.samples == b.samples:
        return a, b
    samples, in_a, in_b = a.samples.intersection_and_mapping(b.samples)
    return _at(samples, a, in_a), _at(samples, b, in_b)


def _at(samples: Labels, block: TensorBlock, place: NDArray[np.int64]) -> TensorBlock:
    rows = np.flatnonzero(place >= 0)
    return gather(block, Route(samples, rows[np.argsort(place[rows])]))


class Couplings(NamedTuple):
    """Which components multiply to one degree and parity, and with what coefficients.

    Attributes
    ----------
    degrees
        ``l_1, l_2`` of every product.
    indices : (terms, 4)
        Components ``lm`` of both densities, component of the product, and which product.
    coefficients : (terms,)
        Those of Clebsch and Gordan that are not zero.
    """

    degrees: tuple[tuple[int, int], ...]
    indices: NDArray[np.int64]
    coefficients: Array

    @staticmethod
    @cache
    def of(first: int, second: int, degree: int, sigma: int, *, ordered: bool) -> "Couplings":
        """Of densities up to these l; only with ``l_1 <= l_2`` if ordered."""
        degrees = tuple(
            (l1, l2)
            for l1 in range(first + 1)
            for l2 in range(l1 if ordered else 0, second + 1)
            if abs(l1 - l2) <= degree <= l1 + l2 and (-1) ** (l1 + l2 + degree) == sigma
        )
        indices, coefficients = [np.empty((0, 4), np.int64)], [np.empty(0)]
        for p, (l1, l2) in enumerate(degrees):
            C = clebsch_gordan(l1, l2, degree)
            terms = np.argwhere(np.abs(C) > 1e-14)
            coefficients.append(C[tuple(terms.T)])
            placed = np.add(terms, (l1 * l1, l2 * l2, 0))
            indices.append(np.column_stack([placed, np.full(len(terms), p)]))
        return Couplings(degrees, np.concatenate(indices), np.concatenate(coefficients))


def coupled(x: TensorBlock, y: TensorBlock, degree: int, couplings: Couplings) -> TensorBlock:
    """The products of two densities of one degree and parity."""
    mu = Labels("o3_mu", np.arange(-degree, degree + 1)[:, None])
    sizes = (len(x.properties), len(y.properties))
    shape = (2 * degree + 1, len(couplings.degrees), *sizes)

    properties = _properties(couplings.degrees, *sizes)

    def product(a: Array, b: Array) -> Array:
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        result = np.zeros((int(np.prod(leading)), *shape))
        couple(
            in_rows(a, leading),
            in_rows(b, leading),
            couplings.indices,
            couplings.coefficients,
            result,
        )
        return result.reshape(*leading, shape[0], len(properties))

    return bilinear(product, x, y, components=[mu], properties=properties)


def in_rows(array: Array, leading: tuple[int, ...]) -> Array:
    """The last two axes of an array in rows, one for each place in the others."""
    whole = np.broadcast_to(array, (*leading, *array.shape[-2:]))
    return np.ascontiguousarray(whole).reshape(-1, *array.shape[-2:])


@cache
def _properties(degrees: tuple[tuple[int, int], ...], first: int, second: int) -> Labels:
    p, n1, n2 = np.indices((len(degrees), first, second)).reshape(3, -1)
    entries = np.column_stack([np.array(degrees)[p], n1, n2]).astype(np.int32)
    return Labels(["l_1", "l_2", "n_1", "n_2"], entries, assume_unique=True)
