"""Calculators that store their gradients: what they take, and what of it is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import ase
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.assembly import assembled, placed, ranges, renumbered
from nablatom.descriptors.neighborhoods import check_finite
from nablatom.descriptors.storage import Workspace, check_dtype, check_gradients
from nablatom.labels import Labels, LabelsEntry
from nablatom.operations import filter_blocks, slice
from nablatom.systems.structures import read_structures
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    from nablatom.descriptors.torch_function import TorchCalculator

__all__ = [
    "Derivatives",
    "Explicit",
    "Structures",
    "check_cotangent",
    "chosen",
    "frames_of",
    "unknown_cotangent",
]

Structure: TypeAlias = ase.Atoms | str | Path | Mapping[str, object]
Structures: TypeAlias = Structure | Sequence[Structure]
Ranges: TypeAlias = Sequence[tuple[int, int]]
Progress: TypeAlias = Callable[[Ranges], Iterable[tuple[int, int]]]

Array = NDArray[np.float64]

PARAMETERS = ("positions", "strain", "cell")

PIECES = 32  # of the structures, for a progress bar
SHARE = 4  # pieces for each thread, so that none waits long for another


class Derivatives(NamedTuple):
    """Derivatives of one number by everything that can move.

    Attributes
    ----------
    positions : (atoms, 3)
        Of all structures after each other.
    strain, cell : (structures, 3, 3)
    """

    positions: Array
    strain: Array
    cell: Array


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
        out: Workspace | None = None,
        dtype: DTypeLike = np.float64,
        threads: int = 1,
        progress: Progress | None = None,
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
        out
            Memory that the result is put into; overwrites what was there before.
        dtype
            Of values and gradients; the arithmetic is in float64.
        threads
            How many work on the structures at the same time.
        progress
            Wraps the sequence of the ranges of structures, to watch them being worked off.

        Raises
        ------
        ValueError
            There are no atoms, a gradient is unknown, positions or cells are not finite, or
            two atoms are at the same place.
        """
        check_gradients(gradients)
        dtype = check_dtype(dtype)
        names = tuple(dict.fromkeys(gradients))
        frames = self._checked_frames(structures, threads)

        def piece(first: int, last: int) -> TensorMap:
            tensor = renumbered(self.tensor(frames[first:last], names), first)
            return chosen(tensor, samples=samples, properties=properties, keys=keys)

        parts = _run(piece, self._pieces(frames, threads, progress), threads, progress)
        return placed(assembled(parts), dtype, out)

    def _checked_frames(self, structures: Structures, threads: int) -> list[ase.Atoms]:
        if threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
        frames = frames_of(structures)
        if not any(len(frame) for frame in frames):
            raise ValueError(f"no atoms in {len(frames)} structures: expected at least one")
        for index, frame in enumerate(frames):
            check_finite(index, frame)
        return frames

    def _pieces(
        self, frames: Sequence[ase.Atoms], threads: int, progress: Progress | None
    ) -> Ranges:
        count = max(SHARE * threads if threads > 1 else 1, PIECES if progress else 1)
        return ranges(frames, count if self.separable else 1)

    @property
    def separable(self) -> bool:
        """Whether what is about one structure does not depend on the others beside it."""
        return True

    def vjp(
        self, structures: Structures, cotangents: TensorMap, *, threads: int = 1
    ) -> Derivatives:
        """Derivatives of ``sum cotangents * tensor``, from the stored gradients.

        Parameters
        ----------
        cotangents
            Keys, samples and properties of the tensor, or of some of its blocks.

        Raises
        ------
        ValueError
            The cotangents are not of the tensor of these structures.
        """
        frames = frames_of(structures)
        tensor = self(frames, PARAMETERS, threads=threads)
        first = _first_atoms(frames)
        total = Derivatives(np.zeros((sum(map(len, frames)), 3)), *np.zeros((2, len(frames), 3, 3)))
        for key, cotangent in cotangents.items():
            block = _counterpart(tensor, cotangents, key)
            weights = np.asarray(cotangent.values, dtype=np.float64)
            for name in PARAMETERS:
                gradient = block.gradient(name)
                sample = gradient.samples.column("sample")
                pulled = _contracted(gradient, weights[sample])
                system = block.samples.column("system")[sample]
                rows = system
                if name == "positions":
                    rows = first[system] + gradient.samples.column("atom")
                np.add.at(getattr(total, name), rows, pulled)
        return total

    def jvp(
        self, structures: Structures, tangents: Mapping[str, ArrayLike], *, threads: int = 1
    ) -> TensorMap:
        """How fast the tensor changes when structures change along a direction.

        Parameters
        ----------
        tangents
            Any of positions, (atoms, 3) for the atoms of all structures after each other,
            strain and cell, (structures, 3, 3): the rates of change.

        Raises
        ------
        ValueError
            A tangent is unknown, or of another shape.
        """
        frames = frames_of(structures)
        given = _checked(tangents, frames)
        tensor = self(frames, tuple(given), threads=threads)
        first = _first_atoms(frames)
        blocks = []
        for block in tensor.blocks():
            values = np.zeros(block.shape)
            for name, tangent in given.items():
                gradient = block.gradient(name)
                sample = gradient.samples.column("sample")
                rows = block.samples.column("system")[sample]
                if name == "positions":
                    rows = first[rows] + gradient.samples.column("atom")
                axes = "ra,ra...->r..." if name == "positions" else "rab,rab...->r..."
                np.add.at(values, sample, np.einsum(axes, tangent[rows], gradient.values))
            blocks.append(
                TensorBlock.unchecked(values, block.samples, block.components, block.properties)
            )
        return TensorMap.unchecked(tensor.keys, blocks)

    def torch(self, *, second_derivatives: bool = True) -> TorchCalculator:
        """The calculator for torch tensors: see `TorchCalculator`."""
        from nablatom.descriptors.torch_function import TorchCalculator

        return TorchCalculator(self, second_derivatives=second_derivatives)

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


def _first_atoms(frames: Sequence[ase.Atoms]) -> NDArray[np.int64]:
    """Where the atoms of each structure begin."""
    counts = np.array([len(frame) for frame in frames])
    return np.cumsum(counts) - counts


def _contracted(gradient: TensorBlock, weights: Array) -> Array:
    """Sum over the components and properties of the values, (rows, the parameter's own axes)."""
    own = gradient.values.ndim - weights.ndim
    size = prod(weights.shape[1:])
    tangents = np.asarray(gradient.values).reshape(len(gradient), 3**own, size)
    flat = tangents @ weights.reshape(len(weights), size, 1)
    return flat.reshape(len(gradient), *(3 for _ in range(own)))


def _counterpart(tensor: TensorMap, cotangents: TensorMap, key: LabelsEntry) -> TensorBlock:
    """The block that a block of cotangents belongs to."""
    position = None
    if cotangents.keys.names == tensor.keys.names:
        position = tensor.keys.position(key)
    if position is None:
        raise unknown_cotangent(key, tensor.keys.names)
    block = tensor.block_by_id(position)
    check_cotangent(key, cotangents.block(key), block.samples, block.properties)
    return block


def unknown_cotangent(key: LabelsEntry, names: Sequence[str]) -> ValueError:
    """Of a block of cotangents that the tensor has not."""
    return ValueError(
        f"cotangents have a block {key.print()}, which the tensor of these structures has "
        f"not; its keys are {', '.join(names)}"
    )


def check_cotangent(
    key: LabelsEntry, given: TensorBlock, samples: Labels, properties: Labels
) -> None:
    """Refuse a block of cotangents with other labels than those of the tensor."""
    if (samples, properties) != (given.samples, given.properties):
        raise ValueError(
            f"cotangents of block {key.print()} have other samples or properties than the tensor "
            "of these structures; compute it with the same structures"
        )


def _checked(tangents: Mapping[str, ArrayLike], frames: Sequence[ase.Atoms]) -> dict[str, Array]:
    atoms = sum(map(len, frames))
    shapes = {"positions": (atoms, 3), **dict.fromkeys(("strain", "cell"), (len(frames), 3, 3))}
    given = {name: np.asarray(tangent, dtype=np.float64) for name, tangent in tangents.items()}
    for name, tangent in given.items():
        if name not in shapes:
            raise ValueError(f"no tangent of {name!r}; choose from {', '.join(PARAMETERS)}")
        if tangent.shape != shapes[name]:
            raise ValueError(
                f"the tangent of {name} has shape {tangent.shape}, expected {shapes[name]}"
            )
    return given


def _run(
    piece: Callable[[int, int], TensorMap],
    pieces: Ranges,
    threads: int,
    progress: Progress | None,
) -> list[TensorMap]:
    """Work off all structures, some at a time; the parts in order."""
    watched = pieces if progress is None else progress(pieces)
    if threads == 1:
        return [piece(first, last) for first, last in watched]
    with ThreadPoolExecutor(threads) as pool:
        return [part.result() for part in [pool.submit(piece, *one) for one in watched]]
