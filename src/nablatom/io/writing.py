"""Blocks and maps → members of an archive."""

import json
from collections.abc import Iterator

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.io import npy
from nablatom.io.zip_writer import Member, pack, pack_buffer
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["Saved", "buffer", "pieces", "safetensors_pieces"]

Saved = TensorMap | TensorBlock | Labels
_SMALL = 1 << 18  # bytes of a map that is cheaper to join from its pieces


def pieces(data: Saved) -> list[bytes | memoryview]:
    """The bytes of the file, in pieces to be written one after the other."""
    return _labels_pieces(data) if isinstance(data, Labels) else pack(_members(data))


def safetensors_pieces(data: Saved) -> list[bytes | memoryview]:
    """The bytes of a ``.safetensors`` file."""
    from nablatom.io import safetensors

    if isinstance(data, Labels):
        raise ValueError("labels alone have no .safetensors form; save them as .mts")
    return safetensors.pack(_members(data))


def buffer(data: Saved) -> memoryview:
    """The bytes of the file."""
    if isinstance(data, Labels):
        return memoryview(b"".join(_labels_pieces(data)))
    members = list(_members(data))
    if sum(payload.nbytes for _, payload, _, _ in members) <= _SMALL:
        return memoryview(b"".join(pack(members)))
    return pack_buffer(members)


def _members(data: TensorMap | TensorBlock) -> Iterator[Member]:
    if isinstance(data, TensorMap):
        return _tensor_members(data)
    if isinstance(data, TensorBlock):
        return _block_members(data, "")
    raise TypeError(f"expected a TensorMap, a TensorBlock or Labels, got {type(data).__name__}")


def _labels_pieces(labels: Labels) -> list[bytes | memoryview]:
    _, payload, descr, shape = _labels_member("", labels)
    return [npy.pack(descr, shape, 0), payload]


def _tensor_members(tensor: TensorMap) -> Iterator[Member]:
    yield _labels_member("keys.npy", tensor.keys)
    for i, block in enumerate(tensor.blocks()):
        yield from _block_members(block, f"blocks/{i}/")
    info = dict(tensor.info())
    if info:
        text = json.dumps(info, indent=2, sort_keys=True, ensure_ascii=False)
        yield "info.json", memoryview(text.encode()), "", ()


def _block_members(
    block: TensorBlock, folder: str, *, is_gradient: bool = False
) -> Iterator[Member]:
    yield _values_member(f"{folder}values.npy", block.values)
    yield _labels_member(f"{folder}samples.npy", block.samples)
    for axis, component in enumerate(block.components):
        yield _labels_member(f"{folder}components/{axis}.npy", component)
    if not is_gradient:
        yield _labels_member(f"{folder}properties.npy", block.properties)
    for parameter, gradient in block.gradients():
        yield from _block_members(gradient, f"{folder}gradients/{parameter}/", is_gradient=True)


def _labels_member(name: str, labels: Labels) -> Member:
    values = labels.values.astype("<i4", copy=False)
    return name, values.data, npy.labels_descr(tuple(labels.names)), (len(values),)


def _values_member(name: str, values: Array) -> Member:
    """The values as they stand in the file: on the CPU, in C order, little-endian."""
    try:
        array = np.asarray(arrays.to_numpy(values))
        descr = npy.descr(array.dtype)
    except (TypeError, ValueError) as error:  # NumPy has no bfloat16, the format no extended floats
        raise ValueError(
            f"{name} cannot be written: the format has no {arrays.dtype_name(values)}, only "
            f"{', '.join(npy.DTYPES)}; convert the values first, for example with .to(dtype=...)"
        ) from error
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return name, array.data, descr, array.shape
