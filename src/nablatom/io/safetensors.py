"""The same members in a ``.safetensors`` file, which other tools for weights read.

Labels are 32-bit tensors of shape ``(entries, dimensions)`` whose names stand in the metadata,
as does the info. The format has no checksum and no complex128.
"""

import json
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from nablatom.io import npy
from nablatom.io.source import Source
from nablatom.io.zip_reader import Payload
from nablatom.io.zip_writer import Member
from nablatom.labels import Labels

__all__ = ["Safetensors", "pack"]

_NAMES = {
    **{f"f{size}": f"F{8 * size}" for size in (2, 4, 8)},
    **{f"{kind}{size}": f"{kind.upper()}{8 * size}" for kind in "iu" for size in (1, 2, 4, 8)},
    "b1": "BOOL",
    "c8": "C64",
}
_DTYPES = {name: np.dtype(f"<{code}") for code, name in _NAMES.items()}


def pack(members: Iterable[Member]) -> list[bytes | memoryview]:
    """The file in pieces; larger numbers come first, so that all are aligned."""
    metadata = {"format": "nablatom"}
    arrays: list[tuple[str, str, tuple[int, ...], memoryview]] = []
    for member, payload, descr, shape in members:
        name = member.removesuffix(".npy")
        if not descr:
            metadata[name] = bytes(payload).decode()
        elif descr.startswith("["):
            metadata[f"{name}.names"] = ",".join(descr.split("'")[1::4])
            arrays.append((name, "I32", payload.shape or shape, payload))
        elif descr[2:-1] not in _NAMES:
            raise ValueError(
                f"{name} cannot be written: .safetensors has no {descr[2:-1]}; use .mts"
            )
        else:
            arrays.append((name, _NAMES[descr[2:-1]], shape, payload))
    arrays.sort(key=lambda array: -_DTYPES[array[1]].itemsize)
    header: dict[str, object] = {"__metadata__": metadata}
    stop = 0
    for name, dtype, shape, payload in arrays:
        start, stop = stop, stop + payload.nbytes
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, stop)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % npy.ALIGNMENT)
    return [len(text).to_bytes(8, "little"), text, *(payload for *_, payload in arrays)]


class Safetensors:
    """The arrays of a file by the names they have in an archive, with ``.npy``."""

    def __init__(self, source: Source, file: str) -> None:
        self.file, self.views, self._source = file, source.views, source
        self._start = 8 + int.from_bytes(source.read(0, 8), "little")
        try:
            header = json.loads(source.read(8, min(self._start, source.size)))
            self._metadata: dict[str, str] = dict(header.pop("__metadata__", {}))
            self._arrays = {f"{name}.npy": _checked(entry) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} has no valid .safetensors header: {error}") from error
        stop = 0
        for name, (_, _, start, end) in sorted(self._arrays.items(), key=lambda item: item[1][2:]):
            if start != stop or self._start + end > source.size:
                raise self.refusal(name, "it overlaps, leaves a gap or does not fit in the file")
            stop = end
        self.entries = [*self._arrays, *(name for name in self._metadata if name == "info.json")]

    def read(self, name: str) -> bytes:
        """The info, which stands in the metadata."""
        return str(self._metadata[name]).encode()

    def array(self, name: str, *, verify: bool = True) -> tuple[npy.Header, Payload]:  # noqa: ARG002
        """The header and the payload of an array; there is no checksum to verify."""
        if name not in self._arrays:
            raise self.refusal(name, "it is missing")
        dtype, shape, start, stop = self._arrays[name]
        payload, _ = self._source.array(self._start + start, self._start + stop, None)
        text = self._metadata.get(name.removesuffix("npy") + "names")
        if text is None:
            return npy.Header(None, dtype, shape, False, stop - start, True), payload
        names = tuple(str(text).split(",")) if text else ()
        try:
            Labels.empty(names)
        except ValueError as error:
            raise self.refusal(name, error) from error
        if dtype != np.int32 or shape[1:] != (len(names),):
            raise self.refusal(name, f"labels {names} cannot have shape {shape} and dtype {dtype}")
        return npy.Header(names, dtype, shape[:1], False, stop - start, True), payload

    def refusal(self, name: str, why: object) -> ValueError:
        """The error that names file and array."""
        return ValueError(f"{self.file}, array {name.removesuffix('.npy')}: {why}")


Entry = tuple[np.dtype[np.generic], tuple[int, ...], int, int]


def _checked(entry: dict[str, Any]) -> Entry:
    """Dtype, shape, start and stop of an array."""
    dtype, shape, (start, stop) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, stop]
    if len(numbers) > 64 or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        raise ValueError(f"impossible shape {shape} from byte {start} to {stop}")
    if prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(f"shape {shape} and dtype {dtype} do not need {stop - start} bytes")
    return dtype, tuple(shape), start, stop
