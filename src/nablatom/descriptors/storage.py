"""Memory of results: one array for all values, one for each gradient, cut into blocks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.kernels_index import Places, label_rows, label_samples
from nablatom.descriptors.neighborhoods import Neighborhoods
from nablatom.descriptors.recycled import Recycled
from nablatom.labels import Labels
from nablatom.systems.pairs import PARAMETERS

__all__ = ["Storage", "Workspace", "check_dtype", "check_gradients"]

Integers = NDArray[np.int64]
Numbers = NDArray[Any]

RECYCLED = Recycled(1 << 28)
LINE = 64  # bytes that processors move between memory and caches
# Bytes up to which the C library keeps memory that was freed, and need not ask the system again.
HEAP = 30_000_000


def check_gradients(gradients: Sequence[str]) -> None:
    """Refuse names of unknown gradients.

    Raises
    ------
    ValueError
        There is one, or there is text where a sequence of names should be.
    """
    if isinstance(gradients, str):
        raise ValueError(
            f"expected a sequence of names, such as [{gradients!r}], got {gradients!r}"
        )
    unknown = [name for name in gradients if name not in PARAMETERS]
    if unknown:
        raise ValueError(
            f"no gradient with respect to {', '.join(map(repr, unknown))}; "
            f"choose from {', '.join(PARAMETERS)}"
        )


def check_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype of values, which is one of two.

    Raises
    ------
    ValueError
        It is another.
    """
    for known in (np.dtype(np.float64), np.dtype(np.float32)):
        if known == dtype:
            return known
    raise ValueError(f"values are float64 or float32, got {dtype}")


@dataclass(slots=True)
class Workspace:
    """Memory to compute into, again and again.

    Memory that the system has just handed out is slow to write for the first time, often
    slower than the computation. A workspace keeps it: **the results of the call before are
    overwritten by the next** call with the same workspace. Without one, memory is used again
    only when results are gone, and no more of it is kept than 256 MB.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.descriptors import SoapPowerSpectrum, Workspace
    >>> spectrum, workspace = SoapPowerSpectrum(), Workspace()
    >>> for structure in [bulk("Cu"), bulk("Ag")]:
    ...     features = spectrum(structure, gradients=["positions"], out=workspace)
    """

    buffers: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def array(self, name: str, count: int, dtype: DTypeLike) -> Numbers:
        """Memory for so many numbers, at the start of a cache line; whatever was in it."""
        size = count * np.dtype(dtype).itemsize
        buffer = self.buffers.get(name)
        if buffer is None or buffer.nbytes < size + LINE:
            self.buffers.pop(name, None)  # before asking for more
            buffer = self.buffers[name] = RECYCLED.array(size + LINE)
        start = -buffer.ctypes.data % LINE
        return buffer[start : start + size].view(dtype)


@dataclass(frozen=True, eq=False)
class Memory:
    """Blocks of numbers, several in one array, as long as it does not get too large.

    Attributes
    ----------
    arrays
        All that is there.
    base
        The one with the lowest address; this is what kernels get.
    offsets
        Where each block starts, counted in numbers from there, or -1. What lies in another
        array is beyond the end of the base: kernels go by address.
    places : (2, …)
        Which array each block is in, and where in it.
    """

    arrays: list[Numbers]
    base: Numbers
    offsets: Integers
    places: Integers

    @staticmethod
    def of(
        sizes: Integers,
        wanted: NDArray[np.bool_],
        name: str,
        workspace: Workspace,
        dtype: DTypeLike,
    ) -> "Memory":
        """Memory for wanted blocks with so many numbers."""
        limit = HEAP // np.dtype(dtype).itemsize
        ends = np.cumsum(sizes.ravel())
        chunk, start = np.zeros_like(ends), ends - sizes.ravel()
        if len(ends) and ends[-1] > limit:
            chunk, start = _packed(sizes.ravel(), limit)
        counts = np.zeros(int(chunk.max(initial=0)) + 1, np.int64)
        np.maximum.at(counts, chunk, start + sizes.ravel())
        arrays = [
            workspace.array(f"{name} {k}", count, dtype) for k, count in enumerate(counts.tolist())
        ]
        addresses = np.array([array.ctypes.data for array in arrays], np.int64)
        lowest = int(np.argmin(addresses))
        distances = (addresses - addresses[lowest]) // np.dtype(dtype).itemsize
        offsets = np.where(wanted.ravel(), distances[chunk] + start, -1)
        places = np.stack([chunk, start]).reshape(2, *sizes.shape)
        return Memory(arrays, arrays[lowest], offsets.reshape(sizes.shape), places)

    @cached_property
    def _places(self) -> list[list[list[list[int]]]]:
        """In Python's integers, which blocks are cut with far more quickly."""
        found: list[list[list[list[int]]]] = self.places.tolist()
        return found

    def cut(self, place: tuple[int, int, int], *shape: int) -> Numbers:
        """The block at this place."""
        chunk, start = (of[place[0]][place[1]][place[2]] for of in self._places)
        return self.arrays[chunk][start : start + math.prod(shape)].reshape(shape)

    @staticmethod
    def at(blocks: Mapping[tuple[int, int, int], Numbers], shape: tuple[int, ...]) -> "Memory":
        """Contiguous arrays that are there already, as the blocks at these places."""
        arrays = [np.empty(0), *blocks.values()]
        lowest = min(arrays, key=lambda array: array.ctypes.data)
        offsets = np.full(shape, -1)
        for place, array in blocks.items():
            offsets[place] = (array.ctypes.data - lowest.ctypes.data) // array.itemsize
        return Memory(arrays, lowest.reshape(-1), offsets, np.zeros((2, *shape), np.int64))


def _packed(sizes: Integers, limit: int) -> tuple[Integers, Integers]:
    """Which array each block goes to, and where, when none may get larger than a limit."""
    chunk, start = np.empty_like(sizes), np.empty_like(sizes)
    k = used = 0
    for block, size in enumerate(sizes.tolist()):
        if used and used + size > limit:
            k, used = k + 1, 0
        chunk[block], start[block] = k, used
        used += size
    return chunk, start


@dataclass(frozen=True, eq=False)
class Storage:
    """Where a kernel writes, and the blocks that it fills.

    Attributes
    ----------
    hoods, places
        What the rows are.
    memory
        Of the values and of each gradient; next to nothing for gradients that nobody wants.
    """

    hoods: Neighborhoods
    places: Places
    gradients: tuple[str, ...]
    memory: dict[str, Memory]

    @staticmethod
    def of(
        hoods: Neighborhoods,
        places: Places,
        widths: Integers,
        wanted: NDArray[np.bool_],
        gradients: Sequence[str],
        workspace: Workspace | None,
        dtype: DTypeLike,
    ) -> "Storage":
        """Memory for the wanted blocks, (types, groups, parts).

        ``widths`` : (groups, parts), the numbers in a row of values.
        """
        check_gradients(gradients)
        dtype = check_dtype(dtype)
        workspace = Workspace() if workspace is None else workspace
        values = places.samples[..., None] * widths * wanted
        sizes = {
            "values": values,
            "positions": 3 * places.rows[..., None] * widths * wanted,
            "strain": 9 * values,
            "cell": 9 * values,
        }
        memory = {
            name: Memory.of(
                size if name in ("values", *gradients) else 0 * size, wanted, name, workspace, dtype
            )
            for name, size in sizes.items()
        }
        return Storage(hoods, places, tuple(gradients), memory)

    @cached_property
    def offsets(self) -> Integers:
        """Start of each block of values and of the gradients, (4, types, groups, parts)."""
        return np.stack([memory.offsets for memory in self.memory.values()])

    @property
    def wants(self) -> tuple[bool, bool, bool]:
        """Which gradients to compute."""
        return "positions" in self.gradients, "strain" in self.gradients, "cell" in self.gradients

    @property
    def values(self) -> Numbers:
        """What a kernel writes the values to."""
        return self.memory["values"].base

    @property
    def arrays(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """What a kernel writes to."""
        values, positions, strain, cell = (memory.base for memory in self.memory.values())
        return values, positions, strain, cell

    def labels(self) -> dict[tuple[int, int], tuple[Labels, Labels, Labels]]:
        """Samples of values, ``positions`` and other gradients, of each center type and group."""
        counts = np.stack([self.places.samples, self.places.rows])
        starts = (np.cumsum(counts.reshape(2, -1), axis=1).reshape(counts.shape)) - counts
        samples = label_samples(self.hoods.around, self.places, starts[0])
        if "positions" in self.gradients:
            rows = label_rows(self.hoods.around, self.places, starts[1])
        else:
            rows = np.empty((0, 3), np.int32)
        found = {}
        for c, g in np.ndindex(*self.places.samples.shape):
            (s, r), (i, k) = counts[:, c, g].tolist(), starts[:, c, g].tolist()
            found[c, g] = (
                Labels.unchecked(("system", "atom"), samples[i : i + s]),
                Labels.unchecked(("sample", "system", "atom"), rows[k : k + r]),
                Labels.range("sample", s),
            )
        return found

    def block(
        self,
        place: tuple[int, int, int],
        labels: tuple[Labels, Labels, Labels],
        components: Sequence[Labels],
        properties: Labels,
    ) -> TensorBlock:
        """The block of a center type, group and part."""
        samples, rows, every = labels
        axes = (*map(len, components), len(properties))
        gradients = {}
        for name in self.gradients:
            of, own = (rows, (3,)) if name == "positions" else (every, (3, 3))
            values = self.memory[name].cut(place, len(of), *own, *axes)
            gradients[name] = TensorBlock.unchecked(
                values, of, (*PARAMETERS[name], *components), properties
            )
        values = self.memory["values"].cut(place, len(samples), *axes)
        return TensorBlock.unchecked(values, samples, components, properties, gradients)
