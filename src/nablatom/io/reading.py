"""Members of an archive → blocks and maps.

The constructors of the nouns check what they are given, so nothing is taken from a file
unchecked; what they complain about is told with the name of the file and of the member.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.io import npy
from nablatom.io.zip_reader import Payload
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["Members", "labels_from_payload", "read_block", "read_tensor"]

_DEEPEST = 16  # gradients of gradients of …
_FEW = 16  # rows of labels that Python compares sooner than NumPy
_SMALL = 4096  # bytes of labels that may have been read before: the same object serves again


class Members(Protocol):
    """The arrays of a file by name; ``views`` says that they share the memory of their source."""

    file: str
    views: bool

    @property
    def entries(self) -> Collection[str]:
        """The names."""

    def read(self, name: str) -> bytes:
        """The bytes of a member."""

    def array(self, name: str, *, verify: bool = True) -> tuple[npy.Header, Payload]:
        """The header and the payload of an array."""

    def refusal(self, name: str, why: object) -> ValueError:
        """The error that names file and member."""


def read_tensor(
    archive: Members, keys: Labels | None = None, gradients: Sequence[str] | None = None
) -> TensorMap:
    """The map in an archive, or of it the blocks that match ``keys``, with these gradients."""
    if "keys.npy" not in archive.entries:
        found = (
            "a TensorBlock: use load_block" if "values.npy" in archive.entries else "no TensorMap"
        )
        raise ValueError(f"{archive.file} holds {found}")
    reader = _Reader(archive, gradients)
    stored = reader.labels("keys.npy")
    rows = np.arange(len(stored)) if keys is None else stored.select(keys)
    kept = stored if keys is None else Labels.unchecked(tuple(stored.names), stored.values[rows])
    blocks = [reader.block(f"blocks/{row}/") for row in rows.tolist()]
    try:
        tensor = TensorMap(kept, blocks)
    except ValueError as error:
        raise archive.refusal("keys.npy", error) from error
    for key, value in _info(archive).items():
        tensor.set_info(key, value)
    return tensor


def read_block(archive: Members, gradients: Sequence[str] | None = None) -> TensorBlock:
    """The block in an archive, with these gradients."""
    if "values.npy" not in archive.entries:
        found = "a TensorMap: use load" if "keys.npy" in archive.entries else "no TensorBlock"
        raise ValueError(f"{archive.file} holds {found}")
    return _Reader(archive, gradients).block("")


def labels_from_payload(header: npy.Header, payload: Payload) -> Labels:
    """Labels from one row of integers per entry."""
    names, shape = header.names, header.shape
    if names is None:
        raise ValueError(f"expected labels (integers in named columns), found {header.dtype}")
    if len(shape) != 1 or (shape[0] > 1 and not names):
        raise ValueError(f"labels {list(names)} cannot have the shape {shape}")
    if header.is_usual:
        table = np.ndarray((shape[0], len(names)), np.int32, payload)
        if shape[0] <= _FEW and len(set(map(tuple, table.tolist()))) == shape[0]:
            return Labels.unchecked(names, table.copy())  # the header is checked, the rows now are
        return Labels(names, table)
    stored = np.ndarray(shape, header.dtype, payload)
    return Labels(names, np.stack([_narrowed(stored[name]) for name in names], axis=1))


def _narrowed(column: NDArray[np.integer]) -> NDArray[np.int32]:
    """Integers of any kind in 32 bits, if they fit."""
    limits = np.iinfo(np.int32)
    for value in (column.min(initial=0), column.max(initial=0)):
        if not limits.min <= value <= limits.max:
            raise ValueError(f"value {value} does not fit in the 32-bit integers that labels have")
    return column.astype(np.int32)


class _Reader:
    """Reads the nouns of one archive; equal small labels become one object."""

    def __init__(self, archive: Members, gradients: Sequence[str] | None) -> None:
        self._archive = archive
        self._parameters = _parameters(archive.entries)
        self._known: dict[object, Labels] = {}
        if gradients is not None:
            self._keep_gradients([gradients] if isinstance(gradients, str) else gradients)

    def _keep_gradients(self, kept: Sequence[str]) -> None:
        """Forget the other gradients of the values; gradients of gradients stay."""
        values = [folder for folder in self._parameters if "gradients/" not in folder]
        stored = sorted({name for folder in values for name in self._parameters[folder]})
        for name in kept:
            if name not in stored:
                raise ValueError(
                    f"{self._archive.file} has no gradient {name!r}; "
                    f"stored: {', '.join(stored) or 'none'}"
                )
        for folder in values:
            self._parameters[folder] = [p for p in self._parameters[folder] if p in kept]

    def block(self, folder: str, properties: Labels | None = None, depth: int = 0) -> TensorBlock:
        """The block whose members are in a folder; a gradient has the properties of the values."""
        if depth > _DEEPEST:
            raise self._archive.refusal(folder, "gradients are nested too deep")
        values = self.values(f"{folder}values.npy")
        samples = self.labels(f"{folder}samples.npy")
        axes = range(values.ndim - 2)
        components = [self.labels(f"{folder}components/{axis}.npy") for axis in axes]
        if properties is None:
            properties = self.labels(f"{folder}properties.npy")
        try:
            block = TensorBlock(values, samples, components, properties)
        except ValueError as error:
            raise self._archive.refusal(f"{folder}values.npy", error) from error
        for parameter in self._parameters.get(folder, ()):
            self._add_gradient(block, parameter, f"{folder}gradients/{parameter}/", depth + 1)
        return block

    def _add_gradient(self, block: TensorBlock, parameter: str, folder: str, depth: int) -> None:
        gradient = self.block(folder, block.properties, depth)
        try:
            block.add_gradient(parameter, gradient)
        except ValueError as error:
            raise self._archive.refusal(f"{folder}samples.npy", error) from error

    def labels(self, name: str) -> Labels:
        """The labels in a member."""
        header, payload = self._archive.array(name)
        if header.nbytes > _SMALL or not header.is_usual:
            return self._labels(name, header, payload)
        key = (header.names, header.shape, payload.tobytes())
        if key not in self._known:
            self._known[key] = self._labels(name, header, payload)
        return self._known[key]

    def _labels(self, name: str, header: npy.Header, payload: Payload) -> Labels:
        try:
            return labels_from_payload(header, payload)
        except ValueError as error:
            raise self._archive.refusal(name, error) from error

    def values(self, name: str) -> NDArray[np.generic]:
        """The values in a member, in native byte order; read-only if they are a view."""
        header, payload = self._archive.array(name, verify=False)
        try:
            values = _values(header, payload)
        except ValueError as error:
            raise self._archive.refusal(name, error) from error
        if not self._archive.views:
            return values if header.is_usual and values.flags.writeable else _native(values)
        if not values.dtype.isnative:
            values = _native(values)
            values.flags.writeable = False
        return values


def _values(header: npy.Header, payload: Payload) -> NDArray[np.generic]:
    if header.names is not None:
        raise ValueError(f"expected values, found labels with the columns {list(header.names)}")
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    return np.ndarray(header.shape, header.dtype, payload, order=order)


def _native(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """A copy in the order and with the bytes that everybody expects."""
    return np.array(values, values.dtype.newbyteorder("="), order="C")


def _parameters(names: Iterable[str]) -> dict[str, list[str]]:
    """For each folder of a block, the gradients stored in it, in order."""
    parameters: dict[str, dict[str, None]] = {}
    for name in names:
        if "gradients/" in name and name.endswith(("/values.npy", "/samples.npy")):
            folder, _, parameter = name.rpartition("/")[0].rpartition("gradients/")
            if "/" not in parameter:
                parameters.setdefault(folder, {})[parameter] = None
    return {folder: list(found) for folder, found in parameters.items()}


def _info(archive: Members) -> dict[str, str]:
    if "info.json" not in archive.entries:
        return {}
    text = archive.read("info.json")
    info: object = None
    with suppress(ValueError, RecursionError):
        info = json.loads(text)
    if not isinstance(info, dict) or not all(isinstance(value, str) for value in info.values()):
        raise archive.refusal("info.json", "expected a JSON object whose values are strings")
    return info
