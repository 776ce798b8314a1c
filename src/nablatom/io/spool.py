"""Maps that come in parts and are larger than memory: parts to disk, then one file.

The values of every block grow in files of their own; labels stay in memory. In the end they
are mapped into one `TensorMap`, which can be saved without ever being read as a whole.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["Spool"]


class Spool:
    """A map that grows by parts, along its samples, in a folder that is gone in the end.

    Parameters
    ----------
    folder
        Where to put the folder; it needs as much room as the map.

    Examples
    --------
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> def part(system):
    ...     samples = Labels("system", [[system]])
    ...     block = TensorBlock(np.ones((1, 2)), samples, [], Labels.range("n", 2))
    ...     return TensorMap(Labels("key", [[0]]), [block])
    >>> with Spool(".") as spool:
    ...     for system in range(3):
    ...         spool.append(part(system))
    ...     len(spool.tensor().block())
    3
    """

    def __init__(self, folder: str | Path) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=".nablatom-", dir=folder)
        self._blocks: dict[tuple[int, ...], _Growing] = {}
        self._names: list[str] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._temporary.cleanup()

    def append(self, tensor: TensorMap) -> None:
        """Put a part behind those that are there; none of its samples may be there already.

        Raises
        ------
        ValueError
            Keys, components, properties or gradients are not those of the other parts.
        """
        self._names = self._names or tensor.keys.names
        if tensor.keys.names != self._names:
            raise ValueError(f"parts have keys {self._names}, got {tensor.keys.names}")
        for key, block in tensor.items():
            growing = self._blocks.get(tuple(key))
            if growing is None:
                path = Path(self._temporary.name) / str(len(self._blocks))
                growing = self._blocks[tuple(key)] = _Growing.like(block, path)
            try:
                growing.append(block, first_sample=0)
            except ValueError as error:
                error.add_note(f"in the block with {key.print()}")
                raise

    def tensor(self) -> TensorMap:
        """All parts, keys in order; valid while the spool is."""
        keys = sorted(self._blocks)
        entries = np.array(keys, np.int32).reshape(-1, len(self._names))
        return TensorMap(Labels(self._names, entries), [self._blocks[key].block() for key in keys])


@dataclass(eq=False)
class _Growing:
    """A block whose values are in a file."""

    path: Path
    dtype: np.dtype[np.generic]
    components: list[Labels]
    properties: Labels
    names: list[str]
    gradients: dict[str, _Growing]
    samples: list[NDArray[np.int32]] = field(default_factory=list)
    rows: int = 0

    @staticmethod
    def like(block: TensorBlock, path: Path) -> _Growing:
        gradients = {
            name: _Growing.like(gradient, path.with_name(f"{path.name}-{name}"))
            for name, gradient in block.gradients()
        }
        dtype = np.asarray(block.values).dtype
        names = block.samples.names
        return _Growing(path, dtype, block.components, block.properties, names, gradients)

    def append(self, block: TensorBlock, *, first_sample: int) -> None:
        """Values behind the others; gradients count samples from the first of this part."""
        values = np.ascontiguousarray(block.values)
        like = (self.dtype, self.components, self.properties, self.names, list(self.gradients))
        names, gradients = block.samples.names, block.gradients_list()
        if like != (values.dtype, block.components, block.properties, names, gradients):
            raise ValueError(
                "a part has other labels, gradients or another dtype than the parts before it"
            )
        with self.path.open("ab") as file:
            file.write(values.data)
        entries = block.samples.values.copy()
        if names[0] == "sample":
            entries[:, 0] += first_sample
        start = self.rows
        self.samples.append(entries)
        self.rows += len(entries)
        for name, gradient in block.gradients():
            self.gradients[name].append(gradient, first_sample=start)

    def block(self) -> TensorBlock:
        shape = (self.rows, *map(len, self.components), len(self.properties))
        values: NDArray[np.generic]
        if math.prod(shape):
            values = np.memmap(self.path, self.dtype, "r", shape=shape)
        else:
            values = np.empty(shape, self.dtype)  # which cannot be mapped
        samples = Labels(self.names, np.concatenate(self.samples), assume_unique=True)
        gradients = {name: growing.block() for name, growing in self.gradients.items()}
        return TensorBlock.unchecked(values, samples, self.components, self.properties, gradients)
