"""Descriptors of atoms made comparable: of length one, or averaged over structures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations import sum_over_samples
from nablatom.operations.chain import Route, bilinear, elementwise, gather, pointwise
from nablatom.tensor import TensorMap

__all__ = ["averaged", "normalized"]

ONE = Labels.range("square", 1)


def normalized(tensor: TensorMap) -> TensorMap:
    """``p/|p|``, where the length is over all blocks, components and properties of an atom.

    Gradients follow ``(dp - p^ (p^·dp))/|p|``; their rows are those of all blocks of the atom.
    Atoms whose descriptor is zero keep it, and have no slope.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SoapPowerSpectrum
    >>> spectrum = normalized(SoapPowerSpectrum(max_angular=1)(molecule("H2O")))
    >>> round(sum(float((block.values[0] ** 2).sum()) for block in spectrum if len(block) == 2), 6)
    1.0
    """
    squares = TensorMap.unchecked(tensor.keys, [_square(block) for block in tensor.blocks()])
    names = tensor.keys.names
    whole = sum_over_samples(squares.keys_to_samples(names), names).block()
    inverse = elementwise(_inverse_root, lambda x: -0.5 * _inverse_root(x) ** 3, whole)
    blocks = [_scaled(block, inverse) for block in tensor.blocks()]
    return TensorMap.unchecked(tensor.keys, blocks, tensor.info())


def averaged(tensor: TensorMap) -> TensorMap:
    """The mean over the atoms of each structure, atoms without a row counting as zero.

    Keys with ``center_type`` lose it: all atoms of a structure are averaged together. The atoms
    are those with a row in any block. Gradients follow with the values.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SoapRadialSpectrum
    >>> averaged(SoapRadialSpectrum()(molecule("H2O"))).block(neighbor_type=1).samples
    Labels(
        system
          0
    )
    """
    atoms = np.unique(
        np.concatenate([_columns(block, ("system", "atom")) for block in tensor.blocks()]), axis=0
    )
    systems, counts = np.unique(atoms[:, 0], return_counts=True)
    if "center_type" in tensor.keys.names:
        tensor = tensor.keys_to_samples("center_type")
    first = tensor.block_by_id(0).samples.names
    summed = sum_over_samples(tensor, [name for name in first if name != "system"])
    blocks = []
    for block in summed.blocks():
        rows = np.searchsorted(systems, block.samples.column("system"))
        share = (1 / counts[rows]).reshape(-1, *(1 for _ in block.shape[1:]))
        blocks.append(_weighted(block, share))
    return TensorMap.unchecked(summed.keys, blocks, tensor.info())


def _columns(block: TensorBlock, names: tuple[str, ...]) -> NDArray[np.int32]:
    return np.stack([block.samples.column(name) for name in names], axis=1)


def _weighted(block: TensorBlock, weights: Array) -> TensorBlock:
    w = arrays.constant(weights, like=block.values)
    return elementwise(lambda x: w * x, lambda x: w + 0 * x, block)


def _square(block: TensorBlock) -> TensorBlock:
    """The sum of the squares of each sample."""
    axes = tuple(range(-len(block.components) - 1, 0))

    def value(x: Array) -> Array:
        return (x * x).sum(axis=axes)[..., None]

    def tangent(x: Array, dx: Array) -> Array:
        return 2 * (x * dx).sum(axis=axes)[..., None]

    return pointwise(value, tangent, block, components=(), properties=ONE)


def _inverse_root(x: Array) -> Array:
    """``x^(-1/2)``, zero at zero."""
    zero = x == 0
    return (x + zero) ** -0.5 * ~zero


def _scaled(block: TensorBlock, inverse: TensorBlock) -> TensorBlock:
    """Every row times the number of its atom."""
    place = inverse.samples.union_and_mapping(block.samples)[2]
    factor = gather(inverse, Route(block.samples, place))
    ones = (1,) * (len(block.components) + 1)

    def product(x: Array, s: Array) -> Array:
        return x * s.reshape((*s.shape[:-1], *ones))

    return bilinear(
        product, block, factor, components=block.components, properties=block.properties
    )
