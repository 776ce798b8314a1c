"""Products of two densities around an atom that turn as spherical harmonics do: λ-SOAP.

``x^{λμ}_{l1 n1 l2 n2} = sum_{m1 m2} C^{λμ}_{l1 m1 l2 m2} a_{l1 m1 n1} b_{l2 m2 n2}`` for the
densities ``a`` and ``b`` of two types of neighbors; ``σ = (-1)^(l1 + l2 + λ)`` is the parity
that is left after that of the harmonics.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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
from nablatom.descriptors.kernels_coupling import couple, pull_couple
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
from nablatom.operations.chain import bilinear
from nablatom.operations.coupling import clebsch_gordan
from nablatom.tensor import TensorMap

__all__ = ["Couplings", "EquivariantPowerSpectrum", "coupled"]

Array = NDArray[np.float64]
NAMES = ["o3_lambda", "o3_sigma", "center_type", "neighbor_1_type", "neighbor_2_type"]


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

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        if self.max_lambda is not None and self.max_lambda < 0:
            raise ValueError(f"max_lambda counts from 0, got {self.max_lambda}")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The products for some structures."""
        first = self.expansion(frames, gradients=gradients)
        return self._of(first, self.other(frames, gradients=gradients) if self.other else first)

    def vjp(
        self, structures: Structures, cotangents: TensorMap, *, threads: int = 1
    ) -> Derivatives:
        """As that of all calculators; through the ``vjp`` of the expansions, if they have one."""
        if not self._differentiable:
            return super().vjp(structures, cotangents, threads=threads)
        frames = self._checked_frames(structures, threads)
        first = Pulled(self.expansion, frames, threads)
        second = Pulled(self.other, frames, threads) if self.other else first
        for key, given in cotangents.items():
            self._pull(key, given, first, second)
        found = first.back(threads)
        if self.other:
            more = second.back(threads)
            found = Derivatives(*(a + b for a, b in zip(found, more, strict=True)))
        return found

    def jvp(
        self, structures: Structures, tangents: Mapping[str, ArrayLike], *, threads: int = 1
    ) -> TensorMap:
        """As that of all calculators; through the ``jvp`` of the expansions, if they have one."""
        if not self._differentiable:
            return super().jvp(structures, tangents, threads=threads)
        frames = self._checked_frames(structures, threads)
        first = moving(self.expansion, frames, tangents, threads)
        second = moving(self.other, frames, tangents, threads) if self.other else first
        return rates(assembled([self._of(first, second)]))

    @property
    def _differentiable(self) -> bool:
        return all(differentiable(e) for e in (self.expansion, self.other) if e is not None)

    def _of(self, expansion: TensorMap, other: TensorMap) -> TensorMap:
        """The products of two expansions."""
        first = side_by_side(expansion)
        second = first if other is expansion else side_by_side(other)
        found = {}
        for (center, a), (also, b) in ((x, y) for x in first for y in second):
            if center == also:
                x, y = at_shared(first[center, a], second[center, b])
                if len(x):
                    for (degree, sigma), block in self._products(x, y):
                        found[degree, sigma, center, a, b] = block
        entries = np.array(list(found), np.int32).reshape(-1, len(NAMES))
        return TensorMap(Labels(NAMES, entries), list(found.values()))

    def _pull(self, key: LabelsEntry, given: TensorBlock, first: Pulled, second: Pulled) -> None:
        """Add the derivatives of one block of products, by both densities."""
        if key.names != NAMES:
            raise unknown_cotangent(key, NAMES)
        degree, sigma, center, a, b = tuple(key)
        x, y = first.densities.get((center, a)), second.densities.get((center, b))
        if x is None or y is None:
            raise unknown_cotangent(key, NAMES)
        couplings = self._couplings(x, y, degree, sigma)
        if not couplings.degrees or (self.max_lambda is not None and degree > self.max_lambda):
            raise unknown_cotangent(key, NAMES)
        sizes = len(x.properties), len(y.properties)
        samples, (of_x, of_y) = shared(x, y)
        check_cotangent(key, given, samples, _properties(couplings.degrees, *sizes))
        by_x, by_y = (np.zeros((len(samples), *block.shape[1:])) for block in (x, y))
        shape = (len(samples), 2 * degree + 1, len(couplings.degrees), *sizes)
        cotangents = np.ascontiguousarray(given.values, np.float64).reshape(shape)
        rows = x.values[of_x], y.values[of_y]
        pull_couple(*rows, couplings.indices, couplings.coefficients, cotangents, by_x, by_y)
        first.derivatives[center, a][of_x] += by_x
        second.derivatives[center, b][of_y] += by_y

    def _couplings(self, x: TensorBlock, y: TensorBlock, degree: int, sigma: int) -> "Couplings":
        angular = _max_angular(x), _max_angular(y)
        return Couplings.of(*angular, degree, sigma, ordered=self.other is None)

    def _products(
        self, x: TensorBlock, y: TensorBlock
    ) -> Iterator[tuple[tuple[int, int], TensorBlock]]:
        largest = _max_angular(x) + _max_angular(y)
        if self.max_lambda is not None:
            largest = min(self.max_lambda, largest)
        for degree in range(largest + 1):
            for sigma in (1, -1):
                couplings = self._couplings(x, y, degree, sigma)
                if couplings.degrees:
                    yield (degree, sigma), coupled(x, y, degree, couplings)


def _max_angular(density: TensorBlock) -> int:
    return round(density.shape[1] ** 0.5) - 1


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


@cache
def _properties(degrees: tuple[tuple[int, int], ...], first: int, second: int) -> Labels:
    p, n1, n2 = np.indices((len(degrees), first, second)).reshape(3, -1)
    entries = np.column_stack([np.array(degrees)[p], n1, n2]).astype(np.int32)
    return Labels(["l_1", "l_2", "n_1", "n_2"], entries, assume_unique=True)
