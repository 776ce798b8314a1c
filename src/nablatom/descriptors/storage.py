"""Memory of results: one array for all values, one for each gradient, cut into blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.kernels_index import Places, label_rows
from nablatom.descriptors.neighborhoods import Neighborhoods
from nablatom.labels import Labels
from nablatom.systems.pairs import PARAMETERS

__all__ = ["Storage", "Workspace", "check_gradients"]

Integers = NDArray[np.int64]
Numbers = NDArray[Any]

LINE = 64  # bytes that processors move between memory and caches


def check_gradients(gradients: Sequence[str]) -> None:
    """Refuse names of unknown gradients.

    Raises
    ------
    ValueError
        There is one.
    """
    unknown = [name for name in gradients if name not in PARAMETERS]
    if unknown:
        raise ValueError(
            f"no gradient with respect to {', '.join(map(repr, unknown))}; "
            f"choose from {', '.join(PARAMETERS)}"
        )


@dataclass(slots=True)
class Workspace:
    """Memory to compute into, again and again.

    Memory that the system has just handed out is slow to write for the first time, often
    slower than the computation. A workspace keeps it: **the results of the call before are
    overwritten by the next** call with the same workspace.

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
            buffer = self.buffers[name] = np.empty(size + LINE, np.uint8)
        start = -buffer.ctypes.data % LINE
        return buffer[start : start + size].view(dtype)


@dataclass(frozen=True, eq=False)
class Storage:
    """Where a kernel writes, and the blocks that it fills.

    Attributes
    ----------
    hoods, places
        What the rows are.
    widths : (parts,)
        Numbers in a row of values, of each part that makes a block of a center type and group.
    offsets : (2, types, groups, parts)
        Start of the values and of the ``positions`` gradient of each block; -1 without one.
    values, positions, strain, cell
        Memory of all blocks together, empty for gradients that nobody asked for.
    """

    hoods: Neighborhoods
    places: Places
    offsets: Integers
    gradients: tuple[str, ...]
    values: Numbers
    positions: Numbers
    strain: Numbers
    cell: Numbers

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
        """Memory for the wanted blocks, (types, groups, parts), one after the other."""
        check_gradients(gradients)
        dtype = np.dtype(dtype)
        if dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise ValueError(f"values are float64 or float32, got {dtype}")
        workspace = workspace or Workspace()
        sizes = np.stack([places.samples, 3 * places.rows])[..., None] * widths * wanted
        ends = np.cumsum(sizes.reshape(2, -1), axis=1)
        offsets = np.where(wanted, ends.reshape(sizes.shape) - sizes, -1)
        total, rows = (ends[:, -1] if ends.shape[1] else np.zeros(2, np.int64)).tolist()
        counts = {"positions": rows, "strain": 9 * total, "cell": 9 * total}
        arrays = {
            name: workspace.array(name, count if name in gradients else 0, dtype)
            for name, count in counts.items()
        }
        values = workspace.array("values", total, dtype)
        return Storage(hoods, places, offsets, tuple(gradients), values, **arrays)

    @property
    def wants(self) -> tuple[bool, bool, bool]:
        """Which gradients to compute."""
        return "positions" in self.gradients, "strain" in self.gradients, "cell" in self.gradients

    @property
    def arrays(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """What a kernel writes to."""
        return self.values, self.positions, self.strain, self.cell

    def labels(self) -> dict[tuple[int, int], tuple[Labels, Labels, Labels]]:
        """Samples of values, ``positions`` and other gradients, of each center type and group."""
        counts = np.stack([self.places.samples, self.places.rows])
        starts = (np.cumsum(counts.reshape(2, -1), axis=1).reshape(counts.shape)) - counts
        samples, rows = label_rows(self.hoods.around, self.places, starts[0], starts[1])
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
        start, row = self.offsets[:, *place].tolist()

        def cut(array: Numbers, start: int, *shape: int) -> Numbers:
            shape = (*shape, *axes)
            return array[start : start + int(np.prod(shape))].reshape(shape)

        n = len(samples)
        gradients = {}
        for name in self.gradients:
            if name == "positions":
                values, of = cut(self.positions, row, len(rows), 3), rows
            else:
                values, of = cut(getattr(self, name), 9 * start, n, 3, 3), every
            own = (*PARAMETERS[name], *components)
            gradients[name] = TensorBlock.unchecked(values, of, own, properties)
        values = cut(self.values, start, n)
        return TensorBlock.unchecked(values, samples, components, properties, gradients)
