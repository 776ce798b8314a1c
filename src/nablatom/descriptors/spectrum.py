"""Rotation-invariant features of atoms: one and two neighbors at a time.

Radial spectrum, ``x_n = c_{00n}``. Power spectrum, for types ``A <= B``,

``p^{AB}_{l n n'} = κ sum_m c^A_lmn c^B_lmn'``, ``κ = (-1)^l (2l+1)^{-1/2} (√2 if A ≠ B)``.

Both are the expansion and one rule of `nablatom.operations.chain`: linear and bilinear.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.expansion import SphericalExpansion
from nablatom.descriptors.neighborhoods import Neighborhoods, in_batches
from nablatom.labels import Labels
from nablatom.operations.chain import Route, bilinear, gather, linear
from nablatom.tensor import TensorMap

__all__ = ["PowerSpectrum", "RadialSpectrum"]

Array = NDArray[np.float64]
Parts = dict[tuple[int, ...], TensorBlock]
NOBODY = 0  # the atomic number of no element


@dataclass(frozen=True)
class RadialSpectrum:
    """Radial density of each type of neighbors around every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type,
    neighbor_type``, samples ``system, atom`` and properties ``n``. Parameters as those of
    `SphericalExpansion`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> spectrum = RadialSpectrum(cutoff=4.0, max_radial=3)
    >>> spectrum([bulk("Cu")], gradients=["positions"]).block()
    TensorBlock
        samples (1): ['system', 'atom']
        components (): []
        properties (4): ['n']
        gradients: ['positions']
    """

    cutoff: float = 5.5
    width: float | None = 1.5
    max_radial: int = 5

    def __post_init__(self) -> None:
        SphericalExpansion(self.cutoff, self.width, self.max_radial, 0)

    def __call__(
        self, structures: Sequence[ase.Atoms], *, gradients: Sequence[str] = ()
    ) -> TensorMap:
        """The spectrum of every atom; gradients are any of positions, strain and cell."""
        basis = SphericalExpansion(self.cutoff, self.width, self.max_radial, 0)
        expansion = basis(structures, gradients=gradients)
        blocks = [_radial(block, block.properties) for block in expansion]
        types = expansion.keys.values[:, 2:]
        return TensorMap(Labels(["center_type", "neighbor_type"], types), blocks)


@dataclass(frozen=True)
class PowerSpectrum:
    """Distances and angles to pairs of neighbors around every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type,
    neighbor_1_type, neighbor_2_type`` (the first not above the second), samples ``system,
    atom`` and properties ``l, n_1, n_2``.

    With equal types the spectrum is symmetric in ``n_1, n_2``. Only ``n_1 <= n_2`` is kept
    then, times √2 off the diagonal, so that scalar products of features stay what they are.

    Parameters
    ----------
    cutoff : length
        Neighbors count within it.
    width : length
        Neighbors fade out over the last ``width`` before the cutoff; over all of it if None.
    max_radial, max_angular
        Basis functions ``n = 0 … max_radial``, ``l = 0 … max_angular``.
    radial
        Also give the radial spectrum, as blocks ``(center, 0, neighbor)`` with properties
        ``(0, 0, n)``: products with a density that is one for the type 0, nobody. A linear
        model wants it, for what depends on single neighbors.

    Examples
    --------
    >>> from ase.build import bulk
    >>> spectrum = PowerSpectrum(cutoff=4.0, max_radial=3, max_angular=2)
    >>> print(spectrum([bulk("Cu")]))
    TensorMap with 2 blocks
    keys: center_type  neighbor_1_type  neighbor_2_type
              29              0               29
              29             29               29

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013).
    """

    cutoff: float = 5.5
    width: float | None = 1.5
    max_radial: int = 5
    max_angular: int = 6
    radial: bool = True

    def __post_init__(self) -> None:
        SphericalExpansion(self.cutoff, self.width, self.max_radial, self.max_angular)

    def __call__(
        self, structures: Sequence[ase.Atoms], *, gradients: Sequence[str] = ()
    ) -> TensorMap:
        """The spectrum of every atom; gradients are any of positions, strain and cell."""
        return in_batches(lambda some: self._spectrum(some, gradients), structures, self.cutoff)

    def _spectrum(self, atoms: Neighborhoods, gradients: Sequence[str]) -> TensorMap:
        basis = SphericalExpansion(self.cutoff, self.width, self.max_radial, self.max_angular)
        density = {tuple(key): block for key, block in basis.expand(atoms, gradients).items()}
        found = dict(self._products(density))
        keys = Labels(["l", "center_type", "neighbor_1_type", "neighbor_2_type"], list(found))
        return TensorMap(keys, list(found.values())).keys_to_properties("l")

    def _products(self, density: Parts) -> Iterator[tuple[tuple[int, ...], TensorBlock]]:
        for (l, _, center, neighbor), block in density.items():
            if self.radial and l == 0:
                alone = Labels(["n_1", "n_2"], [[0, n] for n in range(len(block.properties))])
                yield (l, center, NOBODY, neighbor), _radial(block, alone)
            for (other_l, _, other_center, other), second in density.items():
                if (other_l, other_center) == (l, center) and neighbor <= other:
                    product = _product(*_shared(block, second), same=neighbor == other)
                    if len(product):
                        yield (l, center, neighbor, other), product


def _radial(block: TensorBlock, properties: Labels) -> TensorBlock:
    """The only component of l = 0, without its axis."""
    return linear(lambda c: c[..., 0, :], block, components=(), properties=properties)


def _shared(a: TensorBlock, b: TensorBlock) -> tuple[TensorBlock, TensorBlock]:
    """Both densities for the atoms that have both."""
    if a.samples == b.samples:
        return a, b
    samples, in_a, in_b = a.samples.intersection_and_mapping(b.samples)
    return _at(samples, a, in_a), _at(samples, b, in_b)


def _at(samples: Labels, block: TensorBlock, place: NDArray[np.int64]) -> TensorBlock:
    rows = np.flatnonzero(place >= 0)
    return gather(block, Route(samples, rows[np.argsort(place[rows])]))


def _product(a: TensorBlock, b: TensorBlock, *, same: bool) -> TensorBlock:
    """``κ sum_m a_mn b_mn'``, once for each pair of radial functions that matters."""
    angular, radial = a.shape[1:]
    n_1, n_2 = np.triu_indices(radial) if same else np.indices((radial, radial)).reshape(2, -1)
    weights = np.where(n_1 == n_2, 1.0, np.sqrt(2.0)) if same else np.sqrt(2.0)
    weights = weights * (-1) ** (angular // 2) / np.sqrt(angular)

    def contract(x: Array, y: Array) -> Array:
        products = x.swapaxes(-1, -2) @ y  # (…, n_1, n_2)
        return products[..., n_1, n_2] * weights

    properties = Labels(["n_1", "n_2"], np.stack([n_1, n_2], axis=1))
    return bilinear(contract, a, b, components=(), properties=properties)
