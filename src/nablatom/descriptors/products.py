"""Derivatives of products of expansions, by those of the expansions.

A product ``x(c)`` of spherical expansions ``c`` changes by ``dx = x'(c) dc``: its ``jvp`` is the
product of values and rates, and its ``vjp`` first goes to the expansions, ``x'(c)ᵀ g``, and then by
their own ``vjp`` to positions and cell. Neither stores a gradient.
"""

from collections.abc import Callable, Mapping, Sequence

import ase
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.density_calculator import DensityCalculator
from nablatom.descriptors.explicit import Derivatives, Explicit
from nablatom.labels import Labels
from nablatom.operations.chain import Route, gather, linear
from nablatom.tensor import TensorMap

__all__ = [
    "Expansion",
    "Pulled",
    "at_shared",
    "differentiable",
    "in_rows",
    "moving",
    "rates",
    "shared",
    "side_by_side",
]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Expansion = Callable[..., TensorMap]
Types = tuple[int, int]

RATE = "rate"  # the gradient along a direction


def differentiable(expansion: object) -> bool:
    """Whether it has products with its Jacobian."""
    return isinstance(expansion, DensityCalculator | Explicit)


def shared(*blocks: TensorBlock) -> tuple[Labels, list[Rows]]:
    """Samples that all blocks have, and their rows in each."""
    samples = blocks[0].samples
    for block in blocks[1:]:
        samples = samples.intersection(block.samples)
    return samples, [_rows(samples, block.samples) for block in blocks]


def _rows(samples: Labels, among: Labels) -> Rows:
    if samples == among:
        return np.arange(len(among))
    place = samples.intersection_and_mapping(among)[2]
    rows = np.flatnonzero(place >= 0)
    return rows[np.argsort(place[rows])]


def at_shared(*blocks: TensorBlock) -> list[TensorBlock]:
    """The blocks, each with the samples that all of them have."""
    samples, rows = shared(*blocks)
    if all(samples == block.samples for block in blocks):
        return list(blocks)
    return [gather(b, Route(samples, own)) for b, own in zip(blocks, rows, strict=True)]


# -- along a direction ---------------------------------------------------------------------


def moving(
    expansion: Expansion,
    frames: Sequence[ase.Atoms],
    tangents: Mapping[str, ArrayLike],
    threads: int,
) -> TensorMap:
    """Values of an expansion, and how fast they change as their only gradient."""
    values = expansion(frames, threads=threads)
    changes = expansion.jvp(frames, tangents, threads=threads)  # type: ignore[attr-defined]
    blocks = [
        TensorBlock.unchecked(
            block.values, block.samples, block.components, block.properties, {RATE: _rate(change)}
        )
        for block, change in zip(values.blocks(), changes.blocks(), strict=True)
    ]
    return TensorMap.unchecked(values.keys, blocks)


def _rate(change: TensorBlock) -> TensorBlock:
    rows = Labels.range("sample", len(change))
    return TensorBlock.unchecked(change.values, rows, change.components, change.properties)


def rates(tensor: TensorMap) -> TensorMap:
    """How fast what is made of moving expansions changes."""
    return TensorMap.unchecked(tensor.keys, [_change(block) for block in tensor.blocks()])


def _change(block: TensorBlock) -> TensorBlock:
    gradient = block.gradient(RATE)
    values = np.zeros(block.shape)
    values[gradient.samples.column("sample")] = gradient.values
    return TensorBlock.unchecked(values, block.samples, block.components, block.properties)


# -- backwards -----------------------------------------------------------------------------


class Pulled:
    """Densities of an expansion, and the derivatives by them as they are summed up.

    Attributes
    ----------
    densities
        Center type, neighbor type → all components, (samples, lm, n).
    derivatives
        Of the same shapes.
    """

    def __init__(self, expansion: Expansion, frames: Sequence[ase.Atoms], threads: int) -> None:
        self.expansion, self.frames = expansion, frames
        self.values = expansion(frames, threads=threads)
        self.densities = side_by_side(self.values)
        self.derivatives = {key: np.zeros(b.shape) for key, b in self.densities.items()}

    def back(self, threads: int) -> Derivatives:
        """Derivatives by positions, strain and cell."""
        blocks = []
        for key, block in self.values.items():
            l, types = key["o3_lambda"], (key["center_type"], key["neighbor_type"])
            values = self.derivatives[types][:, l * l : (l + 1) ** 2]
            blocks.append(
                TensorBlock.unchecked(values, block.samples, block.components, block.properties)
            )
        cotangents = TensorMap.unchecked(self.values.keys, blocks)
        vjp = self.expansion.vjp  # type: ignore[attr-defined]
        found: Derivatives = vjp(self.frames, cotangents, threads=threads)
        return found


def side_by_side(expansion: TensorMap) -> dict[Types, TensorBlock]:
    """The components of every l side by side, for each pair of types."""
    parts: dict[Types, list[TensorBlock]] = {}
    for key, block in sorted(expansion.items(), key=lambda item: tuple(item[0])):
        parts.setdefault((key["center_type"], key["neighbor_type"]), []).append(block)
    return {types: _together(blocks) for types, blocks in parts.items()}


def _together(blocks: Sequence[TensorBlock]) -> TensorBlock:
    count = sum(block.shape[1] for block in blocks)
    return linear(
        lambda *arrays: np.concatenate(arrays, axis=-2),
        *blocks,
        components=[Labels.range("lm", count)],
        properties=blocks[0].properties,
    )


def in_rows(array: Array, leading: tuple[int, ...]) -> Array:
    """The last two axes of an array in rows, one for each place in the others."""
    whole = np.broadcast_to(array, (*leading, *array.shape[-2:]))
    return np.ascontiguousarray(whole).reshape(-1, *array.shape[-2:])
