"""Calculators that store their gradients: what they take, and what of it is wanted."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import ase
import numpy as np

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations import filter_blocks, slice
from nablatom.systems.structures import read_structures
from nablatom.tensor import TensorMap

__all__ = ["Explicit", "Structures", "chosen", "frames_of"]

Structure: TypeAlias = ase.Atoms | str | Path | Mapping[str, object]
Structures: TypeAlias = Structure | Sequence[Structure]
Progress: TypeAlias = Callable[[Sequence[int]], Iterable[int]]

PARAMETERS = ("positions", "strain", "cell")


class Explicit(ABC):
    """A calculator that goes from structures to a tensor in one step."""

    def __call__(
        self,
        structures: Structures,
        gradients: Sequence[str] = (),
        *,
        samples: Labels | None = None,
        properties: Labels | None = None,
        keys: Labels | None = None,
        dtype: str = "float64",
    ) -> TensorMap:
        """The tensor of these structures.

        Parameters
        ----------
        structures
            ASE atoms, paths of files that ASE reads, or atomic data dictionaries: one or many.
        gradients
            Any of positions, strain and cell.
        samples, properties, keys
            Labels with some of the dimensions: only what matches an entry is kept.
        dtype
            Of values and gradients; the arithmetic is in float64.

        Raises
        ------
        ValueError
            There are no atoms, a gradient is unknown, or two atoms are at the same place.
        """
        unknown = [name for name in gradients if name not in PARAMETERS]
        if unknown:
            raise ValueError(
                f"no gradient with respect to {', '.join(map(repr, unknown))}; "
                f"choose from {', '.join(PARAMETERS)}"
            )
        frames = frames_of(structures)
        if not any(len(frame) for frame in frames):
            raise ValueError(f"no atoms in {len(frames)} structures: expected at least one")
        tensor = self.tensor(frames, tuple(gradients))
        tensor = chosen(tensor, samples=samples, properties=properties, keys=keys)
        return tensor if dtype == "float64" else _cast(tensor, dtype)

    @abstractmethod
    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The tensor of some structures, of which at least one has atoms."""


def frames_of(structures: Structures) -> list[ase.Atoms]:
    """ASE atoms of whatever holds structures, in order.

    Raises
    ------
    TypeError
        Something that holds no structure.
    """
    if isinstance(structures, ase.Atoms | str | Path | Mapping):
        structures = [structures]
    return [frame for one in structures for frame in _frames(one)]


def _frames(structure: Structure) -> list[ase.Atoms]:
    if isinstance(structure, ase.Atoms):
        return [structure]
    if isinstance(structure, str | Path):
        return read_structures(structure)
    if isinstance(structure, Mapping):
        from torch import Tensor

        from nablatom.systems.atomic_data import to_ase, unbatched

        data = {name: value for name, value in structure.items() if isinstance(value, Tensor)}
        frames = [to_ase(one) for one in unbatched(data)]
        return [frame for frame in frames if isinstance(frame, ase.Atoms)]
    raise TypeError(
        f"expected ase.Atoms, a path or an atomic data dictionary, got {type(structure).__name__}"
    )


def chosen(
    tensor: TensorMap,
    *,
    samples: Labels | None = None,
    properties: Labels | None = None,
    keys: Labels | None = None,
) -> TensorMap:
    """What matches an entry of the labels, which have some of the dimensions."""
    if keys is not None:
        tensor = filter_blocks(tensor, keys)
    if samples is not None:
        tensor = slice(tensor, "samples", samples)
    if properties is not None:
        tensor = slice(tensor, "properties", properties)
    return tensor


def _cast(tensor: TensorMap, dtype: str) -> TensorMap:
    return TensorMap.unchecked(tensor.keys, [_cast_block(b, dtype) for b in tensor.blocks()])


def _cast_block(block: TensorBlock, dtype: str) -> TensorBlock:
    gradients = {name: _cast_block(gradient, dtype) for name, gradient in block.gradients()}
    values = np.asarray(block.values).astype(dtype)
    return TensorBlock.unchecked(
        values, block.samples, block.components, block.properties, gradients
    )
