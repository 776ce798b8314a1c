"""Files, buffers and file-like objects ⇄ maps, blocks and labels: the public functions."""
# ruff: noqa: PTH123
# pathlib takes as long as reading a small map

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from nablatom.block import TensorBlock
from nablatom.io import atomic, npy, partial, reading, writing
from nablatom.io.reading import Members
from nablatom.io.source import Buffer, Memory, OpenFile, Source, map_file
from nablatom.io.writing import Saved
from nablatom.io.zip_reader import Archive, is_archive
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = [
    "load",
    "load_block",
    "load_block_buffer",
    "load_buffer",
    "load_labels",
    "load_labels_buffer",
    "save",
    "save_buffer",
]

File = str | os.PathLike[str] | BinaryIO
_NO_ARCHIVE = "no ZIP archive: expected an .mts, .npz or .safetensors file that save wrote"
_SMALL = 1 << 18  # files up to this size are read at once


def load(
    file: File,
    *,
    keys: Labels | None = None,
    samples: Labels | None = None,
    properties: Labels | None = None,
    gradients: Sequence[str] | None = None,
    mmap: bool = False,
) -> TensorMap:
    """The :class:`TensorMap` in a file, or a part of it.

    Parameters
    ----------
    file
        A path, or an object with a ``read`` method opened in binary mode.
    keys, samples, properties
        Only the blocks, rows and columns that match any row of these labels, which may have
        fewer dimensions than what they select from. Gradients follow the rows they belong to.
    gradients
        Only these gradients of the values; ``()`` for none.
    mmap
        Leave the values in the file: they become read-only views that are read when they are
        used. The file must not be changed in the meantime (replacing it, as :func:`save` does,
        is fine).

    Returns
    -------
    TensorMap
        With NumPy values of its own, or with ``mmap`` read-only ones.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged or not a map: the message names the file and the member. Checksums are
        verified of everything that is read, except of mapped or partly read values.

    Examples
    --------
    >>> tensor = load("descriptor.mts", mmap=True)  # doctest: +SKIP
    >>> carbon = load("descriptor.mts", keys=Labels("center_type", [[6]]))  # doctest: +SKIP
    """
    selects = samples is not None or properties is not None
    with _opened(file, views=mmap or selects) as (source, name):
        return _tensor(source, name, keys, samples, properties, gradients)


def load_buffer(
    buffer: Buffer,
    *,
    keys: Labels | None = None,
    samples: Labels | None = None,
    properties: Labels | None = None,
    gradients: Sequence[str] | None = None,
    copy: bool = True,
) -> TensorMap:
    """The :class:`TensorMap` in a buffer; with ``copy=False`` its values are views of it.

    The other arguments are those of :func:`load`.
    """
    selects = samples is not None or properties is not None
    source = Memory(buffer, views=selects or not copy)
    return _tensor(source, "buffer", keys, samples, properties, gradients)


def _tensor(
    source: Source,
    name: str,
    keys: Labels | None,
    samples: Labels | None,
    properties: Labels | None,
    gradients: Sequence[str] | None,
) -> TensorMap:
    tensor = reading.read_tensor(_archive(source, name), keys, gradients)
    if samples is None and properties is None:
        return tensor
    blocks = [partial.select(block, samples, properties) for block in tensor.blocks()]
    return TensorMap.unchecked(tensor.keys, blocks, dict(tensor.info()))


def load_block(
    file: File, *, gradients: Sequence[str] | None = None, mmap: bool = False
) -> TensorBlock:
    """The :class:`TensorBlock` in a file; the arguments are those of :func:`load`."""
    with _opened(file, views=mmap) as (source, name):
        return reading.read_block(_archive(source, name), gradients)


def load_block_buffer(
    buffer: Buffer, *, gradients: Sequence[str] | None = None, copy: bool = True
) -> TensorBlock:
    """The :class:`TensorBlock` in a buffer; the arguments are those of :func:`load_buffer`."""
    return reading.read_block(_archive(Memory(buffer, views=not copy), "buffer"), gradients)


def load_labels(file: File) -> Labels:
    """The :class:`Labels` in a file."""
    with _opened(file, views=False) as (source, name):
        return _labels(source, name)


def load_labels_buffer(buffer: Buffer) -> Labels:
    """The :class:`Labels` in a buffer."""
    return _labels(Memory(buffer, views=True), "buffer")


def save(file: File, data: Saved) -> None:
    """Write a map, a block or labels to a file, whole or not at all.

    The bytes go to a new file in the same folder, which takes the name only when it is
    complete: an interrupted save leaves the old file as it was. The same data always give the
    same bytes.

    Parameters
    ----------
    file
        A path, which is used as it is, or an object with a ``write`` method opened in binary
        mode. The usual extension is ``.mts``; ``.safetensors`` gives a file of that format,
        for other tools, without checksums.
    data
        The values can be arrays of any library on any device.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the format has no such dtype (bfloat16, for one).
    """
    if not isinstance(file, str | os.PathLike):
        for piece in writing.pieces(data):
            file.write(piece)
    elif os.fspath(file).endswith(".safetensors"):
        atomic.write(file, writing.safetensors_pieces(data))
    else:
        atomic.write(file, writing.pieces(data))


def save_buffer(data: Saved) -> memoryview:
    """The bytes of the file that :func:`save` would write."""
    return writing.buffer(data)


def _archive(source: Source, name: str) -> Members:
    start = source.read(0, min(9, source.size))
    if is_archive(start):
        return Archive(source, name)
    if start[8:] == b"{":
        from nablatom.io.safetensors import Safetensors

        return Safetensors(source, name)
    if source.size == 0:
        raise ValueError(f"{name} is empty: expected what save wrote")
    found = "Labels: use load_labels" if start[:6] == b"\x93NUMPY" else _NO_ARCHIVE
    raise ValueError(f"{name} holds {found}")


def _labels(source: Source, name: str) -> Labels:
    try:
        length = npy.header_length(source.read(0, 12))
        header = npy.parse(source.read(0, min(length, source.size)))
        if length + header.nbytes != source.size:
            raise ValueError(
                f"{header.nbytes} bytes of labels should follow the header, "
                f"not {source.size - length}"
            )
        return reading.labels_from_payload(header, source.array(length, source.size, None)[0])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


@contextmanager
def _opened(file: File, *, views: bool) -> Iterator[tuple[Source, str]]:
    """The bytes of a file, mapped when they are to be viewed, and its name."""
    if not isinstance(file, str | os.PathLike):
        yield Memory(file.read(), views=views), getattr(file, "name", "file")
        return
    with open(file, "rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size <= _SMALL:
            yield Memory(opened.read(), views=views), os.fspath(file)
        elif views:
            yield map_file(opened), os.fspath(file)
        else:
            yield OpenFile(opened, size), os.fspath(file)
