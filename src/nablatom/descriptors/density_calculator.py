"""What all descriptors of the density of neighbors share: how they are called."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import ase
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.density import Delta, Density, Gaussian
from nablatom.descriptors.explicit import Derivatives, Structures, frames_of
from nablatom.descriptors.kernels_index import Places, find_places, scatter_pairs
from nablatom.descriptors.kernels_pair import Basis, harmonic_factors, padded
from nablatom.descriptors.neighborhoods import SHARE, Neighborhoods, at_once, neighborhoods
from nablatom.descriptors.radial_basis import Gto, RadialBasis
from nablatom.descriptors.radial_table import radial_table
from nablatom.descriptors.scaling import Willatt2018
from nablatom.descriptors.storage import Memory, Storage, Workspace, check_gradients
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    from nablatom.descriptors.torch_function import TorchCalculator

__all__ = ["DensityCalculator", "Layout"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = NDArray[np.bool_]
Found: TypeAlias = tuple[tuple[int, int, int], tuple[int, ...]]
"""Center type, group and part of a block, by index, and its key."""
Ranges: TypeAlias = Sequence[tuple[int, int]]
Progress: TypeAlias = Callable[[Ranges], Iterable[tuple[int, int]]]

CUTOFF = Cutoff(5.0, width=0.5)
RADIAL = Gto(max_radial=7)
DENSITY = Gaussian(0.3)

PIECES = 32  # of the atoms, for a progress bar


class Layout(NamedTuple):
    """Blocks of a descriptor.

    Attributes
    ----------
    groups : (groups, 2)
        Neighbor types, by index, that blocks are about; the same twice for one type.
    keys : (types, groups, parts, names)
        Of the parts that make a block of each center type and group.
    widths : (groups, parts)
        Components times properties.
    """

    groups: Integers
    keys: Integers
    widths: Integers


@dataclass(frozen=True, kw_only=True)
class DensityCalculator(ABC):
    """A descriptor of the density of neighbors around every atom.

    Parameters
    ----------
    cutoff
        Which neighbors count, and how they fade out.
    radial
        The radial functions: `Gto`, `SphericalBessel`, …
    density
        What stands for a neighbor: a `Gaussian`, or `Delta` for a point.
    scaling
        Weights of neighbors by their distance, `Willatt2018`.
    center_weight
        Of the atom itself in its own density.
    types
        Atomic numbers that blocks are made for, whether they occur or not; None for those
        that occur.
    """

    cutoff: Cutoff = CUTOFF
    radial: RadialBasis = RADIAL
    density: Density | Delta = DENSITY
    scaling: Willatt2018 | None = None
    center_weight: float = 1.0
    types: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cutoff, Cutoff):
            raise TypeError(f"cutoff must be a Cutoff, such as Cutoff(5.0), got {self.cutoff!r}")
        if not isinstance(getattr(self.radial, "size", None), int):
            raise TypeError(f"radial must be functions, such as Gto(6), got {self.radial!r}")

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
        """The descriptor of every atom of these structures.

        Parameters
        ----------
        structures
            ASE atoms, paths of files that ASE reads, or atomic data dictionaries: one or many.
        gradients
            Any of positions, strain and cell.
        samples, properties, keys
            Labels with some of the dimensions: only what matches an entry is computed.
        out
            Memory to use again; overwrites what was computed into it before.
        dtype
            Of values and gradients; the arithmetic is in float64.
        threads
            How many work on the atoms at the same time.
        progress
            Wraps the sequence of the ranges of atoms, to watch them being worked off.

        Raises
        ------
        ValueError
            There are no atoms, two atoms are at the same place, there is an atom of none of
            the types, or a gradient is unknown.
        """
        check_gradients(gradients)
        hoods = self._neighborhoods(structures, threads)
        columns = self._columns(properties)
        storage, names = self._storage(
            hoods, columns, gradients, samples=samples, keys=keys, out=out, dtype=dtype
        )

        def piece(first: int, last: int) -> None:
            self._compute(first, last, storage, columns)

        _run(piece, hoods, threads, progress)
        return self._tensor(storage, names, columns)

    def vjp(
        self, structures: Structures, cotangents: TensorMap, *, threads: int = 1
    ) -> Derivatives:
        """Derivatives of ``sum cotangents * descriptor``, without storing any gradient.

        With a model's derivative by the descriptor as the cotangents, ``-positions`` are the
        forces and ``strain`` over the volume is the stress.

        Parameters
        ----------
        cotangents
            Keys, samples and properties of the descriptor, or of a selection of its blocks.

        Raises
        ------
        ValueError
            The cotangents are not of the descriptor of these structures.
        """
        hoods = self._neighborhoods(structures, threads)
        storage, names = self._storage(hoods, self._columns(None), ())
        given = self._given(storage, names, cotangents)
        pairs = np.zeros((len(hoods.around.neighbor), 3))

        def piece(first: int, last: int) -> None:
            self._pull(first, last, given, given.values, pairs)

        _run(piece, hoods, threads, None)
        return _scattered(hoods, pairs, threads)

    def jvp(
        self, structures: Structures, tangents: Mapping[str, ArrayLike], *, threads: int = 1
    ) -> TensorMap:
        """How fast the descriptor changes when structures change along a direction.

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
        hoods = self._neighborhoods(structures, threads)
        columns = self._columns(None)
        storage, names = self._storage(hoods, columns, ())
        pairs = _gathered(hoods, tangents)

        def piece(first: int, last: int) -> None:
            self._push(first, last, storage, pairs)

        _run(piece, hoods, threads, None)
        return self._tensor(storage, names, columns)

    def torch(self, *, second_derivatives: bool = True) -> "TorchCalculator":
        """The calculator for torch tensors: see `TorchCalculator`."""
        from nablatom.descriptors.torch_function import TorchCalculator

        return TorchCalculator(self, second_derivatives=second_derivatives)

    # -- what a descriptor says of itself ----------------------------------------------

    @property
    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """Names of the keys."""

    @property
    @abstractmethod
    def _largest_angular(self) -> int:
        """``max_angular`` of the density."""

    @abstractmethod
    def _properties(self) -> Labels:
        """All properties."""

    @abstractmethod
    def _layout(self, types: Integers, columns: Columns) -> Layout:
        """The blocks, with only some of the properties."""

    @abstractmethod
    def _block_labels(
        self, key: tuple[int, ...], columns: Columns
    ) -> tuple[Sequence[Labels], Labels]:
        """Components and properties of a block."""

    @abstractmethod
    def _compute(self, first: int, last: int, storage: Storage, columns: Columns) -> None:
        """Values and gradients of some centers."""

    @abstractmethod
    def _push(self, first: int, last: int, storage: Storage, tangents: Array) -> None:
        """Changes of the values of some centers."""

    @abstractmethod
    def _pull(
        self, first: int, last: int, storage: Storage, cotangents: Array, result: Array
    ) -> None:
        """Derivatives by the pair vectors of some centers."""

    # -- what follows from it ----------------------------------------------------------

    def _neighborhoods(self, structures: Structures, threads: int = 1) -> Neighborhoods:
        if threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
        frames: list[ase.Atoms] = frames_of(structures)
        if not any(len(frame) for frame in frames):
            raise ValueError(f"no atoms in {len(frames)} structures: expected at least one")
        return neighborhoods(
            frames, self.cutoff, scaling=self.scaling, types=self.types, threads=threads
        )

    def _basis(self, columns: Columns | None = None) -> Basis:
        """Table and factors for kernels, with some of the radial functions."""
        chosen = None if columns is None or columns.all() else tuple(columns.tolist())
        return _basis(self, chosen)

    def _columns(self, properties: Labels | None) -> Columns:
        mine = self._properties()
        return matching(mine.names, mine.values, properties, "properties")

    def _storage(
        self,
        hoods: Neighborhoods,
        columns: Columns,
        gradients: Sequence[str],
        *,
        samples: Labels | None = None,
        keys: Labels | None = None,
        out: Workspace | None = None,
        dtype: DTypeLike = np.float64,
    ) -> tuple[Storage, list[Found]]:
        """Memory of the result, and its blocks: where they are, with their keys."""
        around, layout = hoods.around, self._layout(hoods.types, columns)
        atoms = np.stack([around.system, around.atom], axis=1)
        chosen = matching(("system", "atom"), atoms, samples, "samples")
        shape = layout.keys.shape[:-1]
        table = layout.keys.reshape(-1, layout.keys.shape[-1])
        wanted = matching(self._names, table, keys, "keys").reshape(shape)
        wanted &= (layout.keys >= 0).all(axis=-1)
        places: Places = find_places(around, layout.groups, chosen, wanted.any(axis=-1))
        if self.types is None:
            wanted = wanted & (places.samples > 0)[..., None]
        storage = Storage.of(hoods, places, layout.widths, wanted, gradients, out, dtype)
        found: list[Found] = [
            ((c, g, part), tuple(layout.keys[c, g, part].tolist()))
            for c, g, part in np.argwhere(wanted).tolist()
        ]
        turn = self._names.index("center_type")  # centers first, then what is around them
        return storage, sorted(found, key=lambda block: block[1][turn:] + block[1][:turn])

    def _tensor(
        self,
        storage: Storage,
        names: Sequence[Found],
        columns: Columns,
    ) -> TensorMap:
        labels = storage.labels()
        blocks = [
            storage.block(place, labels[place[:2]], *self._block_labels(key, columns))
            for place, key in names
        ]
        table = np.array([key for _, key in names], np.int32).reshape(-1, len(self._names))
        return TensorMap.unchecked(Labels.unchecked(self._names, table), blocks)

    def _given(
        self,
        storage: Storage,
        names: Sequence[Found],
        cotangents: TensorMap,
    ) -> Storage:
        """The storage with the values of a tensor in place of its own."""
        if not isinstance(cotangents, TensorMap):
            raise TypeError(
                "cotangents must be a TensorMap with the labels of the descriptor, got "
                f"{type(cotangents).__name__}"
            )
        labels, columns = storage.labels(), self._columns(None)
        known, blocks = {key: place for place, key in names}, {}
        for entry, block in cotangents.items():
            key = tuple(int(value) for value in entry)
            place = known.get(key)
            if cotangents.keys.names != list(self._names) or place is None:
                raise ValueError(
                    f"cotangents have a block {entry.print()}, which the descriptor of these "
                    f"structures has not; its keys are {', '.join(self._names)}"
                )
            own = storage.block(place, labels[place[:2]], *self._block_labels(key, columns))
            if (own.samples, own.properties) != (block.samples, block.properties):
                raise ValueError(
                    f"cotangents of block {entry.print()} have other samples or properties than "
                    "the descriptor of these structures; compute it with the same structures"
                )
            values = np.broadcast_to(np.asarray(block.values), own.shape)
            blocks[place] = np.require(values, np.float64, ["C", "A"])
        memory = Memory.at(blocks, storage.memory["values"].offsets.shape)
        return replace(storage, memory={**storage.memory, "values": memory})


def matching(
    names: Sequence[str], table: NDArray[np.signedinteger], selection: Labels | None, axis: str
) -> NDArray[np.bool_]:
    """Which rows of a table match an entry of labels that have some of its dimensions.

    Raises
    ------
    ValueError
        The labels have another dimension.
    """
    if selection is None:
        return np.ones(len(table), bool)
    unknown = [name for name in selection.names if name not in names]
    if unknown:
        raise ValueError(
            f"the {axis} to select have a dimension {unknown[0]!r}; choose from {', '.join(names)}"
        )
    places = [list(names).index(name) for name in selection.names]
    wanted = {tuple(row) for row in selection.values.tolist()}
    return np.array([tuple(row) in wanted for row in table[:, places].tolist()], bool)


@lru_cache(maxsize=32)
def _basis(calculator: DensityCalculator, chosen: tuple[bool, ...] | None) -> Basis:
    radial, cutoff, scaling = calculator.radial, calculator.cutoff, calculator.scaling
    max_angular, center_weight = calculator._largest_angular, calculator.center_weight
    table = radial_table(radial, calculator.density, cutoff.radius, max_angular)
    columns = np.arange(radial.size) if chosen is None else np.flatnonzero(chosen)
    knots, width = len(table.values), padded(len(columns))
    values = np.zeros((knots, 3, max_angular + 1, width))
    stored = table.values.reshape(knots, 3, max_angular + 1, radial.size)
    powers = table.spacing ** np.arange(3.0)  # derivatives per knot, not per length
    values[..., : len(columns)] = stored[..., columns] * powers[:, None, None]
    center = np.zeros(width)
    if center_weight:
        origin = np.zeros(1)
        factor = center_weight * float(cutoff(origin)[0][0])
        factor *= 1.0 if scaling is None else float(scaling(origin)[0][0])
        center[: len(columns)] = factor * table.center[columns]
    return Basis(
        values.reshape(knots, 3, -1),
        1 / table.spacing,
        len(columns),
        center,
        harmonic_factors(max_angular),
    )


def _run(
    piece: Callable[[int, int], None],
    hoods: Neighborhoods,
    threads: int,
    progress: Progress | None,
) -> None:
    """Work off all atoms."""
    pieces = hoods.pieces(max(SHARE * threads if threads > 1 else 1, PIECES if progress else 1))
    at_once(piece, pieces if progress is None else progress(pieces), threads)


# -- pair vectors and what they are made of ------------------------------------------------


def _scattered(hoods: Neighborhoods, pairs: Array, threads: int) -> Derivatives:
    """Derivatives by pair vectors as derivatives by positions, strain and cell."""
    ranges, frames = hoods.pieces(threads), len(hoods.counts)
    # pairs of different centers may have the same neighbor: each range has sums of its own
    positions = np.zeros((len(ranges), len(hoods), 3))
    strain, cell = np.zeros((2, len(ranges), frames, 3, 3))
    parts = {some: k for k, some in enumerate(ranges)}

    def piece(first: int, last: int) -> None:
        k = parts[first, last]
        scatter_pairs(first, last, hoods.around, pairs, positions[k], strain[k], cell[k])

    at_once(piece, ranges, threads)
    return Derivatives(*(sums.sum(axis=0) for sums in (positions, strain, cell)))


def _gathered(hoods: Neighborhoods, tangents: Mapping[str, ArrayLike]) -> Array:
    """How fast pair vectors change, (pairs, 3)."""
    check_gradients(list(tangents))
    around = hoods.around
    center = np.repeat(np.arange(len(hoods)), around.segment[:, -1] - around.segment[:, 0])
    shapes = {
        "positions": (len(hoods), 3),
        **dict.fromkeys(("strain", "cell"), (len(hoods.counts), 3, 3)),
    }
    given = {name: np.asarray(tangent, dtype=np.float64) for name, tangent in tangents.items()}
    for name, tangent in given.items():
        if tangent.shape != shapes[name]:
            raise ValueError(
                f"the tangent of {name} has shape {tangent.shape}, expected {shapes[name]}"
            )
    pairs = np.zeros((len(around.neighbor), 3))
    if "positions" in given:
        pairs += given["positions"][around.neighbor] - given["positions"][center]
    for name, weights in (("strain", around.vector), ("cell", around.shift)):
        if name in given:
            pairs += np.einsum("pa,pab->pb", weights, given[name][around.system[center]])
    return pairs
