"""Fewer densities than elements: types of neighbors mixed into channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from nablatom.descriptors.products import Expansion, differentiable
from nablatom.labels import Labels
from nablatom.operations.chain import linear
from nablatom.tensor import TensorMap

__all__ = ["MixedTypes"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MixedTypes(Explicit):
    """An expansion whose types of neighbors are mixed: ``c^q = sum_A W_Aq c^A``.

    Its keys are those of the expansion, with the channel ``q = 0, 1, …`` as ``neighbor_type``, so
    that `EquivariantPowerSpectrum` and `Bispectrum` take it in place of an expansion: their size
    then no longer grows with the number of elements. Gradients follow, as the mixing is linear.

    Parameters
    ----------
    expansion
        A `SphericalExpansion`, or anything that returns such tensors.
    types
        Atomic numbers.
    weights : (types, channels)
        ``W``.

    Raises
    ------
    ValueError
        The weights are not one row for each type, or an atom is of none of the types.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SphericalExpansion
    >>> mixed = MixedTypes(SphericalExpansion(max_angular=0), (1, 8), [[1.0], [0.5]])
    >>> print(mixed(molecule("H2O")).keys)
    Labels(
        o3_lambda  o3_sigma  center_type  neighbor_type
            0         1           1             0
            0         1           8             0
    )

    References
    ----------
    Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018).
    """

    expansion: Expansion
    types: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]

    def __init__(self, expansion: Expansion, types: Sequence[int], weights: ArrayLike) -> None:
        W = np.asarray(weights, dtype=np.float64)
        if W.ndim != 2 or len(W) != len(types):
            raise ValueError(
                f"weights must have one row for each of {len(types)} types, got shape {W.shape}"
            )
        object.__setattr__(self, "expansion", expansion)
        object.__setattr__(self, "types", tuple(types))
        object.__setattr__(self, "weights", tuple(map(tuple, W.tolist())))

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The mixed expansion of some structures."""
        return self._of(self.expansion(frames, gradients=gradients))

    def vjp(
        self, structures: Structures, cotangents: TensorMap, *, threads: int = 1
    ) -> Derivatives:
        """As that of all calculators; through the ``vjp`` of the expansion, if it has one."""
        if not differentiable(self.expansion):
            return super().vjp(structures, cotangents, threads=threads)
        frames = self._checked_frames(structures, threads)
        values = self.expansion(frames, threads=threads)
        unmixed = self._unmixed(values, cotangents)
        vjp = self.expansion.vjp  # type: ignore[attr-defined]
        found: Derivatives = vjp(frames, unmixed, threads=threads)
        return found

    def jvp(
        self, structures: Structures, tangents: Mapping[str, ArrayLike], *, threads: int = 1
    ) -> TensorMap:
        """As that of all calculators; through the ``jvp`` of the expansion, if it has one."""
        if not differentiable(self.expansion):
            return super().jvp(structures, tangents, threads=threads)
        frames = self._checked_frames(structures, threads)
        jvp = self.expansion.jvp  # type: ignore[attr-defined]
        return assembled([self._of(jvp(frames, tangents, threads=threads))])

    def _unmixed(self, values: TensorMap, cotangents: TensorMap) -> TensorMap:
        """``sum_q W_Aq g^q``, for every block of the expansion."""
        mixed = assembled([self._of(values)])
        names = mixed.keys.names
        given = {tuple(key): np.zeros(block.shape) for key, block in mixed.items()}
        for key, block in cotangents.items():
            if key.names != names or tuple(key) not in given:
                raise unknown_cotangent(key, names)
            own = mixed.block(key)
            check_cotangent(key, block, own.samples, own.properties)
            given[tuple(key)] = np.asarray(block.values, np.float64)
        blocks = []
        for key, block in values.items():
            *rest, neighbor = tuple(key)
            weights = self.weights[self.types.index(neighbor)]
            samples = mixed.block(dict(zip(names, [*rest, 0], strict=True))).samples
            rows = samples.intersection_and_mapping(block.samples)[1] >= 0
            total = sum(w * given[(*rest, q)][rows] for q, w in enumerate(weights))
            blocks.append(TensorBlock(total, block.samples, block.components, block.properties))
        return TensorMap(values.keys, blocks)

    def _of(self, expansion: TensorMap) -> TensorMap:
        """The channels of an expansion."""
        unknown = set(expansion.keys["neighbor_type"].tolist()) - set(self.types)
        if unknown:
            raise ValueError(
                f"atoms of type {sorted(unknown)} have no weights; there are those of {self.types}"
            )
        types = Labels("neighbor_type", np.array(self.types, np.int32)[:, None])
        together = expansion.keys_to_properties(types)
        keys, blocks = [], []
        for key, block in together.items():
            for channel, weights in enumerate(np.array(self.weights).T):
                keys.append([*key, channel])
                blocks.append(_mixed(block, weights))
        names = [*together.keys.names, "neighbor_type"]
        return TensorMap(Labels(names, np.array(keys, np.int32)), blocks)


def _mixed(block: TensorBlock, weights: Array) -> TensorBlock:
    """The sum over the types, which come first among the properties."""
    size = len(block.properties) // len(weights)

    def total(x: Array) -> Array:
        parts = x.reshape(*x.shape[:-1], len(weights), size)
        return np.einsum("...an,a->...n", parts, weights)

    return linear(total, block, properties=Labels.range("n", size))
